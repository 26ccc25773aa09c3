"""The judge: properties of every history, from the simulator's log and the final state, not the client's output.

Each function checks one promise and raises AssertionError with the evidence. The arguments are plain values, so that
`test_judge.py` can test the judge with histories that break the promise.
"""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from batchform import simulator
from batchform.state.disk import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from batchform.state.known import Entry

Asked: TypeAlias = tuple[simulator.Entry, simulator.Decision]
"""One request: its line in the log, and what the simulator really answered."""

_SHOWN_STARTED: Final = frozenset({"processing", "completed", "stopped"})
_CLEAN_NO: Final = frozenset({401, 403, 406, 415, 429})


def accepted(log: Iterable[simulator.Entry]) -> Counter[str]:
    """How often a start was accepted, by batch."""
    return Counter(entry.batch_id or "" for entry in log if entry.accepted)


def paid_once(log: Iterable[simulator.Entry]) -> None:
    """No batch was started twice."""
    twice = {batch_id: count for batch_id, count in accepted(log).items() if count > 1}
    assert twice == {}, f"paid for more than once: {twice}"


def nothing_lost(log: Iterable[simulator.Entry], known: Mapping[str, Entry]) -> None:
    """Every accepted start is in the state as started."""
    lost = {
        batch_id: known[batch_id].phase.value if batch_id in known else "not there"
        for batch_id in accepted(log)
        if batch_id not in known or not known[batch_id].recorded_as_started
    }
    assert lost == {}, f"accepted, and lost: {lost}"


def nothing_dreamt(log: Iterable[simulator.Entry], known: Mapping[str, Entry], elsewhere: Iterable[str] = ()) -> None:
    """Every batch recorded as started was started. `elsewhere` are batches started by someone else."""
    real = {*accepted(log), *elsewhere}
    dreamt = [batch_id for batch_id, entry in known.items() if entry.recorded_as_started and batch_id not in real]
    assert dreamt == [], f"recorded as started, and never accepted: {dreamt}"


def lock_is_free(state_file: Path) -> None:
    """The lock is free."""
    path = paths(state_file).lock
    if path.exists():
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AssertionError(f"{path.name} is still held") from None


def token_stayed_home(
    token: str, *, folder: Path, spoken: Iterable[str] = (), elsewhere: Iterable[simulator.Entry] = ()
) -> None:
    """The token is not in any output or file and was not sent to another origin."""
    said = [text for text in spoken if token in text]
    assert said == [], f"the token was printed: {said}"
    written = [path.name for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert written == [], f"the token was written: {written}"
    for entry in elsewhere:
        secret = [name for name in entry.headers if name.lower() in {"auth-token", "authorization", "x-app-key"}]
        assert secret == [], f"the token was sent elsewhere: {entry}"
        assert token not in entry.as_json(), f"the token was sent elsewhere: {entry}"


def looked_before_repeating(
    log: Sequence[simulator.Entry],
    decisions: Sequence[simulator.Decision],
    *,
    settle: float = 0.0,
    spacing: float = 0.0,
    overtaking: float = 0.0,
) -> None:
    """No start was sent for a batch that the server had shown as started, and none was repeated without reads.

    Every further start of a batch needs a reason: the previous one was cleanly throttled or refused; or two status
    reads since then said `submitted`, `spacing` seconds apart and the second one `settle` seconds after the start; or
    the start and a status read were both answered 400 or 404. A start that never arrived is not in the log and needs no
    reason. If a connection breaks at the sender, a later read on another connection may arrive before the start. So the
    first of the two reads counts if it came at most `overtaking` seconds before the start.

    This applies to the requests on behalf of one state. Clients that share only an account do not know each other's
    answers.
    """
    asked = list(zip(log, decisions, strict=True))
    for batch_id in sorted({entry.batch_id or "" for entry in log if entry.operation == "start"}):
        _one_batch(batch_id, asked, settle=settle, spacing=spacing, overtaking=overtaking)


def _one_batch(batch_id: str, asked: Sequence[Asked], *, settle: float, spacing: float, overtaking: float) -> None:
    last: tuple[float, simulator.Decision] | None = None  # the previous start
    reads: list[float] = []  # the times of the reads as submitted since then
    shown, missing = "", False
    for entry, decision in asked:
        at = datetime.fromisoformat(entry.time).timestamp()
        told = _told(decision, batch_id)
        is_ours = decision.batch_id == batch_id
        if told in _SHOWN_STARTED:
            shown = told
        elif decision.operation == "status" and is_ours:
            reads += [at] if told == "submitted" else []
            missing = missing or (decision.status_sent in {400, 404} and _is_whole(decision))
        if decision.operation != "start" or not is_ours:
            continue
        assert not shown, f"{batch_id} was started after it had been shown as {shown}"
        if last is not None and not _is_clean_no(last[1]) and not (missing and last[1].status_sent in {400, 404}):
            assert len(reads) >= 2, f"{batch_id} was started again after {len(reads)} reads"
            assert reads[-1] - reads[0] >= spacing, f"{batch_id} was read too hastily: {reads}"
            wait = (
                0.0 if last[1].status_sent in {400, 404} else settle - overtaking
            )  # it may have arrived later by this time
            assert reads[-1] - last[0] >= wait, f"{batch_id} was read too soon after its start: {reads}, {last[0]}"
        last, reads, missing = (at, decision), [read for read in reads if 0 < at - read < overtaking], False


def _told(decision: simulator.Decision, batch_id: str) -> str:
    """The status of this batch that a status or list answer showed to the sender, or empty."""
    if decision.operation not in {"status", "list"} or decision.status_sent != 200 or not _is_whole(decision):
        return ""
    try:
        document = json.loads(decision.response.body)
    except ValueError:
        return ""
    result = document.get("result") or {} if isinstance(document, dict) and not document.get("error") else {}
    for one in [result] if decision.operation == "status" else result.get("batches") or []:
        if one.get("batch_id") == batch_id:
            return str(one.get("status") or "")
    return ""


def _is_clean_no(decision: simulator.Decision) -> bool:
    """Whether the answer clearly means that the call had no effect."""
    body = decision.response.body
    is_plain = len(body) <= 1 << 20 and b'"result"' not in body
    return decision.status_sent in _CLEAN_NO and is_plain and _is_whole(decision)


def _is_whole(decision: simulator.Decision) -> bool:
    return type(decision.wire).__name__ == "Normal"
