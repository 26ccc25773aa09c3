"""Which batches a pattern selects: the one rule for `--target`, `--exclude` and every NAME argument.

A pattern is a name, a glob over names, `label:key=value` (the value may be a glob), or a batch_id. The functions take
declared batches, and an `Item` for each batch that only the state or the account has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from batchform.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from batchform.model import Batch

_LABEL = "label:"
_FEW = 8
_LONGEST_TYPO = 100
"""Only so many characters of a pattern are compared with the known names: comparing takes quadratic time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something selectable that is not a declared batch. What has no name of its own is named by its batch_id."""

    name: str
    batch_id: str
    labels: Mapping[str, str] = field(default_factory=dict)


Selectable: TypeAlias = "Batch | Item"


def select(
    items: Sequence[Selectable],
    targets: Sequence[str],
    excludes: Sequence[str] = (),
    *,
    option: str = "--target ",
    among: str = "declared batch",
    after: str = "Nothing was sent.",
) -> frozenset[str] | None:
    """The batch_ids of the targets (of all items when there are none) without the excluded; None without any pattern.

    Args:
        items: What can be selected.
        targets: Patterns of what to select.
        excludes: Patterns of what to leave out.
        option: The option that introduces a target, for the message; empty for arguments.
        among: What an item is called, for the message.
        after: The last sentence of the message.

    Raises:
        UsageError: A pattern matches nothing, or is the name of one batch and the batch_id of another.
    """
    if not targets and not excludes:
        return None
    chosen = {item.batch_id for item in items}
    if targets:
        chosen = {item.batch_id for word in targets for item in _matching(word, items, option, among, after)}
    for word in excludes:
        chosen -= {item.batch_id for item in _matching(word, items, "--exclude ", among, after)}
    return frozenset(chosen)


def select_one(
    word: str, *groups: Sequence[Selectable], among: str = "declared batch", after: str = "Nothing was sent."
) -> str:
    """The batch_id of the one item that a pattern selects. The first group with a match decides.

    Raises:
        UsageError: It matches nothing in any group, or several items.
    """
    items = next((group for group in groups if _found(word, group)), list(chain.from_iterable(groups)))
    ids = sorted({item.batch_id for item in _matching(word, items, "", among, after)})
    if len(ids) > 1:
        raise UsageError(f"`{word}` matches several batches", f"Give one batch_id: {_some(ids)}. {after}")
    return ids[0]


def _matching(word: str, items: Sequence[Selectable], option: str, among: str, after: str) -> list[Selectable]:
    """The items that a pattern matches, at least one."""
    found = _found(word, items)
    if not found:
        raise UsageError(f"`{option}{word}` matches no {among}", f"{_nearest(items, word)} {after}")
    by_name = {item.batch_id for item in found if item.name == word}
    if by_name and word not in by_name and any(item.batch_id == word for item in found):
        # safety: starting either of them by a guess could pay for the wrong batch.
        other = ", ".join(sorted(by_name))
        name = next(item.name for item in found if item.batch_id == word)
        detail = f"Give the batch_id `{other}` or the name `{name}` instead. {after}"
        raise UsageError(f"`{option}{word}` is the name of one batch and the batch_id of another", detail)
    return found


def _found(word: str, items: Iterable[Selectable]) -> list[Selectable]:
    if word.startswith(_LABEL):
        key, equals, value = word.removeprefix(_LABEL).partition("=")
        if not equals:
            return []
        return [item for item in items if key in item.labels and fnmatchcase(item.labels[key], value)]
    return [item for item in items if word in (item.name, item.batch_id) or fnmatchcase(item.name, word)]


def _nearest(items: Sequence[Selectable], word: str) -> str:
    """What may have been meant."""
    if not word.startswith(_LABEL):
        names = [item.name for item in items]
        known = f"The names are: {_some(sorted(names))}." if names else "There is none."
        return _did_you_mean(word, [*names, *(item.batch_id for item in items)]) or known
    key, equals, value = word.removeprefix(_LABEL).partition("=")
    if not equals:
        return "Write a label as `label:key=value`."
    if values := sorted({item.labels[key] for item in items if key in item.labels}):
        prefix = f"{_LABEL}{key}="
        return _did_you_mean(value, values, prefix) or f"The values of the label `{key}` are: {_some(values)}."
    keys = sorted({known for item in items for known in item.labels})
    return f"No batch has a label `{key}`. {_did_you_mean(key, keys) or f'The labels are: {_some(keys)}.'}"


def _did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """The question that names the nearest words; empty when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415  # only for a mistake

    spelt = {one[:_LONGEST_TYPO].lower(): one for one in known}
    near = get_close_matches(word[:_LONGEST_TYPO].lower(), spelt, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(f'`{prefix}{spelt[one]}`' for one in near)}?" if near else ""


def _some(words: Sequence[str]) -> str:
    """The first few of them."""
    shown = ", ".join(f"`{word}`" for word in words[:_FEW]) or "none"
    return shown + (" and others" if len(words) > _FEW else "")
