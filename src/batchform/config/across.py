"""The rules for all files together.

`clashes` are errors: two declarations of which only one can hold. `doubts` are warnings about text that can be intended
but seldom is. None depends on the current time: that is decided in `plan`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from batchform.config.problems import Code, quote
from batchform.model import DEADLINE, GuardName, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batchform.config.document import Steps
    from batchform.config.file import File
    from batchform.errors import Problem

_At: TypeAlias = "tuple[File, Steps]"


def clashes(files: Sequence[File]) -> Iterator[Problem]:
    """Errors about names, ids and settings that are declared twice. Needs files that are parsed, not judged."""
    return chain(_set_twice(files), _same_name(files), _same_batch_id(files))


def doubts(files: Sequence[File]) -> Iterator[Problem]:
    """Warnings about text that is valid but seldom intended. Needs files that are judged."""
    return chain(_case_only(files), _name_case(files), _too_late(files), _never_holding(files))


# --- clashes ---------------------------------------------------------------------------------------------------------


def _set_twice(files: Sequence[File]) -> Iterator[Problem]:
    """Problems of settings in more than one file."""
    for key in ("service", "guards", "costs"):
        setting = [file for file in files if key in file.top]
        for other in setting[1:]:
            detail = f"`{key}` applies to all files together, so only one of them can set it."
            yield _clash(
                Code.SET_TWICE, detail, "Keep it in one file.", (other, (key,)), (setting[0], (key,)), key=True
            )


def _same_name(files: Sequence[File]) -> Iterator[Problem]:
    """Problems of batch names in more than one file."""
    firsts: dict[str, File] = {}
    for file in files:
        for name in file.bodies:
            first = firsts.setdefault(name, file)
            if first is not file:
                detail = f"Two files declare a batch named {quote(name)}."
                path = ("batches", name)
                yield _clash(Code.SAME_NAME, detail, "Rename one of them.", (file, path), (first, path), key=True)


def _same_batch_id(files: Sequence[File]) -> Iterator[Problem]:
    """Problems of ids declared under more than one name."""
    firsts: dict[str, tuple[File, str]] = {}
    ids = (
        (file, name, body["batch_id"])
        for file in files
        for name, body in file.bodies.items()
        if isinstance(body, dict) and type(body.get("batch_id")) is str
    )
    for file, name, batch_id in ids:
        first, first_name = firsts.setdefault(batch_id, (file, name))
        if first_name != name:
            detail = (
                f"{quote(name)} and {quote(first_name)} have the same batch_id, so they are one batch to the server."
            )
            here, there = _id(file, name), _id(first, first_name)
            yield _clash(Code.SAME_BATCH_ID, detail, "Remove one of them, or correct its id.", here, there)


# --- doubts ----------------------------------------------------------------------------------------------------------


def _case_only(files: Sequence[File]) -> Iterator[Problem]:
    """Warnings of ids that differ in letter case only."""
    firsts: dict[str, tuple[File, str, str]] = {}
    seen: set[str] = set()
    for file, name, batch_id in _ids(files):
        first, first_name, spelling = firsts.setdefault(batch_id.lower(), (file, name, batch_id))
        if spelling != batch_id and batch_id not in seen:
            detail = f"{quote(batch_id)} and {quote(spelling)} are two batches to batchform."
            here, there = _id(file, name), _id(first, first_name)
            yield _clash(Code.CASE_ONLY, detail, "If the server means one batch, remove one of them.", here, there)
        seen.add(batch_id)


def _name_case(files: Sequence[File]) -> Iterator[Problem]:
    """Warnings of names that differ in letter case only."""
    firsts: dict[str, tuple[File, str]] = {}
    for file in files:
        for name in file.batches:
            first, spelling = firsts.setdefault(name.lower(), (file, name))
            if spelling != name:
                detail = f"{quote(name)} and {quote(spelling)} are two batches whose names differ in letter case only."
                hint = "Rename one of them. This changes nothing else."
                here, there = (file, ("batches", name)), (first, ("batches", spelling))
                yield _clash(Code.NAME_CASE, detail, hint, here, there, key=True)


def _too_late(files: Sequence[File]) -> Iterator[Problem]:
    """Warnings of batches that wait until after their deadline."""
    service = next((file.service for file in files if file.service), Service.PHONE)
    for file in files:
        for name, own in file.batches.items():
            submitted, earliest = own.get("submitted_at"), _effective(file, own, "not_before")
            if submitted is None or earliest is None or _effective(file, own, "hold"):
                continue
            if submitted > _LAST - DEADLINE or earliest <= submitted + DEADLINE:
                continue
            owner: Steps = ("batches", name) if "not_before" in own else ("defaults",)
            until = f"{submitted + DEADLINE:%Y-%m-%dT%H:%M:%SZ}"
            can = "can be started until" if service is Service.PHONE else "may no longer be startable after"
            yield Code.TOO_LATE.problem(
                f"{quote(name)} {can} {until}, 28 days after it was submitted. This makes it wait longer.",
                hint="Write an earlier time. A batch that is too old must be created again.",
                place=file.place((*owner, "not_before")),
                related=[(file.place(("batches", name, "submitted_at")), "submitted here")],
            )


_LAST = datetime.max.replace(tzinfo=UTC)


def _never_holding(files: Sequence[File]) -> Iterator[Problem]:
    """Warnings of guards that refuse every apply, or every apply that starts a certain batch."""
    batches = [(file, name, own) for file in files for name, own in file.batches.items()]
    waiting = [(file, name, own) for file, name, own in batches if not _effective(file, own, "hold")]
    if not waiting:
        return
    for file in files:
        for key, limit in file.limits.items():
            place = file.place(("guards", key))
            if limit == 0:
                yield Code.GUARD_NEVER_HOLDS.problem(
                    f"`{key}: 0` refuses every apply that would start anything.",
                    hint="Write a higher limit. To start nothing, put `hold: true` under `defaults`.",
                    place=place,
                )
            elif key == GuardName.MAX_RECORDS:
                yield from _too_large(limit, waiting, file)


def _too_large(limit: int, batches: list[tuple[File, str, dict[str, Any]]], guarding: File) -> Iterator[Problem]:
    """The warning of a limit that one batch alone exceeds."""
    larger = [(own["records"], name, file) for file, name, own in batches if own.get("records", 0) > limit]
    if not larger:
        return
    records, name, file = max(larger, key=lambda batch: batch[0])
    others = f", and {len(larger) - 1:,} more like it" if len(larger) > 1 else ""
    yield Code.GUARD_NEVER_HOLDS.problem(
        f"{quote(name)} alone holds {records:,} records{others}, more than the limit of {limit:,}.",
        hint=f"Allow at least {records:,}, or put `hold: true` on batches that must wait.",
        place=guarding.place(("guards", GuardName.MAX_RECORDS.value)),
        related=[(file.place(("batches", name, "records")), "the largest one")],
    )


# --- shared ----------------------------------------------------------------------------------------------------------


def _ids(files: Sequence[File]) -> Iterator[tuple[File, str, str]]:
    """File, name and id of every batch that has one."""
    for file in files:
        for name, own in file.batches.items():
            if "batch_id" in own:
                yield file, name, own["batch_id"]


def _id(file: File, name: str) -> _At:
    return file, ("batches", name, "batch_id")


def _effective(file: File, own: dict[str, Any], key: str) -> Any:
    """The field of a batch, or the default of its file."""
    return own.get(key, file.defaults.get(key))


def _clash(code: Code, detail: str, hint: str, here: _At, there: _At, *, key: bool = False) -> Problem:
    """The problem of two declarations of which only one can hold, placed at the later one."""
    (file, path), (first, first_path) = here, there
    note = "the first one"
    related = [(first.place(first_path, key=key), note)]
    return code.problem(detail, hint=hint, place=file.place(path, key=key), related=related)
