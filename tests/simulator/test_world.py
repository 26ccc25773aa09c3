"""The rules of the server, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchform.simulator import Batch, ConsoleStart, Fault, Status, World, from_values
from batchform.simulator.faults import Items, OddCredits
from batchform.simulator.world import TokenFlaw
from tests.simulator.calls import BATCHES, NOW, TOKEN, listed, read, request, result, start, status_of

DAY = 86_400.0


def world(**options: Any) -> World:
    """A world with one submitted batch of 100 records, b1."""
    given: dict[str, Any] = {"token": TOKEN, "batches": (Batch(batch_id="b1", records=100),)}
    return World(**given | options)


def test_a_start_needs_neither_body_nor_content_type() -> None:
    """The documented call is accepted."""
    there = world()
    decision = start(there)
    assert result(decision) == {"batch_id": "b1", "status": "processing"}
    assert (decision.accepted, decision.did, decision.credits_charged) == (True, "started", 100)
    assert there.accepted == {"b1": 1}


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.COMPLETED, Status.STOPPED])
def test_what_was_started_is_never_accepted_again(status: Status) -> None:
    """In every later status, a start is answered 400."""
    there = world(batches=(Batch(batch_id="b1", records=100, status=status),))
    decision = start(there)
    assert (decision.response.status, decision.did) == (400, "refused: already started")
    assert not there.accepted
    assert there.credits_charged == 0


def test_a_batch_stopped_by_hand_is_never_accepted_again() -> None:
    """A stop does not make the batch startable again."""
    there = world()
    start(there)
    assert result(there.handle(request(path=f"{BATCHES}/b1/stop"), NOW)) == {"batch_id": "b1", "status": "stopped"}
    assert start(there).response.status == 400
    assert there.accepted == {"b1": 1}


@pytest.mark.parametrize("service", ["phone", "email", "address"])
@pytest.mark.parametrize(("age", "status"), [(27.9 * DAY, 200), (28 * DAY, 200), (28 * DAY + 1, 400), (400 * DAY, 400)])
def test_the_28_day_rule(service: str, age: float, status: int) -> None:
    """After exactly 28 days a batch can be started, a second later it cannot, for every service."""
    there = world(batches=(Batch(batch_id="b1", age=age, service=service),))
    assert there.handle(request(path=f"/{service}/bulk/v1/batches/b1/start"), NOW).response.status == status


def test_age_counts_from_the_moment_the_world_begins() -> None:
    """A batch grows older during the run."""
    there = world(batches=(Batch(batch_id="b1", age=27 * DAY),))
    there.begin(NOW)
    assert start(there, now=NOW + DAY + 1).did == "refused: older than 28 days"


REFUSALS = {
    "no token": (request(token=None), 400),
    "empty token": (request(token=""), 400),
    "wrong token": (request(token="other"), 401),
    "token of another product": (request(token="product"), 403),
    "disabled token": (request(token="disabled"), 403),
    "Reference-Id with a bad character": (request(Reference_Id="no;no"), 400),
    "Reference-Id too long": (request(Reference_Id="x" * 257), 400),
    "Reference-Id empty": (request(Reference_Id=""), 400),
    "Add-Metadata": (request("GET", f"{BATCHES}/b1", Add_Metadata="maybe"), 400),
    "Add-Metadata on start": (request(Add_Metadata="maybe"), 400),
    "malformed body on start": (request(body=b"{"), 400),
    "Accept": (request(Accept="text/html"), 406),
    "Content-Type": (request(Content_Type="text/plain"), 415),
    "unknown path": (request(path="/phone/bulk/v2/batches/b1/start"), 404),
    "unknown service": (request(path="/fax/bulk/v1/batches/b1/start"), 404),
    "unknown action": (request(path=f"{BATCHES}/b1/restart"), 404),
    "no batch id": (request(path=f"{BATCHES}//start"), 404),
    "unknown method": (request("PUT"), 404),
    "unknown batch": (request(path=f"{BATCHES}/b9/start"), 404),
    "batch of another service": (request(path="/email/bulk/v1/batches/b1/start"), 404),
    "batch id with a bad character": (request(path=f"{BATCHES}/b%2e1/start"), 400),
    "batch id of dots": (request(path=f"{BATCHES}/../start"), 400),
    "batch id too long": (request(path=f"{BATCHES}/{'b' * 129}/start"), 400),
    "empty body on create": (request(path=BATCHES), 400),
    "malformed body on create": (request(path=BATCHES, body=b"[1"), 400),
    "deep body on create": (request(path=BATCHES, body=b"[" * 100_000), 400),
    "list for a body on create": (request(path=BATCHES, body=[]), 400),
    "no records on create": (request(path=BATCHES, body={"phones": []}), 400),
    "too many records on create": (request(path=BATCHES, body={"phones": [{"number": "1"}] * 10_001}), 400),
    "another service's records on create": (request(path=BATCHES, body={"emails": [{"email": "a@b"}]}), 400),
    "bad batch_reference_id on create": (
        request(path=BATCHES, body={"phones": [{}], "defaults": {"batch_reference_id": ";"}}),
        400,
    ),
    "bad max_processing_time on create": (
        request(path=BATCHES, body={"phones": [{}], "defaults": {"max_processing_time": "PT30S"}}),
        400,
    ),
    "max_processing_time that is no duration on create": (
        request(path=BATCHES, body={"phones": [{}], "defaults": {"max_processing_time": "soon"}}),
        400,
    ),
    "stop of a submitted batch": (request(path=f"{BATCHES}/b1/stop"), 400),
}


@pytest.mark.parametrize(("asked", "status"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(asked: Any, status: int) -> None:
    """Every documented refusal has its status and the documented error object, and changes nothing."""
    there = world(refused_tokens={"product": TokenFlaw.OTHER_PRODUCT, "disabled": TokenFlaw.DISABLED})
    decision = there.handle(asked, NOW)
    assert decision.response.status == status
    payload = json.loads(decision.response.body)
    assert set(payload) == {"error"}
    assert set(payload["error"]) == {"type", "title", "detail", "instance"}
    assert payload["error"]["instance"] == asked.path
    assert not there.accepted
    assert status_of(there, "b1") is Status.SUBMITTED


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "*/*"},
        {"Accept": "text/html, application/json;q=0.9"},
        {"Content_Type": "application/json; charset=utf-8"},
        {"Reference_Id": "Az 09_-/:.,()"},
        {"Add_Metadata": "True"},
    ],
    ids=str,
)
def test_headers_that_pass(headers: dict[str, str]) -> None:
    """Valid headers are not refused."""
    assert start_with(headers).response.status == 200


def start_with(headers: dict[str, str]) -> Any:
    """A start with these headers in a new world."""
    return world().handle(request(**headers), NOW)


@pytest.mark.parametrize("name", ["auth-token", "AUTH-TOKEN", "x-app-key", "X-App-Key"])
def test_the_token_is_found_under_any_of_its_names(name: str) -> None:
    """Header names are not case-sensitive, and x-app-key is declared, too."""
    assert world().handle(request(token=None, **{name: TOKEN}), NOW).response.status == 200


def test_a_bearer_token_passes() -> None:
    """The declared OAuth2 scheme is accepted, too."""
    assert world().handle(request(token=None, Authorization=f"Bearer {TOKEN}"), NOW).response.status == 200


def test_without_a_token_of_its_own_the_world_takes_any() -> None:
    """A token is still required."""
    there = world(token=None)
    assert there.handle(request(token=None), NOW).response.status == 400
    assert there.handle(request(token="whatever"), NOW).response.status == 200


def test_reference_id_is_echoed() -> None:
    """It is returned on success and on refusal, unless it is invalid."""
    there = world()
    for _ in range(2):
        assert there.handle(request(Reference_Id="run-7"), NOW).response.header("reference-id") == "run-7"
    assert there.handle(request(Reference_Id="bad;"), NOW).response.header("reference-id") is None


def test_credits_are_charged_by_the_accepted_start_alone() -> None:
    """Each record costs one credit. A start that the balance does not cover is refused."""
    batches = (Batch(batch_id="b1", records=60), Batch(batch_id="b2", records=60), Batch(batch_id="b3", records=40))
    there = world(batches=batches, credits=100)
    assert start(there, "b1").credits_charged == 60
    decision = start(there, "b2")
    assert (decision.response.status, decision.did) == (403, "refused: insufficient credits")
    assert start(there, "b3").response.status == 200
    assert there.credits_charged == 100
    assert status_of(there, "b2") is Status.SUBMITTED


# --- progress --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "status", "processed"),
    [(0, "processing", 0), (0.5, "processing", 50), (0.999, "processing", 99), (1, "completed", 100)],
)
def test_progress_is_a_function_of_time(seconds: float, status: str, processed: int) -> None:
    """100 records per second are processed at speed 1, and the batch completes by itself."""
    there = world()
    start(there)
    shown = read(there, now=NOW + seconds)
    assert (shown["status"], shown["records_processed"]) == (status, processed)
    assert ("date_ended" in shown) is (status == "completed")
    assert "date_started" not in shown


def test_speed_is_a_factor() -> None:
    """At speed 0 no batch ends; speed 10 takes a tenth of the time."""
    fast, still = world(speed=10), world(speed=0)
    start(fast)
    start(still)
    assert read(fast, now=NOW + 0.1)["status"] == "completed"
    assert read(still, now=NOW + 1e9)["status"] == "processing"


def test_max_processing_time_stops_a_batch() -> None:
    """The reason is the documented one, and the number of processed records is that of the stop."""
    there = world(batches=(Batch(batch_id="b1", records=100, max_processing_time=0.75),))
    start(there)
    shown = read(there, now=NOW + 5)
    assert (shown["status"], shown["reason"], shown["records_processed"]) == (
        "stopped",
        "max_processing_time_reached",
        75,
    )


def test_a_stop_keeps_what_was_processed() -> None:
    """A manual stop has no reason, and nothing changes afterwards."""
    there = world()
    start(there)
    there.handle(request(path=f"{BATCHES}/b1/stop"), NOW + 0.25)
    shown = read(there, now=NOW + 9)
    assert (shown["status"], shown["records_processed"], "reason" in shown) == ("stopped", 25, False)
    assert there.handle(request(path=f"{BATCHES}/b1/stop"), NOW + 9).response.status == 400


def test_a_world_may_begin_with_batches_under_way() -> None:
    """Each status has the fields of the vendor's examples."""
    batches = {
        "p": {"status": "processing", "records": 100, "records_processed": 40},
        "c": {"status": "completed", "records": 100, "age": "2h"},
        "s": {"status": "stopped", "records": 100, "age": "2h"},
    }
    there = from_values({"token": TOKEN, "batches": batches})
    there.begin(NOW)
    assert read(there, "p", NOW + 0.5)["records_processed"] == 90
    assert read(there, "c", NOW)["date_ended"] == "2026-09-21T13:14:00.000000Z"
    shown = read(there, "s")
    assert (shown["records_processed"], shown["reason"]) == (50, "max_processing_time_reached")


# --- create, list, results -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["phone", "email", "address"])
def test_from_create_to_results(service: str) -> None:
    """The whole life of a batch, for each service."""
    there = world()
    prefix, key = f"/{service}/bulk/v1/batches", {"phone": "phones", "email": "emails", "address": "addresses"}[service]
    body = {key: [{"of": "x"}, {"of": "y"}], "defaults": {"batch_reference_id": "mine", "country_iso": "GBR"}}
    made = result(there.handle(request("POST", prefix, body=body), NOW))
    path = f"{prefix}/{made['batch_id']}"
    assert made == {"batch_id": made["batch_id"], "batch_reference_id": "mine", "status": "submitted"}
    before = result(there.handle(request("GET", f"{path}/results"), NOW))
    assert (before["credits_charged"], before["statistics"], before[key]) == (0, [], [])
    assert there.handle(request(path=f"{path}/start"), NOW).credits_charged == 2
    after = result(there.handle(request("GET", f"{path}/results"), NOW + 1))
    assert (after["status"], after["credits_charged"], len(after[key])) == ("completed", 2, 2)
    assert after["statistics"] == [{"name": "verified", "value": 2}]
    shown = there.handle(request("GET", path, Add_Metadata="true"), NOW)
    assert json.loads(shown.response.body)["metadata"] == {"batch_config": {"country_iso": "GBR"}}


def test_results_of_a_stopped_batch_tell_what_was_not_processed() -> None:
    """The charge is the number of processed records, as in the vendor's example."""
    there = world(batches=(Batch(batch_id="b1", records=4, status=Status.STOPPED, records_processed=3, reason="r"),))
    got = result(there.handle(request("GET", f"{BATCHES}/b1/results"), NOW))
    assert (got["credits_charged"], got["reason"]) == (3, "r")
    assert [record["confidence"] for record in got["phones"]] == ["verified"] * 3 + ["unprocessed"]


@pytest.mark.parametrize(
    ("batch", "charged"),
    [
        (Batch(batch_id="b1", records=3, status=Status.COMPLETED), 5),
        (Batch(batch_id="b1", records=4, status=Status.STOPPED, records_processed=1, reason="r"), 2),
        (Batch(batch_id="b1", records=3, status=Status.COMPLETED, credits=7), 7),
        (Batch(batch_id="b1", records=3, status=Status.PROCESSING, credits=7), 0),
    ],
    ids=["completed", "stopped", "its own", "processing"],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_credits_follow_the_price_of_a_record_or_of_the_batch(batch: Batch, charged: int, *, as_text: bool) -> None:
    """Rounded up for the batch; as a number or, as the vendor's other document has it, in digits."""
    there = world(batches=(batch,), credits_per_record=1.5, credits_as_text=as_text, speed=0.0)
    got = result(there.handle(request("GET", f"{BATCHES}/b1/results"), NOW))
    assert got["credits_charged"] == (str(charged) if as_text else charged)


def test_a_start_charges_the_price() -> None:
    """The balance has to suffice for it."""
    batches = (Batch(batch_id="b1", records=3), Batch(batch_id="b2", records=3, credits=10))
    there = world(batches=batches, credits_per_record=1.5, credits=14)
    assert start(there).credits_charged == there.credits_charged == 5
    assert start(there, "b2").response.status == 403
    assert world(batches=batches, credits=10).handle(request(path=f"{BATCHES}/b2/start"), NOW).credits_charged == 10


def test_all_numbers_of_a_batch_differ() -> None:
    """10,000 of them, each from a range that is reserved for fiction."""
    there = world(batches=(Batch(batch_id="b1", records=10_000, status=Status.COMPLETED),))
    phones = result(there.handle(request("GET", f"{BATCHES}/b1/results"), NOW))["phones"]
    assert len({phone["number"] for phone in phones}) == 10_000


@pytest.mark.parametrize(
    ("service", "key", "wanted"),
    [
        ("phone", "phones", {"operator_name": "Example Mobile"}),
        ("email", "emails", {"domain_detail": {"type": "corporate"}}),
        ("address", "addresses", {}),
    ],
)
def test_metadata_comes_with_what_was_processed(service: str, key: str, wanted: dict[str, Any]) -> None:
    """Only if it was asked for."""
    batch = Batch(batch_id="b1", records=2, service=service, status=Status.STOPPED, records_processed=1, reason="r")
    path = f"/{service}/bulk/v1/batches/b1/results"
    there = world(batches=(batch,))
    first, second = result(there.handle(request("GET", path, Add_Metadata="true"), NOW))[key]
    assert wanted.items() <= first["metadata"].items()
    assert "metadata" not in second
    assert "metadata" not in result(there.handle(request("GET", path), NOW))[key][0]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_any_number_of_items(count: int) -> None:
    """The last one again and again; without items, nothing changes."""
    batch = Batch(batch_id="b1", records=2, status=Status.COMPLETED)
    there = world(batches=(batch,), faults=(Fault(operation="results", effect=Items(count=count), times=None),))
    got = result(there.handle(request("GET", f"{BATCHES}/b1/results"), NOW))
    numbers = [phone["number"] for phone in got["phones"]]
    assert numbers == ["441632960000", "441632960001", *["441632960001"] * 5][: count or 2]
    assert got["credits_charged"] == 2


def test_odd_credits() -> None:
    """Whatever the world file says."""
    fault = Fault(operation="results", effect=OddCredits(value="many"))
    there = world(batches=(Batch(batch_id="b1", status=Status.COMPLETED),), faults=(fault,))
    assert result(there.handle(request("GET", f"{BATCHES}/b1/results"), NOW))["credits_charged"] == "many"


def test_ids_of_created_batches_follow_from_the_seed() -> None:
    """They differ from each other and are the same in every run."""

    def made(seed: int) -> list[str]:
        there = world(seed=seed)
        asked = request("POST", BATCHES, body={"phones": [{"number": "1"}]})
        return [result(there.handle(asked, NOW))["batch_id"] for _ in range(2)]

    assert made(1) == made(1)
    assert len({*made(1), *made(2)}) == 4


def test_a_list_holds_the_batches_of_its_service() -> None:
    """Batches of other services are not listed."""
    there = world(batches=(Batch(batch_id="b1"), Batch(batch_id="e1", service="email")))
    assert [batch["batch_id"] for batch in listed(there)] == ["b1"]


def test_two_batches_of_one_id_are_no_world() -> None:
    """The id must be unique across services."""
    with pytest.raises(ValueError, match="same batch_id"):
        World(batches=(Batch(batch_id="b1"), Batch(batch_id="b1", service="email")))


# --- lag and other people --------------------------------------------------------------------------------------------


def test_lag_shows_a_start_late() -> None:
    """Status and list reads both count. A second start is refused at once."""
    there = world(lag=2)
    start(there)
    assert read(there)["status"] == "submitted"
    assert start(there).response.status == 400
    assert listed(there)[0]["status"] == "submitted"
    assert read(there)["status"] == "processing"


def test_a_batch_may_have_a_lag_of_its_own() -> None:
    """It replaces the world's lag."""
    there = world(batches=(Batch(batch_id="b1", lag=0),), lag=9)
    start(there)
    assert read(there)["status"] == "processing"


def test_drawn_lag_follows_from_the_seed() -> None:
    """The lag has an upper limit, is reproducible, and differs between batches."""

    def lags(seed: int) -> list[int]:
        batches = tuple(Batch(batch_id=f"b{number}", records=10_000) for number in range(20))
        there = world(batches=batches, lag_up_to=3, seed=seed, rate_limit=1000)
        found = []
        for batch in batches:
            start(there, batch.batch_id)
            stale = 0
            while read(there, batch.batch_id)["status"] == "submitted":
                stale += 1
            found.append(stale)
        return found

    assert lags(1) == lags(1) != lags(2)
    assert set(lags(1)) == {0, 1, 2, 3}


def test_someone_else_starts_a_batch_at_the_nth_request() -> None:
    """The start comes just before the request. The credits are charged, but no request of ours was accepted."""
    there = world(console_starts=(ConsoleStart(batch_id="b1", at_request=2),))
    assert read(there)["status"] == "submitted"
    decision = start(there)
    assert decision.did == "started elsewhere: b1; refused: already started"
    assert (there.accepted, there.console_started, there.credits_charged) == ({}, ["b1"], 100)


@pytest.mark.parametrize("before", ["start", "list"])
def test_someone_else_starts_a_batch_just_before_an_operation(before: str) -> None:
    """This works for any operation."""
    there = world(console_starts=(ConsoleStart(batch_id="b1", before=before),))
    assert read(there)["status"] == "submitted"
    if before == "list":
        assert listed(there)[0]["status"] == "processing"
    assert start(there).response.status == 400


@pytest.mark.parametrize("batch", [Batch(batch_id="b1", age=29 * DAY), Batch(batch_id="b1", status=Status.STOPPED)])
def test_someone_else_cannot_start_what_nobody_can(batch: Batch) -> None:
    """The same rules apply to console starts."""
    there = world(batches=(batch,), console_starts=(ConsoleStart(batch_id="b1", at_request=1),))
    assert start(there).response.status == 400
    assert (there.console_started, there.credits_charged, there.requests) == ([], 0, 1)


# --- the rate window -------------------------------------------------------------------------------------------------


def rate(decision: Any) -> tuple[str | None, ...]:
    """The three rate headers."""
    return tuple(decision.response.header(f"X-Rate-Limit-{name}") for name in ("Limit", "Remaining", "Reset"))


def test_every_answer_has_the_rate_headers_and_the_date() -> None:
    """They are on success, refusal, 404 and 429."""
    there = world(rate_limit=3)
    reset = str(int(NOW) + 60)
    first = start(there)
    assert rate(first) == ("3", "2", reset)
    assert first.response.header("date") == "Mon, 21 Sep 2026 14:14:00 GMT"
    assert rate(start(there)) == ("3", "1", reset)
    assert rate(there.handle(request("GET", "/"), NOW)) == ("3", "0", reset)
    throttled = start(there, now=NOW + 59.9)
    assert (throttled.response.status, throttled.did, rate(throttled)) == (429, "throttled", ("3", "0", reset))
    assert start(there, now=NOW + 60).response.status == 400


def test_windows_are_aligned_and_the_reset_is_rounded_up() -> None:
    """A window of 2.5 s ends at a multiple of 2.5 s, and the header has the next whole second."""
    there = world(rate_window=2.5)
    assert rate(start(there, now=1001.0))[2] == "1003"


def test_other_traffic_eats_the_budget_evenly() -> None:
    """In the middle of the window, half of it is used."""
    there = world(rate_limit=100, other_traffic=60)
    assert start(there, now=NOW).remaining == 98
    assert start(there, now=NOW + 30).remaining == 67
    assert start(there, now=NOW + 59.99).remaining == 37


def test_other_traffic_can_take_everything() -> None:
    """Our first request is throttled, and no number is negative."""
    decision = start(world(rate_limit=5, other_traffic=500), now=NOW + 30)
    assert (decision.response.status, decision.remaining) == (429, 0)


def test_rate_headers_can_be_missing() -> None:
    """As in older recordings."""
    assert rate(start(world(send_rate_headers=False))) == (None, None, None)


def test_the_servers_clock_can_differ() -> None:
    """All times of the server follow its own clock."""
    there = world(skew=600.0)
    decision = start(there)
    assert decision.response.header("date") == "Mon, 21 Sep 2026 14:24:00 GMT"
    assert rate(decision)[2] == str(int(NOW) + 660)
    assert read(there)["date_submitted"] == "2026-09-21T14:24:00.000000Z"


def test_time_never_runs_backwards() -> None:
    """If the caller's clock jumps back, no new window begins and no progress is lost."""
    there = world(rate_limit=2)
    start(there)
    assert read(there, now=NOW + 1)["status"] == "completed"
    assert start(there, now=NOW - 600).response.status == 429
