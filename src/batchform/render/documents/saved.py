"""JSON -> Plan. A saved plan is an approval that may be damaged or forged, so every value is checked.

Each fault ends in one message that names its place. An approval can only deny starts (`approval.approve`), so a forged
plan starts nothing. The actions that a policy tool checked (`change.actions`) must match the action that is approved.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from batchform.errors import UsageError
from batchform.model import Guard, GuardName, Service
from batchform.plan import Action, Change, GuardCheck, Notice, Obstacle, Plan, Reason, RecordsSource
from batchform.render.documents.plan import actions_of
from batchform.render.escape import printable
from batchform.source_text import Place
from batchform.state.codec import decode_time

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

MAX_BYTES: Final = 256 * 1024 * 1024
"""The size of the largest saved plan that can be loaded: about 300,000 batches."""

_MAJOR: Final = "1"
_LARGEST: Final = 10**15
"""A larger number is damage. Python refuses to print some of those."""


def load_plan(data: bytes) -> Plan:
    """The plan in the bytes of a file.

    Raises:
        UsageError: It is too large, not a saved plan, or one that this version cannot read.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(
            "The saved plan is too large",
            f"It has more than {MAX_BYTES >> 20} MiB. Plan fewer batches at once with --target. Nothing was sent.",
        )
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _not_a_plan("It is not valid JSON.") from error
    return plan_from_document(value)


def plan_from_document(value: Any) -> Plan:
    """The plan that `plan_document` made the JSON value from. Keys it does not know are ignored.

    Raises:
        UsageError: It is not a saved plan, or one that this version cannot read.
    """
    document = _Object(value, "")
    version = document.text("format_version")
    if version.partition(".")[0] != _MAJOR:
        raise UsageError(
            "This saved plan is of another format",
            f"It has format {printable(version, 40)}, this batchform reads {_MAJOR}.x. Plan again with the version that"
            " applies. Nothing was sent.",
        )
    minor = version.partition(".")[2]
    sized, has_held = minor != "0", minor not in {"0", "1"}
    configuration = document.object("configuration")
    prior = document.object("prior_state") if document.has("prior_state") else None
    return Plan(
        service=configuration.choice("service", Service),
        endpoint=configuration.text("endpoint"),
        lineage=prior.text("lineage") if prior is not None else None,
        serial=prior.number("serial") if prior is not None else None,
        at=document.time("timestamp"),
        refreshed=document.flag("refreshed"),
        targeted=document.flag("targeted"),
        changes=tuple(_change(item, sized=sized, has_held=has_held) for item in document.objects("resource_changes")),
        sized=sized,
        guards=tuple(map(_check, document.objects("checks"))),
        notices=tuple(
            Notice(text=notice.text("text"), name=notice.maybe(notice.text, "name"))
            for notice in document.objects("warnings")
        ),
    )


def _change(item: _Object, *, sized: bool, has_held: bool) -> Change:
    action = item.choice("action", Action)
    # safety: a policy checked Terraform's words, so they must name the approved action
    if item.object("change").get("actions") != actions_of(action):
        raise _not_a_plan(f"`{item.where}.change.actions` does not match the action `{action.value}`.")
    reason = item.choice("action_reason", Reason)
    return Change(
        name=item.text("name"),
        batch_id=item.text("batch_id"),
        action=action,
        reason=reason,
        obstacle=next((one for one in Obstacle if one.value == reason.value), None),
        status=item.maybe(item.text, "status"),
        server_reason=item.maybe(item.text, "server_reason"),
        records=item.maybe(item.number, "records"),
        records_source=item.choice("records_source", RecordsSource),
        counted=item.maybe(item.number, "records_counted" if sized else "records"),
        approved=item.maybe(item.number, "records_approved") if sized else None,
        held=has_held and item.flag("held"),
        submitted_at=item.maybe(item.time, "submitted_at"),
        deadline=item.maybe(item.time, "deadline"),
        not_before=item.maybe(item.time, "not_before"),
        reference_id=item.maybe(item.text, "reference_id"),
        place=_place(item.object("range")) if item.has("range") else None,
    )


def _check(item: _Object) -> GuardCheck:
    return GuardCheck(
        guard=Guard(
            name=item.object("address").choice("name", GuardName),
            limit=item.number("limit"),
            place=_place(item.object("range")) if item.has("range") else None,
        ),
        measured=item.number("measured"),
        unknown=item.number("unknown"),
        overridden=item.flag("overridden"),
    )


def _place(item: _Object) -> Place:
    start, end = item.object("start"), item.object("end")
    return Place(
        file=item.text("filename"),
        line=start.number("line"),
        column=start.number("column"),
        end_line=end.number("line"),
        end_column=end.number("column"),
    )


class _Object:
    """A JSON object at `where`, with typed reads that raise one kind of error."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _not_a_plan(f"`{where}` is not an object." if where else "It is not a JSON object.")
        self._value = value
        self.where = where

    def get(self, key: str) -> Any:
        if key not in self._value:
            raise _not_a_plan(f"`{self._at(key)}` is missing.")
        return self._value[key]

    def has(self, key: str) -> bool:
        """Whether the value is not null."""
        return self.get(key) is not None

    def maybe(self, read: Callable[[str], T], key: str) -> T | None:
        return read(key) if self.has(key) else None

    def object(self, key: str) -> _Object:
        return _Object(self.get(key), self._at(key))

    def objects(self, key: str) -> list[_Object]:
        items = self._of(key, list, "a list")
        return [_Object(item, f"{self._at(key)}[{number}]") for number, item in enumerate(items)]

    def text(self, key: str) -> str:
        return self._of(key, str, "a text")

    def flag(self, key: str) -> bool:
        return self._of(key, bool, "true or false")

    def number(self, key: str) -> int:
        value = self.get(key)
        if type(value) is not int or not 0 <= value <= _LARGEST:
            raise _not_a_plan(f"`{self._at(key)}` is not a whole number from 0 to 10^15.")
        return value

    def time(self, key: str) -> datetime:
        try:
            return decode_time(self.get(key)).astimezone(UTC)
        except (ValueError, TypeError, OverflowError) as error:
            raise _not_a_plan(f"`{self._at(key)}` is not a time with a zone.") from error

    def choice(self, key: str, kind: type[E]) -> E:
        try:
            return kind(self.text(key))
        except ValueError:
            raise _not_a_plan(f"`{self._at(key)}` has an unknown value.") from None

    def _of(self, key: str, kind: type[T], words: str) -> T:
        value = self.get(key)
        if not isinstance(value, kind):
            raise _not_a_plan(f"`{self._at(key)}` is not {words}.")
        return value

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def _not_a_plan(why: str) -> UsageError:
    return UsageError(
        "This is not a saved plan",
        f"{why} `batchform plan --out FILE` writes saved plans. Nothing was sent.",
    )
