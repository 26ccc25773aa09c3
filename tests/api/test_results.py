"""The meaning of answers to the results call: right values, or the right error, and never a quoted number."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchform.api import piecewise
from batchform.api.contract import (
    SINGLE_BYTES,
    Answer,
    Broken,
    Missing,
    NoAnswer,
    NotSent,
    Refused,
    Throttled,
    results_request,
)
from batchform.api.piecewise import LONGEST, PIECE
from batchform.api.results import LARGEST, Results, results_meaning, whole_of
from batchform.model import Service

ID = "3f0c1f6e-2a55-4d0e-9a7e-6d2b8a0c9f11"
NUMBER = "447700900123"
ITEM = {"number": NUMBER, "confidence": "verified", "metadata": {"operator_name": "Vodafone É 😀"}}
DONE = {
    "batch_id": ID,
    "credits_charged": 2,
    "status": "completed",
    "statistics": [{"name": "verified", "value": 2}],
    "phones": [ITEM, ITEM],
}


def reply(body: bytes | str, status: int = 200, *headers: tuple[str, str]) -> Answer:
    """A complete answer with this body."""
    return Answer(status=status, headers=headers, body=body if isinstance(body, bytes) else body.encode())


def ok(**fields: Any) -> Answer:
    """A 200 with the usual result, but for these fields."""
    return reply(json.dumps({"result": DONE | fields}))


def results(answer: Answer, *, items: bool = True) -> Results:
    """The results in an answer that can be used."""
    meaning = results_meaning(answer, ID, items=items)
    assert isinstance(meaning, Results), meaning
    return meaning


def why(answer: Answer, *, items: bool = True) -> str:
    """The title of the problem of an answer that cannot be used."""
    meaning = results_meaning(answer, ID, items=items)
    assert isinstance(meaning, NoAnswer), meaning
    assert NUMBER not in repr(meaning)
    return meaning.problem.title


def test_the_request_is_a_get_with_the_header_for_all_fields_if_wanted() -> None:
    """The limit is 5,000 bytes for each of 10,000 records."""
    plain, full = (results_request(Service.EMAIL, ID, metadata=wanted) for wanted in (False, True))
    assert (plain.method, plain.path) == ("GET", f"/email/bulk/v1/batches/{ID}/results")
    assert (plain.deadline, plain.max_bytes) == (60.0, 48 << 20)
    assert dict(plain.headers) == {"Accept": "application/json", "Cache-Control": "no-cache"}
    assert dict(full.headers) == dict(plain.headers) | {"Add-Metadata": "true"}


@pytest.mark.parametrize("name", ["phones", "emails", "addresses", "Phones"])
def test_the_results_of_each_service(name: str) -> None:
    """Every value arrives, and each item as it was given."""
    fields = {key: value for key, value in DONE.items() if key != "phones"} | {name: [ITEM, {}]}
    found = results(reply(json.dumps({"result": fields})))
    assert (found.batch_id, found.status, found.reason, found.credits_charged) == (ID, "completed", None, 2)
    assert found.statistics == {"verified": 2}
    assert found.count == 2
    assert list(found.items()) == [ITEM, {}]
    assert NUMBER not in repr(found)


def test_items_that_are_not_wanted_are_not_kept() -> None:
    """The rest is the same."""
    found = results(ok(), items=False)
    assert found.body == b""
    assert found == results(ok()).without_items()
    assert list(found.items()) == []
    assert found.count == 2


def test_results_before_the_end() -> None:
    """A batch that is still processing has no items and no credits yet."""
    found = results(ok(status="processing", credits_charged=0, statistics=[], phones=[]))
    assert (found.credits_charged, found.count, found.statistics, list(found.items())) == (0, 0, {}, [])


@pytest.mark.parametrize("given", [None, "no list", {"a": 1}], ids=repr)
def test_an_answer_without_a_list_of_items_has_no_count(given: object) -> None:
    """It is not the same as an empty list."""
    found = results(ok(phones=given))
    assert found.count is None
    assert list(found.items()) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ('"12"', 12),
        ("0", 0),
        ("12.0", 12),
        (str(LARGEST), LARGEST),
        (f'"{LARGEST}"', LARGEST),
        *[
            (text, None)
            for text in (
                "null", "true", "-1", '"-1"', "1.5", "NaN", "Infinity", "1e999", str(LARGEST + 1), "9" * 30, '""',
                '" 12"', '"12.0"', '"1,200"', '"twelve"', '"٣"', "[12]", '{"a": 12}',
                '12, "credits_charged": 12', '12, "Credits_Charged": 13',
            )
        ],
    ],
)  # fmt: skip
def test_credits(text: str, value: int | None) -> None:
    """A whole number up to 10^9, in JSON or in digits. Anything else is not known."""
    body = json.dumps({"result": DONE}).replace('"credits_charged": 2', f'"credits_charged": {text}')
    assert results(reply(body)).credits_charged == value


def test_absent_credits_are_not_known() -> None:
    """Absent is not 0."""
    body = json.dumps({"result": {key: value for key, value in DONE.items() if key != "credits_charged"}})
    assert results(reply(body)).credits_charged is None
    assert whole_of(None) is None


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"verified": 3, "not found": "4"}, {"verified": 3, "not found": 4}),
        ([{"Name": "verified", "VALUE": 3}], {"verified": 3}),
        ([{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "a", "value": 1}], {"b": 2}),
        ([{"name": NUMBER, "value": 1}, {"name": "x" * 51, "value": 1}, {"name": None, "value": 1}], {}),
        ([{"name": "a", "value": -1}, {"name": "b"}, "c", None], {}),
        ([{"name": f"a{'x' * n}", "value": 1} for n in range(49)], {f"a{'x' * n}": 1 for n in range(49)}),
        ({f"{a}{b}": 1 for a in "abcdefgh" for b in "abcdefgh"}, {}),
        (None, {}),
        ("verified", {}),
    ],
    ids=["object", "any-case", "twice", "no-name", "no-number", "many", "too-many", "null", "text"],
)
def test_statistics(given: object, found: dict[str, int]) -> None:
    """Both documented forms. A name cannot be a number, and one that is given twice has no value."""
    assert results(ok(statistics=given)).statistics == found


def test_texts_for_people_hold_no_number() -> None:
    """Neither the status, nor the reason, nor an error."""
    found = results(ok(status=f"odd {NUMBER}", reason="call +44 7700 900-123 now"))
    assert (found.status, found.reason) == ("odd [number]", "call [number] now")
    for status in (200, 404, 500, 403):
        body = json.dumps({"error": {"title": f"No {NUMBER}", "detail": "(0)7700 900123 is odd"}})
        meaning = results_meaning(reply(body, status), ID, items=True)
        assert isinstance(meaning, (NoAnswer, Missing, Refused))
        assert (meaning.problem.title, meaning.problem.detail) == ("No [number]", "[number] is odd")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Missing), (404, Missing), (401, Refused), (403, Refused), (429, Throttled), (500, NoAnswer)],
)
@pytest.mark.parametrize("body", [b"", f"<title>{NUMBER}</title>".encode(), json.dumps(DONE).encode()])
def test_other_statuses(status: int, kind: type, body: bytes) -> None:
    """As for a status read, but the body is never quoted."""
    meaning = results_meaning(reply(body, status), ID, items=True)
    assert type(meaning) is kind
    assert NUMBER not in repr(meaning)


def test_a_failure_that_is_too_large_is_not_decoded() -> None:
    """Decoded at once, it could take gigabytes."""
    error = json.dumps({"error": {"title": "No results today"}}).encode()
    for body, title in (
        (error.ljust(SINGLE_BYTES), "No results today"),
        (error.ljust(SINGLE_BYTES + 1), "Internal Server Error"),
    ):
        assert why(reply(body, 500)) == title


def test_no_answer() -> None:
    """Broken and unsent requests have no results."""
    assert isinstance(results_meaning(Broken(cause="reset"), ID, items=True), NoAnswer)
    assert isinstance(results_meaning(NotSent(cause="refused"), ID, items=True), NoAnswer)
    assert isinstance(results_meaning(NotSent(cause="refused", is_final=True), ID, items=True), Refused)


@pytest.mark.parametrize("items", [True, False])
@pytest.mark.parametrize(
    ("answer", "title"),
    [
        (ok(batch_id="another"), "The answer names another batch"),
        (ok(batch_id=None), "The answer names another batch"),
        (reply(json.dumps({"result": DONE})[:-2] + f', "batch_id": "{ID}"}}}}'), "The answer names another batch"),
        (ok(status=" "), "The answer has no status"),
        (ok(status=None), "The answer has no status"),
        (reply(json.dumps({"result": DONE, "error": {"no": 1}})), "The answer contains an error"),
        (reply('{"error": 1, "Error": 2}'), "The answer contains an error"),
        (reply(json.dumps({"result": None})), "The answer has no result"),
        (reply("{}"), "The answer has no result"),
        (reply(json.dumps({"result": [DONE]})), "The answer has no result"),
        (reply(json.dumps({"result": DONE, "Result": DONE})), "The answer has a key twice"),
        (reply(json.dumps({"result": DONE | {"Phones": []}})), "The answer has a key twice"),
        (reply(json.dumps({"result": DONE | {"emails": []}})), "The answer has two lists of items"),
        (reply(json.dumps({"result": DONE}) + "x"), "The answer is not complete JSON"),
        (reply("[]"), "The answer is not complete JSON"),
        (reply("{1: 2}"), "The answer is not complete JSON"),
        (reply('{"a": ' + "[" * 100_000), "The answer is not complete JSON"),
        (reply(b'{"a": "\xff"}'), "The answer is not complete JSON"),
        (ok(phones=[{"number": "1" * (2 * LONGEST)}]), "The answer has a value that is too long"),
        (
            reply(json.dumps({"result": DONE}), 200, ("content-encoding", "gzip")),
            "The answer is compressed, although the request does not allow it",
        ),
    ],
)
def test_answers_that_cannot_be_used(*, answer: Answer, title: str, items: bool) -> None:
    """Each has its own words, and quotes nothing."""
    assert why(answer, items=items) == title


@pytest.mark.parametrize(
    ("phones", "title"),
    [
        ("[null]", "The answer has an item that is not an object"),
        ('[{"number": "1", "number": "2"}]', "The answer has a key twice"),
        ('[{"metadata": {"a": 1, "a": 1}}]', "The answer has a key twice"),
        (f'[{{"a": {"9" * 5000}}}]', "The answer is not complete JSON"),
    ],
)
def test_items_that_cannot_be_used_matter_only_if_they_are_wanted(phones: str, title: str) -> None:
    """Nobody chooses between two values; for the credits no item is looked at."""
    body = json.dumps({"result": DONE | {"phones": 0}}).replace('"phones": 0', f'"phones": {phones}')
    assert why(reply(body)) == title
    assert results(reply(body), items=False).count == 1


def test_a_number_that_json_lacks_is_none() -> None:
    """NaN and infinities would make the result files unreadable."""
    body = '{"a": NaN, "b": -Infinity, "c": 1e999, "d": 1.5}'
    text = json.dumps({"result": DONE | {"phones": 0}}).replace('"phones": 0', f'"phones": [{body}]')
    assert list(results(reply(text)).items()) == [{"a": None, "b": None, "c": None, "d": 1.5}]


def test_a_cut_anywhere_is_noticed() -> None:
    """An answer whose length was not announced can end anywhere."""
    body = json.dumps({"result": DONE}, ensure_ascii=False, indent=1).encode()
    results(reply(body))
    for end in range(len(body)):
        assert why(reply(body[:end])) == "The answer is not complete JSON"
        assert why(reply(body[:end]), items=False) == "The answer is not complete JSON"


@settings(max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5),
            st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.lists(st.integers()),
        ),
        max_size=30,
    ),
    st.integers(0, PIECE),
    st.sampled_from([None, 1]),
)
def test_items_arrive_wherever_the_pieces_end(phones: list[dict[str, Any]], shift: int, indent: int | None) -> None:
    """The text is decoded in pieces: no value changes where one ends, not even inside of a character."""
    body = '{"pad": "' + "é" * (shift // 2) + "x" * (shift % 2)
    body += '", "result": ' + json.dumps(DONE | {"phones": phones}, ensure_ascii=False, indent=indent) + "}"
    answer = reply(body.encode("utf-8", "surrogatepass"))
    if any("\ud800" <= character <= "\udfff" for character in body):
        why(answer)
        return
    found = results(answer)
    assert list(found.items()) == phones
    assert found.count == len(phones)


@pytest.mark.parametrize("number", ["123456789", "123456789.0", "1.23456789e+8"])
def test_numbers_at_the_end_of_a_piece_are_complete(number: str) -> None:
    """A piece that ends after `12` of `123` is no number yet, and one that ends after `1.` is not malformed."""
    before, name = '{"result":{"batch_id":"' + ID + '","status":"completed",', '"credits_charged":'
    for shift in range(len(number) + 1):
        pad = " " * (PIECE - len(before) - len(name) - shift)
        assert results(reply(before + pad + name + number + "}}")).credits_charged == 123456789


def test_a_million_items_are_counted_one_by_one() -> None:
    """They fit the size, so they are right."""
    body = json.dumps({"result": DONE | {"phones": 0}}).replace(
        '"phones": 0', f'"phones": [{",".join(["{}"] * 10**6)}]'
    )
    assert results(reply(body), items=False).count == 10**6


def test_memory_does_not_grow_with_other_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no meaning for the results is dropped at once. Kept, it would take 10 MB."""
    for name in ("PIECE", "LONGEST"):
        monkeypatch.setattr(piecewise, name, 1 << 12)
    other = "".join(f'"{number}":[{"[]," * 1300}0],' for number in range(64))
    answer = reply(f'{{{other}"result":{{{other}{json.dumps(DONE)[1:]}}}')
    tracemalloc.start()
    try:
        assert results(answer).count == 2
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    """Of 20,000 items, with characters outside of ASCII, one piece is in memory at a time."""
    item = json.dumps(ITEM, ensure_ascii=False)
    body = json.dumps({"result": DONE | {"phones": 0}}).replace(
        '"phones": 0', f'"phones": [{",".join([item] * 20_000)}]'
    )
    answer = reply(body)
    tracemalloc.start()
    try:
        found = results(answer)
        assert sum(1 for _ in found.items()) == found.count == 20_000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
