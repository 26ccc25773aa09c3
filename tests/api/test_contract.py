"""The requests, and the meaning of answers with any status and any irregularity."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api.contract import (
    SINGLE_BYTES,
    Accepted,
    Answer,
    Broken,
    Doubtful,
    Listing,
    Missing,
    NoAnswer,
    NotSent,
    RateHeaders,
    Read,
    Refused,
    Reply,
    Throttled,
    foreign_id,
    list_meaning,
    list_request,
    problem_of,
    rate_of,
    read_meaning,
    start_meaning,
    start_request,
    status_request,
    traced,
)
from batchform.api.decode import AMBIGUOUS, date_of, json_value
from batchform.model import Reading, Service, Source

ID = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"
GZIP = (("content-encoding", "gzip"),)


def ok(**result: Any) -> Answer:
    """A 200 with this result."""
    return reply(200, {"result": result})


def reply(status: int, document: Any = None, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A complete answer. Bytes are used unchanged, anything else as JSON; None means no body."""
    body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
    return Answer(status=status, headers=headers, body=body)


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_start_declares_no_body() -> None:
    """The start has Content-Length 0, no Content-Type, and 20 seconds."""
    request = start_request(Service.PHONE, ID, "crm-4711")
    assert (request.method, request.path) == ("POST", f"/phone/bulk/v1/batches/{ID}/start")
    assert dict(request.headers) == {
        "Accept": "application/json",
        "Content-Length": "0",
        "Reference-Id": "crm-4711",
    }
    assert (request.deadline, request.max_bytes, request.reference_id) == (20.0, 1 << 20, "crm-4711")


def test_a_status_read_and_a_list_are_gets() -> None:
    """Each has its own deadline and size limit."""
    read, listing = status_request(Service.EMAIL, ID), list_request(Service.ADDRESS)
    assert (read.method, read.path, read.deadline) == ("GET", f"/email/bulk/v1/batches/{ID}", 20.0)
    assert (listing.method, listing.path) == ("GET", "/address/bulk/v1/batches")
    assert (listing.deadline, listing.max_bytes) == (60.0, 64 << 20)
    assert dict(read.headers) == dict(listing.headers) == {"Accept": "application/json", "Cache-Control": "no-cache"}


@pytest.mark.parametrize(
    "batch_id",
    ["", ".", "..", "a/b", "a%2fb", "a b", "a\n", "a?b", "a#b", "é", "٣", "a\x00", "../start", "a" * 129, "a;b", "a.b"],
    ids=repr,
)
def test_an_id_is_one_path_segment(batch_id: str) -> None:
    """Any id that could lead to another path is refused before a request is made."""
    with pytest.raises(ValueError, match="not a batch_id"):
        start_request(Service.PHONE, batch_id, "r")
    with pytest.raises(ValueError, match="not a batch_id"):
        status_request(Service.PHONE, batch_id)


@pytest.mark.parametrize("reference_id", ["", "a\r\nAuth-Token: x", "a\n", "é", "a" * 257, "a;b", "a\tb"], ids=repr)
def test_a_reference_id_cannot_add_a_header(reference_id: str) -> None:
    """Only the documented characters are allowed."""
    with pytest.raises(ValueError, match="not a Reference-Id"):
        start_request(Service.PHONE, ID, reference_id)


def test_every_documented_reference_character_is_taken() -> None:
    """Source: CONTRACT "Headers"."""
    assert start_request(Service.PHONE, ID, "Az09_-/:.,() ").reference_id == "Az09_-/:.,() "


# --- start: every status ---------------------------------------------------------------------------------------------

PROBLEM = {"error": {"title": "Some title", "detail": "Some detail"}}
STATUSES = {401: Refused, 403: Refused, 406: Refused, 415: Refused, 429: Throttled}


EVERY = [*range(100, 600), 600, 999]


@pytest.mark.parametrize("body", [None, PROBLEM, b"<html>"], ids=["empty", "problem", "html"])
def test_every_status_of_a_start(body: Any) -> None:
    """Five statuses are clear. With these bodies all others, including 200, are doubtful and keep their status."""
    meanings = {status: start_meaning(reply(status, body), ID) for status in EVERY}
    assert {status: type(one) for status, one in meanings.items()} == {**dict.fromkeys(EVERY, Doubtful), **STATUSES}
    kept = {status: one for status, one in meanings.items() if isinstance(one, (Doubtful, Refused))}
    assert {status: one.problem.status for status, one in kept.items()} == {status: status for status in kept}


@pytest.mark.parametrize(
    "status", [100, 103, 201, 202, 204, 206, 301, 302, 307, 308, 400, 404, 408, 409, 500, 502, 503]
)
def test_only_a_200_is_a_success(status: int) -> None:
    """The body of a success with another status is doubtful."""
    meaning = start_meaning(reply(status, {"result": {"batch_id": ID, "status": "processing"}}), ID)
    assert isinstance(meaning, Doubtful)
    assert meaning.problem.status == status


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"result": {"batch_id": ID, "status": "processing"}}, "processing"),
        ({"result": {"batch_id": ID, "status": "completed"}}, "completed"),
        ({"result": {"batch_id": ID, "status": " Processing "}}, "processing"),
        ({"result": {"batch_id": ID, "status": "processing", "new": [1]}, "error": None, "more": {}}, "processing"),
        ({"Result": {"Batch_Id": ID, "Status": "processing"}}, "processing"),
        (b'\xef\xbb\xbf{"result":{"batch_id":"%s","status":"processing"}}' % ID.encode(), "processing"),
        (
            b'{"result":{"batch_id":"%s","status":"processing","n":NaN,"m":%s}}' % (ID.encode(), b"9" * 5000),
            "processing",
        ),
    ],
    ids=["processing", "completed", "capitals", "more-fields", "capital-keys", "bom", "odd-numbers"],
)
def test_a_clean_200_is_accepted(document: Any, status: str) -> None:
    """The answer is complete, without an error, with our id and a status that shows that the batch runs."""
    assert start_meaning(reply(200, document), ID) == Accepted(status=status)


RUNS = {"batch_id": ID, "status": "processing"}


@pytest.mark.parametrize(
    "document",
    [
        None,
        b"null",
        b"[]",
        b'"processing"',
        b"<html><title>OK</title></html>",
        b'{"result": {"batch_id": "' + ID.encode() + b'", "status": "proc',
        json.dumps({"result": RUNS}).encode() + b"garbage",
        json.dumps({"result": RUNS}).encode("utf-16"),
        json.dumps({"result": RUNS}).encode()[:-2] + b"\xff}}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        {},
        {"result": None},
        {"result": []},
        {"result": [RUNS]},
        {"result": "processing"},
        RUNS,
        {"results": RUNS},
        {"result": RUNS, "error": {"title": "no"}},
        {"result": RUNS, "ERROR": {"title": "no"}},
        {"result": RUNS, "error": ""},
        {"result": RUNS, "error": False},
        {"result": RUNS, "error": {}},
        {"error": {"title": "no"}},
        {"result": {"status": "processing"}},
        {"result": {"batch_id": None, "status": "processing"}},
        {"result": {"batch_id": ID.upper(), "status": "processing"}},
        {"result": {"batch_id": ID + " ", "status": "processing"}},
        {"result": {"batch_id": "other", "status": "processing"}},
        {"result": {"batch_id": [ID], "status": "processing"}},
        {"result": {"batch_id": ID}},
        {"result": {"batch_id": ID, "status": None}},
        {"result": {"batch_id": ID, "status": ""}},
        {"result": {"batch_id": ID, "status": "submitted"}},
        {"result": {"batch_id": ID, "status": "stopped"}},
        {"result": {"batch_id": ID, "status": "queued"}},
        {"result": {"batch_id": ID, "status": "processing soon"}},
        {"result": {"batch_id": ID, "status": True}},
        {"result": {"batch_id": ID, "status": ["processing"]}},
        b'{"result":{"batch_id":"%s","status":"submitted","status":"processing"}}' % ID.encode(),
        b'{"result":{"batch_id":"other","batch_id":"%s","status":"processing"}}' % ID.encode(),
        b'{"error":{"title":"no"},"error":null,"result":{"batch_id":"%s","status":"processing"}}' % ID.encode(),
        b'{"result":null,"result":{"batch_id":"%s","status":"processing"}}' % ID.encode(),
    ],
    ids=lambda d: str(d)[:48],
)
def test_any_other_200_is_doubtful(document: Any) -> None:
    """Something is missing, malformed, about another batch, or duplicated."""
    meaning = start_meaning(reply(200, document), ID)
    assert isinstance(meaning, Doubtful)
    assert meaning.problem.status == 200
    assert meaning.problem.title


@pytest.mark.parametrize("status", [429, 401, 403, 406, 415])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"result": RUNS}, ()),
        ({"error": {"title": "no"}, "result": {}}, ()),
        (b'{"result": {"batch_id": "', ()),
        (b'[{"Result": 1}]', ()),
        (b"\x1f\x8b", GZIP),
        (None, (("Content-Encoding", "br"),)),
    ],
    ids=["result", "both", "half", "list", "gzip", "br"],
)
def test_a_refusal_that_claims_a_result_is_doubtful(status: int, body: Any, headers: Any) -> None:
    """Only an answer without a result may lead to another start or end the run without a status read."""
    assert isinstance(start_meaning(reply(status, body, headers), ID), Doubtful)


@pytest.mark.parametrize(
    "body",
    [None, b"slow down", b"<html>429</html>", PROBLEM, b"\xff\xfe", {"result": None}, b"[]", b"{"],
    ids=lambda b: str(b)[:20],
)
def test_an_odd_429_is_still_throttled(body: Any) -> None:
    """A content delivery network may send any body."""
    assert start_meaning(reply(429, body, (("content-encoding", "identity"),)), ID) == Throttled()


def test_a_failure_that_ended_with_the_connection_needs_a_whole_document() -> None:
    """A JSON object cannot be truncated and still be valid; an empty body or a page can."""
    assert start_meaning(replace(reply(429, PROBLEM), framed=False), ID) == Throttled()
    assert isinstance(read_meaning(replace(reply(404, PROBLEM), framed=False), ID), Missing)
    for body in (None, b"<html>", b"{"):
        for status in (429, 401):
            assert isinstance(start_meaning(replace(reply(status, body), framed=False), ID), Doubtful)
        assert isinstance(read_meaning(replace(reply(404, body), framed=False), ID), NoAnswer)
    assert start_meaning(replace(ok(**RUNS), framed=False), ID) == Accepted(status="processing")


def test_a_broken_reply_is_doubtful_and_an_unsent_one_passes() -> None:
    """A broken one has no status, and of an unsent one nothing was sent."""
    broken = start_meaning(Broken(cause="the deadline passed"), ID)
    assert isinstance(broken, Doubtful)
    assert (broken.problem.status, broken.problem.detail) == (None, "the deadline passed")
    unsent = NotSent(cause="refused")
    assert start_meaning(unsent, ID) is unsent


# --- status read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "meaning"), [(429, Throttled), (403, Refused)])
def test_a_failure_that_is_too_large_to_decode_may_have_a_result(status: int, meaning: type) -> None:
    """So a start stays in doubt. The largest one that is decoded has none."""
    body = b'{"result": null, "more": "'
    largest = body + b"x" * (SINGLE_BYTES - len(body) - 2) + b'"}'
    assert isinstance(start_meaning(reply(status, largest), ID), meaning)
    assert isinstance(start_meaning(reply(status, largest + b" "), ID), Doubtful)
    assert isinstance(read_meaning(reply(status, largest + b" "), ID), meaning)


@pytest.mark.parametrize("status", [400, 404])
def test_a_batch_is_not_missing_if_the_answer_is_too_large_to_decode(status: int) -> None:
    """Its status is unknown."""
    page = b"<html>".ljust(SINGLE_BYTES)
    assert isinstance(read_meaning(reply(status, page), ID), Missing)
    assert isinstance(read_meaning(reply(status, page + b" "), ID), NoAnswer)


READS = {400: Missing, 404: Missing, 401: Refused, 403: Refused, 406: Refused, 415: Refused, 429: Throttled}


@pytest.mark.parametrize("body", [None, PROBLEM, b"<html>"], ids=["empty", "problem", "html"])
def test_every_status_of_a_read(body: Any) -> None:
    """With these bodies no status is known."""
    meanings = {status: type(read_meaning(reply(status, body), ID)) for status in EVERY}
    assert meanings == {**dict.fromkeys(EVERY, NoAnswer), **READS}


def test_a_full_reading() -> None:
    """Every field, in our types."""
    answer = ok(
        batch_id=ID,
        batch_reference_id="crm",
        status="stopped",
        reason="max_processing_time_reached",
        records=9800,
        records_processed=0,
        date_submitted="2025-09-10T01:02:03.004005Z",
        date_started="nonsense",
        date_ended="2025-09-11T01:02:03Z",
    )
    expected = Reading(
        batch_id=ID,
        source=Source.READ,
        status="stopped",
        reason="max_processing_time_reached",
        batch_reference_id="crm",
        records=9800,
        records_processed=0,
        date_submitted=datetime(2025, 9, 10, 1, 2, 3, 4005, tzinfo=UTC),
        date_ended=datetime(2025, 9, 11, 1, 2, 3, tzinfo=UTC),
    )
    assert read_meaning(answer, ID) == Read(reading=expected)


@pytest.mark.parametrize(
    ("word", "status"),
    [("submitted", "submitted"), (" SUBMITTED\n", "submitted"), ("Completed", "completed"), ("On Hold ", "On Hold ")],
)
def test_known_words_are_folded_and_others_passed_on(word: str, status: str) -> None:
    """An unrecognised status is not interpreted."""
    assert read_meaning(ok(batch_id=ID, status=word), ID) == Read(
        reading=Reading(batch_id=ID, source=Source.READ, status=status)
    )


@pytest.mark.parametrize(
    "answer",
    [
        ok(batch_id=ID, status=None),
        ok(batch_id=ID, status="  "),
        ok(batch_id=ID),
        ok(batch_id="other", status="submitted"),
        ok(status="submitted"),
        reply(200, {"result": {"batch_id": ID, "status": "submitted"}, "error": {"title": "x"}}),
        reply(200, {"batch_id": ID, "status": "submitted"}),
        reply(200, {"result": {"batch_id": ID, "status": "submitted"}}, GZIP),
        reply(203, {"result": {"batch_id": ID, "status": "submitted"}}),
        reply(404, {"result": {"batch_id": ID, "status": "submitted"}}),
        reply(404, b"\x1f\x8b", GZIP),
        Broken(cause="reset"),
        NotSent(cause="refused"),
    ],
    ids=lambda a: repr(a)[:60],
)
def test_a_read_without_a_plain_status_is_no_answer(answer: Reply) -> None:
    """It does not release the batch."""
    assert isinstance(read_meaning(answer, ID), NoAnswer)


@pytest.mark.parametrize("age", ["1", "7", "86400", "x", "", "-1", "0, 7"])
@pytest.mark.parametrize(
    ("status", "meaning"), [("submitted", NoAnswer), ("processing", Read), ("completed", Read), ("odd", Read)]
)
def test_a_stored_answer_does_not_say_submitted(status: str, meaning: type, age: str) -> None:
    """A cache can have stored it before the start. What shows a start stays true."""
    stored = replace(ok(batch_id=ID, status=status), headers=(("age", age),))
    assert isinstance(read_meaning(stored, ID), meaning)
    fresh = replace(stored, headers=(("age", " 0 "), ("x-cache", "MISS")))
    assert isinstance(read_meaning(fresh, ID), Read)


@pytest.mark.parametrize("field", ["date_submitted", "date_started", "date_ended"])
def test_each_date_of_a_reading_is_its_own(field: str) -> None:
    """None of them counts as a known status."""
    meaning = read_meaning(ok(batch_id=ID, status="completed", **{field: "2025-09-10T01:02:03Z"}), ID)
    dates: dict[str, Any] = {field: datetime(2025, 9, 10, 1, 2, 3, tzinfo=UTC)}
    assert meaning == Read(reading=Reading(batch_id=ID, source=Source.READ, status="completed", **dates))


@pytest.mark.parametrize("odd", [True, "5", -1, 1.0, 1e300, [], {}, 10**18, None], ids=repr)
def test_an_odd_count_is_unknown(odd: object) -> None:
    """It is not a number that can be added."""
    meaning = read_meaning(ok(batch_id=ID, status="submitted", records=odd, reason=odd), ID)
    assert isinstance(meaning, Read)
    assert meaning.reading.records is None


def test_texts_can_be_written_as_utf_8() -> None:
    """Lone surrogates are replaced, and long texts are truncated."""
    meaning = read_meaning(ok(batch_id=ID, status="a\ud800b", reason="x" * 1000), ID)
    assert isinstance(meaning, Read)
    assert meaning.reading.status == "a?b"
    assert meaning.reading.reason == "x" * 200


# --- list ------------------------------------------------------------------------------------------------------------


def statuses(meaning: object) -> dict[str, str | None]:
    """The statuses of a listing."""
    assert isinstance(meaning, Listing)
    assert all(reading.source is Source.LIST for reading in meaning.readings.values())
    return {batch_id: reading.status for batch_id, reading in meaning.readings.items()}


@pytest.mark.parametrize(
    "result",
    [{"batches": []}, {"batches": None}, {}, {"batches": [None, 1, "x", [], {}, {"batch_id": None, "status": "a"}]}],
    ids=repr,
)
def test_an_empty_list_is_a_list(result: object) -> None:
    """Null and a missing list are empty, and entries without an id are skipped."""
    assert statuses(list_meaning(reply(200, {"result": result}))) == {}


@pytest.mark.parametrize(
    "document",
    [None, {}, {"result": None}, {"result": []}, {"result": {"batches": {}}}, {"result": {"batches": "x"}},
     {"error": "x", "result": {"batches": []}}, b"[" * 100_000, b"{" * 10],
    ids=lambda d: str(d)[:40],
)  # fmt: skip
def test_what_is_no_list_is_no_answer(document: Any) -> None:
    """An empty list is never invented."""
    assert isinstance(list_meaning(reply(200, document)), NoAnswer)


def test_every_status_of_a_list() -> None:
    """Only a 200 contains a list."""
    meanings = {status: type(list_meaning(reply(status, {"result": {"batches": []}}))) for status in EVERY}
    clear = {200: Listing, 401: Refused, 403: Refused, 406: Refused, 415: Refused, 429: Throttled}
    assert meanings == {**dict.fromkeys(EVERY, NoAnswer), **clear}


def test_a_listed_batch_may_lack_everything_but_its_id() -> None:
    """The others are None."""
    meaning = list_meaning(reply(200, {"result": {"batches": [{"batch_id": "a"}, {"batch_id": "b/c", "status": "x"}]}}))
    assert meaning == Listing(readings={"a": Reading(batch_id="a", source=Source.LIST)})


def test_what_has_no_usable_id_does_not_end_the_list() -> None:
    """The entries after it are read."""
    entries = [None, {"status": "stopped"}, {"batch_id": "b/c", "status": "stopped"}, {"batch_id": "a", "status": "x"}]
    assert statuses(list_meaning(reply(200, {"result": {"batches": entries}}))) == {"a": "x"}


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["submitted", "processing"], "processing"),
        (["processing", "submitted"], "processing"),
        (["submitted", "stopped", None], "stopped"),
        (["processing", "completed"], "completed"),
        (["completed", "processing"], "completed"),
        (["submitted", "on hold"], "on hold"),
        (["on hold", "submitted"], "on hold"),
        (["on hold", "processing"], "processing"),
        (["processing", "on hold"], "processing"),
        (["on hold", "stopped"], "stopped"),
        (["stopped", "on hold"], "stopped"),
        ([None, "submitted"], "submitted"),
    ],
    ids=str,
)
def test_of_an_id_listed_twice_the_further_one_is_kept(words: list[str | None], kept: str) -> None:
    """The list can confirm a start but never disprove one."""
    entries = [{"batch_id": "a", "status": word} for word in words]
    assert statuses(list_meaning(reply(200, {"result": {"batches": entries}}))) == {"a": kept}


# --- why there is no answer ------------------------------------------------------------------------------------------

NO_RESULTS = [
    pytest.param(
        reply(200, {"result": {}}, GZIP), "The answer is compressed, although the request does not allow it", id="gzip"
    ),
    pytest.param(reply(200, []), "The answer is not a JSON object", id="no object"),
    pytest.param(reply(200, {"result": {}, "error": "x"}), "The answer contains an error", id="error"),
    pytest.param(reply(200, {"result": []}), "The answer has no result", id="no result"),
]
NO_ANSWERS = [
    *NO_RESULTS,
    pytest.param(Broken(cause="reset"), "No complete answer", id="broken"),
    pytest.param(NotSent(cause="refused"), "Not sent", id="not sent"),
    pytest.param(reply(503), "Service Unavailable", id="503"),
]


def check_problem(meaning: object, kind: type[NoAnswer | Doubtful], answer: Reply, title: str) -> None:
    """The problem has this title, a description of the answer, and its status."""
    assert isinstance(meaning, kind)
    assert meaning.problem.title == title
    assert meaning.problem.status == (answer.status if isinstance(answer, Answer) else None)


@pytest.mark.parametrize(("answer", "title"), NO_RESULTS)
def test_a_start_without_a_plain_result_says_why(answer: Reply, title: str) -> None:
    """The problem is in the state until the batch is settled."""
    check_problem(start_meaning(answer, ID), Doubtful, answer, title)


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        *NO_ANSWERS,
        pytest.param(ok(batch_id="other", status="submitted"), "The answer names another batch", id="another batch"),
        pytest.param(ok(batch_id=ID), "The answer has no status", id="no status"),
    ],
)
def test_a_read_without_an_answer_says_why(answer: Reply, title: str) -> None:
    """A user may need to find the cause."""
    check_problem(read_meaning(answer, ID), NoAnswer, answer, title)


@pytest.mark.parametrize(
    ("answer", "title"),
    [*NO_ANSWERS, pytest.param(ok(batches={}), "The answer has no list of batches", id="no list")],
)
def test_a_list_without_an_answer_says_why(answer: Reply, title: str) -> None:
    """The same for the list."""
    check_problem(list_meaning(answer), NoAnswer, answer, title)


# --- dates, headers, problems ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("2025-09-10T01:02:03.004005Z", 4005),
        ("2025-09-10T01:02:03Z", 0),
        ("2025-09-10t01:02:03z", 0),
        ("2025-09-10 01:02:03", 0),
        ("2025-09-10T01:02:03.5", 500_000),
        ("2025-09-10T01:02:03.123456789Z", 123_456),
        ("2025-09-10T03:32:03+02:30", 0),
        ("2025-09-09T20:02:03-0500", 0),
    ],
)
def test_a_date_is_understood(text: str, micro: int) -> None:
    """Any offset and any fraction are accepted, and without a time zone the time is UTC."""
    assert date_of(text) == datetime(2025, 9, 10, 1, 2, 3, micro, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "2025-09-10", "20250910T010203Z", "2025-13-10T01:02:03Z", "2025-02-30T01:02:03Z", "2025-09-10T24:02:03Z",
     "2025-09-10T01:02:60Z", "2025-09-10T01:02:03Z\n", "2025-09-10T01:02:03+25:00", "0001-01-01T00:00:00+01:00",
     "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z", "٢٠٢٥-09-10T01:02:03Z", "yesterday", 5, None, True, []],
    ids=repr,
)  # fmt: skip
def test_another_date_is_none(text: object) -> None:
    """There is no exception and no guess."""
    assert date_of(text) is None


@given(
    st.datetimes(
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
    )
)
def test_every_date_comes_back(moment: datetime) -> None:
    """It is the same time, unless UTC cannot represent it."""
    found = date_of(moment.isoformat())
    assert found == moment if found is not None else moment.year in {1, 9999}


MOMENTS = st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z", fullmatch=True)


@given(MOMENTS | st.datetimes().map("{0:%Y-%m-%dT%H:%M:%S.%f}Z".format))
def test_the_usual_date_is_read_as_any_other(text: str) -> None:
    """The fast path accepts it, and the general path accepts it in lower case."""
    assert date_of(text) == date_of(text.lower())


NAMES = st.sampled_from(["a", "b", "A", "b_2", "é", "É", "1"])
PAIRS = st.recursive(
    st.none() | st.integers() | st.sampled_from(["x", "é"]), lambda inner: st.lists(st.tuples(NAMES, inner), max_size=4)
)


@given(PAIRS.filter(lambda value: isinstance(value, list)))
def test_an_object_is_read_alike_by_the_short_way_and_the_long(pairs: list[tuple[str, object]]) -> None:
    """Keys are in lower case, and a duplicate key counts as no answer."""

    def written(value: object) -> str:
        if not isinstance(value, list):
            return json.dumps(value)
        return "{" + ", ".join(f"{json.dumps(name)}: {written(inner)}" for name, inner in value) + "}"

    def expected(value: object) -> object:
        if isinstance(value, int):
            return value if len(str(value)) <= 20 else None
        if not isinstance(value, list):
            return value
        names = [name.lower() for name, _ in value]
        return {
            name: AMBIGUOUS if names.count(name) > 1 else expected(inner)
            for name, (_, inner) in zip(names, value, strict=True)
        }

    assert json_value(written(pairs).encode()) == expected(pairs)


def test_of_a_list_only_what_is_wanted_is_read() -> None:
    """The account may have thousands of other batches."""
    batches = [{"batch_id": each, "status": "submitted"} for each in ("a", "b", "c/d")]
    meaning = list_meaning(reply(200, {"result": {"batches": batches}}), {"b", "z"})
    assert isinstance(meaning, Listing)
    assert list(meaning.readings) == ["b"]


def test_rate_headers() -> None:
    """The date is in epoch seconds."""
    answer = Answer(
        status=200,
        headers=(
            ("x-rate-limit-limit", "150"),
            ("x-rate-limit-remaining", " 7 "),
            ("x-rate-limit-reset", "1700000060"),
            ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ),
    )
    assert rate_of(answer) == RateHeaders(limit=150, remaining=7, reset_epoch=1_700_000_060, date_epoch=1_700_000_000)


@pytest.mark.parametrize(
    "value", ["", "-1", "1.5", "1e3", "0x1", "٣", "1_0", "9" * 16, "1,2", "soon", "\xa05"], ids=repr
)
def test_garbage_in_headers_is_none(value: str) -> None:
    """Each header is checked separately."""
    names = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", "date")
    assert rate_of(Answer(status=200, headers=tuple((name, value) for name in names))) == RateHeaders()


def test_a_header_given_twice_counts_only_when_both_agree() -> None:
    """Two different values count as none."""
    name = "x-rate-limit-remaining"
    assert rate_of(Answer(status=200, headers=((name, "5"), (name, "5")))).remaining == 5
    assert rate_of(Answer(status=200, headers=((name, "5"), (name, "6")))).remaining is None


@pytest.mark.parametrize(
    ("status", "document", "title", "detail"),
    [
        (400, {"error": {"title": "Bad Request", "detail": "why"}}, "Bad Request", "why"),
        (401, {"Error": {"Type": "t", "Title": "Unauthorized", "Detail": "d", "Instance": "i"}}, "Unauthorized", "d"),
        (401, {"Type": "t", "Title": "Unauthorized", "Detail": "d"}, "Unauthorized", "d"),
        (400, {"error": "plain words"}, "plain words", ""),
        (400, "plain words", "plain words", ""),
        (400, {"error": {"detail": "only detail"}}, "Bad Request", "only detail"),
        (404, None, "Not Found", ""),
        (503, b"<html><head><TITLE>\n Come back\n later </TITLE>", "Service Unavailable", "HTML page: Come back later"),
        (500, b"oops \xff", "Internal Server Error", "oops \ufffd"),
        (500, {"error": {"code": 7}}, "Internal Server Error", '{"error": {"code": 7}}'),
        (500, {"error": None, "title": "t"}, "t", ""),
        (500, {"error": [1]}, "Internal Server Error", '{"error": [1]}'),
        (599, None, "HTTP 599", ""),
        (400, {"error": {"title": "x" * 999, "detail": "y" * 999}}, "x" * 200, "y" * 500),
        (400, {"error": {"title": "\ud800", "detail": 5}}, "?", ""),
        (400, b"z" * 9999, "Bad Request", "z" * 500),
    ],
    ids=lambda v: str(v)[:30],
)
def test_a_problem_is_found_in_any_form(status: int, document: Any, title: str, detail: str) -> None:
    """The problem is an object, a string, at the top level, empty, HTML or garbage. It is truncated."""
    problem = problem_of(reply(status, document))
    assert (problem.status, problem.title, problem.detail) == (status, title, detail)


def test_a_compressed_problem_is_not_unpacked() -> None:
    """It is not shown either."""
    assert problem_of(reply(500, b"\x1f\x8b123", GZIP)).detail == "(compressed)"


# --- whatever comes --------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([ID, "processing", "submitted"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(["result", "error", "batch_id", "status", "batches", "title", "Error"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["date", "x-rate-limit-reset", "content-encoding", "x-rate-limit-limit"]), st.text()),
    max_size=4,
).map(tuple)
LIKELY = st.fixed_dictionaries(
    {"result": st.fixed_dictionaries({"batch_id": st.sampled_from([ID, ID.upper(), "x", None]), "status": JSON})},
    optional={"error": JSON, "ERROR": JSON, "result2": JSON},
)


def check_everything(answer: Answer) -> None:
    """Interpret an answer in every way. Every result can be encoded as UTF-8."""
    found = (
        start_meaning(answer, ID),
        read_meaning(answer, ID),
        list_meaning(answer),
        problem_of(answer),
        rate_of(answer),
    )
    for value in found:
        repr(value).encode()
        json.dumps(dataclasses.asdict(value), default=str, ensure_ascii=False).encode()


@given(status=st.integers(100, 999), body=st.binary(), headers=HEADERS)
def test_no_bytes_raise(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
    """Any status, headers and body have a meaning."""
    check_everything(Answer(status=status, headers=headers, body=body))


@given(
    status=st.sampled_from([200, 200, 200, 400, 404, 429, 500]),
    document=JSON | LIKELY,
    garbage=st.just(b"") | st.binary(),
)
def test_a_random_document_is_accepted_only_when_it_says_so(status: int, document: Any, garbage: bytes) -> None:
    """If a start counts as accepted, each condition is true."""
    body = json.dumps(document).encode() + garbage
    answer = Answer(status=status, body=body)
    check_everything(answer)
    meaning = start_meaning(answer, ID)
    if isinstance(meaning, Accepted):
        assert status == 200
        assert not garbage.strip()
        assert document["result"]["batch_id"] == ID
        assert document["result"]["status"].strip().lower() == meaning.status
        assert meaning.status in {"processing", "completed"}
        assert all(value is None for key, value in document.items() if key.lower() == "error")


def test_the_property_above_can_accept() -> None:
    """A document of this form is accepted, so the property above is meaningful."""
    assert isinstance(start_meaning(ok(batch_id=ID, status="completed"), ID), Accepted)


@pytest.mark.parametrize(
    "body",
    [b"[" * 10**6, b'{"result":' * 10**5, b'{"result":{"batches":[' + b"9" * 10**6 + b"]}}", b"\x00" * 1000,
     b'{"result":{"batches":[{"batch_id":"a","records":1e999,"date_submitted":"%s"}]}}' % (b"1" * 10**5),
     b"<title" * 10**4, b"<title>" * 10**4],
    ids=["nested", "nested-objects", "long-number", "zeros", "odd-fields", "title", "titles"],
)  # fmt: skip
def test_hostile_bodies_do_not_raise(body: bytes) -> None:
    """The bodies are deep, long or repetitive."""
    check_everything(Answer(status=200, body=body))
    check_everything(Answer(status=500, body=body))


def test_keys_that_stand_twice_are_no_claim() -> None:
    """This includes keys that differ only in letter case."""
    document = json_value(b'{"a": 1, "A": 2, "b": 3}')
    assert isinstance(document, dict)
    assert not isinstance(document["a"], int)
    assert document["b"] == 3


@pytest.mark.parametrize(
    ("ours", "values", "foreign"),
    [
        pytest.param("ref-1", [], "", id="absent"),
        pytest.param("ref-1", ["ref-1"], "", id="ours"),
        pytest.param("ref-1", ["gw-7, ref-1"], "", id="contains ours"),
        pytest.param("ref-1", ["gw-7", "ref-1"], "", id="ours beside another"),
        pytest.param("ref-1", [" "], "", id="empty"),
        pytest.param("ref-1", [" ref-2 "], "ref-2", id="another"),
        pytest.param("ref-1", ["REF-1"], "REF-1", id="in another case"),
        pytest.param(None, ["ref-2"], "", id="nothing was asked for"),
    ],
)
def test_an_answer_with_another_reference_id_is_foreign(ours: str | None, values: list[str], foreign: str) -> None:
    """Source: CONTRACT "Headers": the server returns the id of the request."""
    headers = [("date", "now"), *(("reference-id", value) for value in values)]
    assert foreign_id(headers, ours) == foreign


def test_a_traced_request_carries_its_id() -> None:
    """In its headers, and for the client to compare."""
    request = traced(list_request(Service.PHONE), "r1-1-read")
    assert request.reference_id == "r1-1-read"
    assert request.headers[-1] == ("Reference-Id", "r1-1-read")
    with pytest.raises(ValueError, match="Reference-Id"):
        traced(list_request(Service.PHONE), "r1|1")
