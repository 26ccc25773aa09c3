"""`--target` and `--exclude`: which of the declared batches a command is about."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.model import Batch, Config

_LABEL = "label:"
_FEW = 8


def select(
    config: Config, targets: Sequence[str], excludes: Sequence[str], *, option: str = "--target "
) -> frozenset[str] | None:
    """The batch_ids of the targets (all, when there are none) without the excluded; None when nothing was asked for.

    A pattern is a name, a glob over names, or `label:key=value` where the value may be a glob. `option` is what stood
    before the targets, for the message.

    Raises:
        UsageError: A pattern fits no declared batch; names the nearest.
    """
    if not targets and not excludes:
        return None
    chosen = {batch.batch_id for batch in config.batches}
    if targets:
        chosen = set().union(*(_fitting(config, pattern, option) for pattern in targets))
    for pattern in excludes:
        chosen -= _fitting(config, pattern, "--exclude ")
    return frozenset(chosen)


def _fitting(config: Config, pattern: str, option: str) -> set[str]:
    found = {batch.batch_id for batch in config.batches if _fits(batch, pattern)}
    if not found:
        raise UsageError(f"{option}{pattern} fits no declared batch", _nearest(config, pattern))
    return found


def _fits(batch: Batch, pattern: str) -> bool:
    if pattern.startswith(_LABEL):
        key, equals, value = pattern.removeprefix(_LABEL).partition("=")
        return bool(equals) and key in batch.labels and fnmatchcase(batch.labels[key], value)
    return fnmatchcase(batch.name, pattern)


def _nearest(config: Config, pattern: str) -> str:
    """What may have been meant."""
    import difflib  # noqa: PLC0415  # only for a mistake

    if not pattern.startswith(_LABEL):
        near = difflib.get_close_matches(pattern.lower(), [batch.name for batch in config.batches], n=3, cutoff=0.5)
        said = f"Did you mean {' or '.join(near)}?" if near else f"{len(config.batches)} batches are declared."
        return f"{said} Nothing was sent."
    key, equals, value = pattern.removeprefix(_LABEL).partition("=")
    if not equals:
        return "A label is given as label:key=value. Nothing was sent."
    values = sorted({batch.labels[key] for batch in config.batches if key in batch.labels})
    if values:
        near = difflib.get_close_matches(value, values, n=3, cutoff=0.5)
        meant = [f"{_LABEL}{key}={found}" for found in near]
        said = f"Did you mean {' or '.join(meant)}?" if near else f"The label {key} is {_some(values)}."
        return f"{said} Nothing was sent."
    keys = sorted({known for batch in config.batches for known in batch.labels})
    near = difflib.get_close_matches(key, keys, n=2)
    said = f"No batch has a label {key}. The labels there are: {_some(near or keys) or 'none'}."
    return f"{said} Nothing was sent."


def _some(words: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(words[:_FEW]) + (" and others" if len(words) > _FEW else "")
