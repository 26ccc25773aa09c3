"""Batches of the account -> the YAML that declares them.

Written without a YAML library, because half of the file is comments. Names and ids are quoted, so that YAML does not
read them as numbers, dates or words such as `no`. Other texts from the server stand in comments, and `printable` keeps
them on one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from batchform.model import MAX_RECORDS, Status
from batchform.plan import Action
from batchform.render.escape import printable
from batchform.render.words import moment, size, why, word_of
from batchform.state.codec import encode_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchform.model import Reading
    from batchform.plan import Change, Plan

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One batch to declare: its reading from the server, and the change in the plan."""

    reading: Reading
    change: Change


def names_for(readings: Iterable[Reading], taken: Iterable[str]) -> dict[str, str]:
    """A unique name for each batch_id: its batch_reference_id, else the id, with `-` for what a name cannot have."""
    used = set(taken)
    names = {}
    for reading in sorted(readings, key=lambda one: one.batch_id):
        wanted = _slug(reading.batch_reference_id or "")
        if not _NAME.fullmatch(wanted):
            wanted = reading.batch_id if _NAME.fullmatch(reading.batch_id) else f"batch-{reading.batch_id}"[:_LONGEST]
        name, number = wanted, 2
        while name in used:
            name, number = f"{wanted[: _LONGEST - len(str(number)) - 1]}-{number}", number + 1
        used.add(name)
        names[reading.batch_id] = name
    return names


def _slug(text: str) -> str:
    """`UK mobiles/2026` as `UK-mobiles-2026`."""
    return _OTHER.sub("-", text).lstrip("._-")[:_LONGEST].rstrip("-")


def declarations_text(plan: Plan, declarations: Iterable[Declaration], *, hold: bool = True, alone: bool = True) -> str:
    """The YAML file. With `hold`, every batch that is not started yet is declared on hold; else those that are blocked.

    A blocked batch is on hold so that later plans do not report it again. Only a file that is `alone` names the
    service: in a configuration of several files, one of them may do so.
    """
    release = "To release a batch, delete its line `hold: true`: then" if hold else "Read it before you apply:"
    lines = [
        f"# Imported from {printable(plan.endpoint)} on {moment(plan.at)}.",
        f"# {release} apply starts the batch if it is submitted, which spends credits.",
        "version: 1",
        *([f"service: {plan.service.value}"] if alone else []),
        "batches:",
    ]
    for declaration in declarations:
        lines += _declaration(declaration, plan, hold=hold)
    return "\n".join(lines) + "\n"


def _declaration(declaration: Declaration, plan: Plan, *, hold: bool) -> list[str]:
    change, reading = declaration.change, declaration.reading
    lines = [f'  "{change.name}":', f"    # {_comment(change, reading, plan)}", f'    batch_id: "{change.batch_id}"']
    if change.records is not None and change.records <= MAX_RECORDS:
        lines.append(f"    records: {change.records}")
    if change.submitted_at is not None and change.action is not Action.ADOPT:
        lines.append(f'    submitted_at: "{encode_time(change.submitted_at)}"')
    if change.action is Action.BLOCKED:
        lines.append(f"    hold: true    # {word_of(change)}: {why(change, plan)}")
    elif hold and change.action is not Action.ADOPT:
        lines.append("    hold: true")
    return lines


def _comment(change: Change, reading: Reading, plan: Plan) -> str:
    """`submitted, 9,800 records, can be started until 2026-12-01 06:00 UTC`."""
    words = [printable(reading.status, 60) if reading.status else "without a status", size(change.records)]
    if reading.batch_reference_id and reading.batch_reference_id != change.name:
        words.append(f"reference {printable(reading.batch_reference_id, 100)}")
    if change.deadline is not None and reading.status == Status.SUBMITTED:
        words.append(f"{'could' if change.deadline <= plan.at else 'can'} be started until {moment(change.deadline)}")
    return ", ".join(words)
