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
_LONGEST: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One batch to declare: its reading from the server, and the change in the plan."""

    reading: Reading
    change: Change


def names_for(readings: Iterable[Reading], taken: Iterable[str]) -> dict[str, str]:
    """A unique name for each batch_id: the batch_reference_id if it is a valid name, else the id."""
    used = set(taken)
    names = {}
    for reading in sorted(readings, key=lambda one: one.batch_id):
        wanted = reading.batch_reference_id or ""
        if not _NAME.fullmatch(wanted):
            wanted = reading.batch_id if _NAME.fullmatch(reading.batch_id) else f"batch-{reading.batch_id}"[:_LONGEST]
        name, number = wanted, 2
        while name in used:
            name, number = f"{wanted[: _LONGEST - len(str(number)) - 1]}-{number}", number + 1
        used.add(name)
        names[reading.batch_id] = name
    return names


def declarations_text(plan: Plan, declarations: Iterable[Declaration]) -> str:
    """The YAML file. Batches that the plan blocks are declared on hold, so that later plans do not block them again."""
    lines = [
        f"# Imported from {printable(plan.endpoint)} on {moment(plan.at)}.",
        "# Read it before you apply. Apply starts every batch that is submitted and not on hold, which spends credits.",
        "version: 1",
        f"service: {plan.service.value}",
        "batches:",
    ]
    for declaration in declarations:
        lines += _declaration(declaration, plan)
    return "\n".join(lines) + "\n"


def _declaration(declaration: Declaration, plan: Plan) -> list[str]:
    change, reading = declaration.change, declaration.reading
    lines = [f'  "{change.name}":', f"    # {_comment(change, reading, plan)}", f'    batch_id: "{change.batch_id}"']
    if change.records is not None and change.records <= MAX_RECORDS:
        lines.append(f"    records: {change.records}")
    if change.submitted_at is not None and change.action is not Action.ADOPT:
        lines.append(f'    submitted_at: "{encode_time(change.submitted_at)}"')
    if change.action is Action.BLOCKED:
        lines.append(f"    hold: true    # {word_of(change)}: {why(change, plan)}")
    return lines


def _comment(change: Change, reading: Reading, plan: Plan) -> str:
    """`submitted, 9,800 records, can be started until 2026-12-01 06:00 UTC`."""
    words = [printable(reading.status, 60) if reading.status else "without a status", size(change.records)]
    if reading.batch_reference_id and reading.batch_reference_id != change.name:
        words.append(f"reference {printable(reading.batch_reference_id, 100)}")
    if change.deadline is not None and reading.status == Status.SUBMITTED:
        words.append(f"{'could' if change.deadline <= plan.at else 'can'} be started until {moment(change.deadline)}")
    return ", ".join(words)
