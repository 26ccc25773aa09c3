"""What `batchform doctor` finds: checks as values, and how the network's answers are judged.

Pure. The command gathers the facts, and each function here turns one of them into checks. A check that could not be
made because an earlier one failed is a warning that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from batchform.api.contract import (
    Answer,
    Listing,
    NoAnswer,
    Refused,
    Throttled,
    list_meaning,
    problem_of,
    rate_of,
)
from batchform.api.reach import Failure, Peer, Step
from batchform.api.refusal import advice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from batchform.api.contract import RateHeaders, Reply
    from batchform.api.route import Route
    from batchform.model import ServerProblem

CLOCKS_MAY_DIFFER: Final = 30.0
"""Seconds. A larger difference is a warning: `not_before` and deadlines are judged by both clocks."""


class Grade(StrEnum):
    """How a check came out. One problem makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `summary` is what was found, `detail` what to do about it (empty if nothing)."""

    name: str
    grade: Grade
    summary: str
    detail: str = ""


def ok(name: str, summary: str) -> Check:
    """A check without a finding."""
    return Check(name=name, grade=Grade.OK, summary=summary)


def warning(name: str, summary: str, detail: str = "") -> Check:
    """A check whose finding does not stop a run."""
    return Check(name=name, grade=Grade.WARNING, summary=summary, detail=detail)


def problem(name: str, summary: str, detail: str = "") -> Check:
    """A check whose finding stops a run."""
    return Check(name=name, grade=Grade.PROBLEM, summary=summary, detail=detail)


def skipped(names: Sequence[str], cause: str) -> list[Check]:
    """Checks that could not be made."""
    return [warning(name, f"not checked: {cause}") for name in names]


def worst(checks: Sequence[Check]) -> Grade:
    """The grade of the whole."""
    grades = {check.grade for check in checks}
    return next((grade for grade in (Grade.PROBLEM, Grade.WARNING) if grade in grades), Grade.OK)


# --- the connection ---------------------------------------------------------------------------------------------------

_STEPS: Final = {
    Step.DNS: "dns",
    Step.CONNECT: "connect",
    Step.PROXY_TLS: "proxy_tls",
    Step.TUNNEL: "tunnel",
    Step.TLS: "tls",
}


def connection_checks(reached: Peer | Failure, host: str, route: Route, *, tls: bool, names: bool) -> list[Check]:
    """A check for each step of a connection.

    Args:
        reached: The other end, or the step that failed.
        host: The host of the endpoint.
        route: How it is reached.
        tls: Whether the endpoint is spoken to by TLS.
        names: Whether a name has to be looked up here.
    """
    proxy = route.proxy
    steps = [Step.DNS] if names else []
    steps += [Step.CONNECT]
    if proxy is not None:
        steps += [Step.PROXY_TLS, Step.TUNNEL] if proxy.scheme == "https" else [Step.TUNNEL]
    steps += [Step.TLS] if tls else []
    if isinstance(reached, Failure):
        if reached.step not in steps:
            rest = [_STEPS[step] for step in steps if step is not Step.CONNECT]
            return [problem("connect", "no connection", reached.text), *skipped(rest, "no connection")]
        at = steps.index(reached.step)
        done = [ok(_STEPS[step], "reached") for step in steps[:at]]
        failed = problem(_STEPS[reached.step], f"{reached.step} failed", reached.text)
        return [*done, failed, *skipped([_STEPS[step] for step in steps[at + 1 :]], f"{_STEPS[reached.step]} failed")]
    nearest = proxy.host if proxy is not None else host
    found = {
        Step.DNS: f"{nearest} is {reached.address}",
        Step.CONNECT: f"connected to {reached.address}",
        Step.PROXY_TLS: "the proxy's certificate is accepted",
        Step.TUNNEL: f"the proxy opened a tunnel to {host}",
        Step.TLS: f"{reached.protocol}, certificate issued by {reached.issuer or 'an unnamed authority'}",
    }
    return [ok(_STEPS[step], found[step]) for step in steps]


# --- the list call ----------------------------------------------------------------------------------------------------

ANSWER_NAMES: Final = ("list", "clock", "limit")


def answer_checks(reply: Reply, now: datetime) -> list[Check]:
    """What the list call was answered, and what the answer says of the clock and the rate limit."""
    if not isinstance(reply, Answer):
        refusal = problem_of(reply)
        return [problem("list", refusal.title, refusal.detail), *skipped(ANSWER_NAMES[1:], "no answer")]
    rate = rate_of(reply)
    return [_list_check(reply), _clock_check(rate, now), _limit_check(rate)]


def _list_check(reply: Answer) -> Check:
    took = f"in {(reply.received_at - reply.sent_at) * 1000:.0f} ms"
    match list_meaning(reply):
        case Listing(readings=readings):
            return ok("list", f"200, {len(readings):,} batches, {took}")
        case Throttled():
            return warning("list", "429: the rate limit is used up", "Run `batchform doctor` again in a minute.")
        case Refused(problem=found):
            return problem("list", _said(found), advice(found))
        case NoAnswer(problem=found) if found.status == 401:  # an access token that was fetched just now
            return problem("list", _said(found), "The server does not accept this client's access tokens.")
        case NoAnswer(problem=found):
            return problem("list", _said(found), "Run `batchform doctor` again later; see the vendor's status page.")
        case other:
            assert_never(other)


def _said(found: ServerProblem) -> str:
    head = f"{found.status} {found.title}" if found.status is not None else found.title
    return f"{head}: {found.detail.rstrip('.')}" if found.detail else head


def _clock_check(rate: RateHeaders, now: datetime) -> Check:
    if rate.date_epoch is None:
        return warning("clock", "not checked: the answer has no Date header")
    seconds = rate.date_epoch - now.timestamp()
    if abs(seconds) <= CLOCKS_MAY_DIFFER:
        return ok("clock", f"within {CLOCKS_MAY_DIFFER:.0f} s of the server's")
    side = "ahead of" if seconds < 0 else "behind"
    return warning(
        "clock",
        f"this machine is {abs(seconds):,.0f} s {side} the server",
        "Set this machine's clock: deadlines and `not_before` depend on it.",
    )


def _limit_check(rate: RateHeaders) -> Check:
    if rate.limit is None or rate.remaining is None:
        return warning("limit", "the answer does not say; 150 requests per minute are assumed")
    left = f"{rate.remaining:,} of {rate.limit:,} requests left in this minute"
    if rate.remaining == 0:
        return warning("limit", left, "Other integrations of the account use its limit; a run would wait.")
    return ok("limit", left)
