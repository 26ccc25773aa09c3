"""`--target` and `--exclude`: which of the declared batches a command is about."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.model import Batch, Config

_LABEL = "label:"


def select(config: Config, targets: Sequence[str], excludes: Sequence[str]) -> frozenset[str] | None:
    """The batch_ids of the targets (all, when there are none) without the excluded; None when nothing was asked for.

    A pattern is a name, a glob over names, or `label:key=value` where the value may be a glob.

    Raises:
        UsageError: A pattern fits no declared batch; names the nearest.
    """
    if not targets and not excludes:
        return None
    chosen = {batch.batch_id for batch in config.batches}
    if targets:
        chosen = set().union(*(_fitting(config, pattern, "--target") for pattern in targets))
    for pattern in excludes:
        chosen -= _fitting(config, pattern, "--exclude")
    return frozenset(chosen)


def _fitting(config: Config, pattern: str, option: str) -> set[str]:
    found = {batch.batch_id for batch in config.batches if _fits(batch, pattern)}
    if not found:
        raise UsageError(f"{option} {pattern} fits no declared batch", _nearest(config, pattern))
    return found


def _fits(batch: Batch, pattern: str) -> bool:
    if pattern.startswith(_LABEL):
        key, equals, value = pattern.removeprefix(_LABEL).partition("=")
        return bool(equals) and key in batch.labels and fnmatchcase(batch.labels[key], value)
    return fnmatchcase(batch.name, pattern)


def _nearest(config: Config, pattern: str) -> str:
    """What may have been meant."""
    if pattern.startswith(_LABEL):
        if "=" not in pattern:
            return "A label is given as label:key=value. Nothing was sent."
        known = sorted({f"{_LABEL}{key}={value}" for batch in config.batches for key, value in batch.labels.items()})
    else:
        known = [batch.name for batch in config.batches]
    near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}? Nothing was sent."
    return (
        f"{len(known)} {'labels are set' if pattern.startswith(_LABEL) else 'batches are declared'}. Nothing was sent."
    )
