"""How the findings of `batchform doctor` are judged, and what is printed of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.contract import Answer, Broken, NotSent
from batchform.api.reach import Failure, Peer, Step
from batchform.api.refusal import advice, shown_address
from batchform.api.route import DIRECT, Route, parse_proxy
from batchform.doctor import Check, Grade, answer_checks, connection_checks, ok, problem, skipped, warning, worst
from batchform.model import ServerProblem
from batchform.render.style import Style
from batchform.render.text.doctor import doctor_text

if TYPE_CHECKING:
    from batchform.api.contract import Reply

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PROXY = parse_proxy("https://u:p4ss@proxy.example:3128", "HTTPS_PROXY")
BEHIND = Route(proxy=PROXY, reason="HTTPS_PROXY")


def listed(status: int = 200, body: bytes = b'{"result": {"batches": []}}', **more: Any) -> Answer:
    """An answer to the list call."""
    headers = {
        "date": format_datetime(NOW, usegmt=True),
        "x-rate-limit-limit": "150",
        "x-rate-limit-remaining": "149",
        "x-rate-limit-reset": "1",
        "content-length": str(len(body)),
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    return Answer(status=status, headers=tuple(headers.items()), body=body, sent_at=1.0, received_at=1.25)


def judged(reply: Reply) -> dict[str, Check]:
    """The checks by name."""
    return {check.name: check for check in answer_checks(reply, NOW)}


def test_a_good_answer() -> None:
    """Three lines: the list, the clock, the limit."""
    body = b'{"result": {"batches": [{"batch_id": "a"}, {"batch_id": "b"}]}}'
    assert list(judged(listed(body=body)).values()) == [
        ok("list", "200, 2 batches, in 250 ms"),
        ok("clock", "within 30 s of the server's"),
        ok("limit", "149 of 150 requests left in this minute"),
    ]


@pytest.mark.parametrize(
    ("reply", "grade", "said"),
    [
        (listed(401, b'{"error": {"title": "Unauthorized"}}'), Grade.PROBLEM, "Check the token"),
        (listed(403, b'{"error": {"title": "Forbidden"}}'), Grade.PROBLEM, "from one on the vendor's list"),
        (listed(429, b"{}"), Grade.WARNING, "again in a minute"),
        (replace(listed(401, b"{}"), renewed=True), Grade.PROBLEM, "access tokens"),
        (listed(503, b"<html>"), Grade.PROBLEM, "status page"),
        (listed(200, b'{"error": "no"}'), Grade.PROBLEM, "status page"),
        (NotSent(cause="CONNECT: no"), Grade.PROBLEM, "CONNECT: no"),
        (Broken(cause="reset"), Grade.PROBLEM, "reset"),
    ],
)
def test_another_answer(reply: Reply, grade: Grade, said: str) -> None:
    """A refused token and an endpoint that does not answer are problems; a used up limit is a warning."""
    check = judged(reply)["list"]
    assert check.grade is grade
    assert said in check.detail


@pytest.mark.parametrize(
    ("seconds", "grade", "said"),
    [
        (0, Grade.OK, "within"),
        (30, Grade.OK, "within"),
        (-31, Grade.WARNING, "31 s ahead of the server"),
        (7200, Grade.WARNING, "7,200 s behind the server"),
    ],
)
def test_the_clock(seconds: int, grade: Grade, said: str) -> None:
    """By the server's Date."""
    check = judged(listed(date=format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)))["clock"]
    assert check.grade is grade
    assert said in check.summary


@pytest.mark.parametrize(
    ("more", "said"), [({"x_rate_limit_remaining": "0"}, "0 of 150"), ({"x_rate_limit_limit": "many"}, "are assumed")]
)
def test_the_limit(more: dict[str, Any], said: str) -> None:
    """Nothing left, and nothing said."""
    check = judged(listed(**more))["limit"]
    assert check.grade is Grade.WARNING
    assert said in check.summary


PEER = Peer(address="192.0.2.7", protocol="TLSv1.3", issuer="Some CA")


def names(reached: Peer | Failure, route: Route = DIRECT, *, tls: bool = True, lookup: bool = True) -> list[str]:
    """The grade and name of each check."""
    checks = connection_checks(reached, "api.example", route, tls=tls, names=lookup)
    return [f"{check.grade.value} {check.name}" for check in checks]


def test_the_steps_of_a_connection() -> None:
    """Those that there are."""
    assert names(PEER) == ["ok dns", "ok connect", "ok tls"]
    assert names(PEER, BEHIND) == ["ok dns", "ok connect", "ok proxy_tls", "ok tunnel", "ok tls"]
    assert names(PEER, tls=False, lookup=False) == ["ok connect"]
    assert connection_checks(PEER, "api.example", DIRECT, tls=True, names=True)[2].summary == (
        "TLSv1.3, certificate issued by Some CA"
    )


@pytest.mark.parametrize("at", range(5))
def test_a_step_that_failed(at: int) -> None:
    """Those before it were reached; those after it could not be checked."""
    steps = [Step.DNS, Step.CONNECT, Step.PROXY_TLS, Step.TUNNEL, Step.TLS]
    found = names(Failure(step=steps[at], text="why"), BEHIND)
    assert [name.split()[0] for name in found] == ["ok"] * at + ["problem"] + ["warning"] * (4 - at)


def test_a_failure_without_a_step() -> None:
    """Such as no thread."""
    assert names(Failure(step=None, text="why")) == ["problem connect", "warning dns", "warning tls"]


def test_the_worst_check_decides() -> None:
    """The exit code."""
    assert worst([]) is Grade.OK
    assert worst([ok("a", ""), warning("b", "")]) is Grade.WARNING
    assert worst([problem("a", ""), warning("b", "")]) is Grade.PROBLEM


def test_the_text() -> None:
    """A line a check, what to do below it, and the totals."""
    text = doctor_text([ok("proxy", "none"), problem("credentials", "No\x1b[2J", "Set one.")], Style(color=False))
    assert text.splitlines() == [
        "ok       proxy        none",
        "problem  credentials  No\\x1b[2J",
        "                      Set one.",
        "",
        "1 problem.",
    ]
    assert doctor_text([ok("a", "b")], Style(color=False)).endswith("\n\nEverything is in order.")
    assert "2 warnings." in doctor_text(skipped(["a", "b"], "x"), Style(color=True))


# --- after a refusal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "address"),
    [
        ("The calling IP address 203.0.113.9 is not allowed.", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("from [2001:db8::7]:443", "2001:db8::7"),
        ("Not allowed: 999.1.1.1", ""),
        ("version 1.2.3.4.5", ""),
        ("at 12:30:45 UTC", ""),
        ("The calling domain is not allowed.", ""),
    ],
)
def test_an_address_in_an_answer_is_shown(detail: str, address: str) -> None:
    """It is the one that the vendor has to allow."""
    assert shown_address(detail) == address
    found = advice(ServerProblem(status=403, title="Forbidden", detail=detail))
    assert (f"(the answer names {address})" in found) is bool(address)


@given(st.text())
def test_any_answer_is_searched(text: str) -> None:
    """None breaks it."""
    assert isinstance(shown_address(text), str)


@pytest.mark.parametrize(("status", "said"), [(401, "token"), (403, "credits"), (415, "proxy"), (None, "")])
def test_each_refusal_has_its_advice(status: int | None, said: str) -> None:
    """What was not sent says by itself what to check."""
    assert said in advice(ServerProblem(status=status, title="x", detail=""))


@pytest.mark.parametrize(
    ("detail", "said", "unsaid"),
    [
        ("There are insufficient credits.", "credits are left", "domain"),
        ("IP address 203.0.113.9 is not allowed", "(the answer names 203.0.113.9)", "credits"),
        ("The calling domain is not allowed.", "the domain that requests come from", "credits"),
        ("Not permitted for this product", "another product", "credits"),
        ("This token is disabled", "the token is enabled", "credits"),
        ("The token has no credits for this product", "domain or address", "buying"),
        ("Access denied", "domain or address", "buying"),
    ],
)
def test_a_403_that_names_its_cause_gets_the_advice_for_it(detail: str, said: str, unsaid: str) -> None:
    """All causes are named where the answer names none or several."""
    found = advice(ServerProblem(status=403, title="Forbidden", detail=detail))
    assert said in found
    assert unsaid not in found


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_text_fits_every_terminal(columns: int) -> None:
    """The texts stand beside the names, or below them where there is little room."""
    checks = [ok("configuration", "batchform.yaml, 12 batches of the service phone"), problem("api", "x " * 80, "y")]
    text = doctor_text(checks, Style(color=False, columns=columns))
    assert max(map(len, text.splitlines())) <= columns
    assert (text.splitlines()[0] == "ok       configuration") is (columns < 64)
    assert not any(line.endswith(" ") for line in text.splitlines())
