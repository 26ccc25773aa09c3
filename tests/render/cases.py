"""Golden folders -> plans and reports. `plan_of` and `report_of` describe the files of a folder."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchform.api.decode import date_of
from batchform.apply import report
from batchform.config.loader import load
from batchform.engine import ForeignAnswers, Interrupted, ServiceDown, Starved, Stopped, Unrecordable
from batchform.errors import OutcomeUnknownError
from batchform.model import NOTHING_OBSERVED, GuardName, Observed, Reading, ServerProblem, Source
from batchform.planner import plan
from batchform.render.documents.saved import plan_from_document
from batchform.state.codec import decode_state
from batchform.state.event_codec import decode_event

if TYPE_CHECKING:
    from batchform.apply import Report
    from batchform.engine import End
    from batchform.plan import Plan
    from batchform.state.events import Event

GOLDEN = Path(__file__).parents[1] / "golden"
_DATES = frozenset({"date_submitted", "date_ended"})


def folders(kind: str) -> list[Path]:
    """The cases of one kind, sorted."""
    return sorted(path for path in (GOLDEN / kind).iterdir() if path.is_dir())


def settings(folder: Path) -> dict[str, Any]:
    """`case.json`: `now`, and optionally `endpoint`, `selected`, `overridden` and `recovered`."""
    loaded: dict[str, Any] = _json(folder / "case.json", {})
    return loaded


def plan_of(folder: Path) -> Plan:
    """The plan of a case: `plan.json`, or the plan from `batchform.yaml`, `state.json` and `observed.json`.

    The folder must be the working directory, so that places show the names a user would see.
    """
    saved = folder / "plan.json"
    if saved.exists():
        return plan_from_document(_json(saved, None))
    case = settings(folder)
    state = folder / "state.json"
    return plan(
        load(["batchform.yaml"]),
        decode_state(state.read_bytes(), trust=True) if state.exists() else None,
        _observed(_json(folder / "observed.json", None)),
        datetime.fromisoformat(case["now"]),
        endpoint=case.get("endpoint", "https://api.experianaperture.io"),
        selected=case.get("selected"),
        overridden=tuple(map(GuardName, case.get("overridden", ()))),
    )


def report_of(folder: Path) -> tuple[Report, list[Event]]:
    """The report of a case and its events: from `events.jsonl`, `unrecorded.jsonl`, `end.json` and the plan."""
    events = _events(folder / "events.jsonl")
    lost = _events(folder / "unrecorded.jsonl")
    return report(plan_of(folder), events, lost, _end(_json(folder / "end.json", None))), events + lost


def check(path: Path, text: str) -> None:
    """The file has exactly this text (no text: no file). `BATCHFORM_UPDATE_GOLDEN=1` writes it instead."""
    wanted = f"{text}\n" if text else None
    if os.environ.get("BATCHFORM_UPDATE_GOLDEN") == "1":
        if wanted is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(wanted, encoding="utf-8")
    assert (path.read_text(encoding="utf-8") if path.exists() else None) == wanted


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def _observed(value: Any) -> Observed:
    if value is None:
        return NOTHING_OBSERVED
    readings = {}
    for item in value.get("readings", ()):
        fields: dict[str, Any] = {key: date_of(text) if key in _DATES else text for key, text in item.items()}
        fields["source"] = Source(item.get("source", "list"))
        readings[item["batch_id"]] = Reading(**fields)
    skew = value.get("skew_seconds")
    return Observed(
        listed=value.get("listed", True),
        readings=readings,
        skew=timedelta(seconds=skew) if skew is not None else None,
    )


def _events(path: Path) -> list[Event]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [decode_event(json.loads(line), f"line {number}") for number, line in enumerate(lines, start=1)]


def _end(value: Any) -> End | None:
    match value:
        case None:
            return None
        case {"kind": "stopped"}:
            return Stopped(problem=ServerProblem(**value["problem"]))
        case {"kind": "service_down"}:
            return ServiceDown(batches=value["batches"])
        case {"kind": "starved"}:
            return Starved(windows=value["windows"])
        case {"kind": "foreign_answers"}:
            return ForeignAnswers(reference_id=value["reference_id"])
        case {"kind": "interrupted"}:
            return Interrupted(signum=value["signal"])
        case {"kind": "unrecordable"}:
            return Unrecordable(error=OutcomeUnknownError(value["summary"], value["detail"]))
        case _:
            raise ValueError(f"no such end: {value}")
