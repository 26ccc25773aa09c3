"""A document that is read piece by piece means the same as one that is decoded at once, and takes little memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.api import piecewise
from batchform.api.contract import Answer, Listing, NoAnswer, list_meaning
from batchform.api.decode import json_value
from batchform.api.piecewise import json_part

PIECES: Final = (1, 2, 3, 7, 64, 1 << 20)

NAMES = st.sampled_from(["error", "Error", "result", "RESULT", "batches", "Batches", "other", "é"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["},", ',"', "\U0001f600", "x" * 70]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=20,
)
LISTS = st.fixed_dictionaries(
    {"result": st.fixed_dictionaries({"batches": st.lists(VALUES, max_size=5)}, optional={"other": VALUES})},
    optional={"error": VALUES, "Result": VALUES, "other": VALUES},
)


def part(body: bytes) -> tuple[object, list[object]]:
    """What is kept of an answer to the list call, and the entries of its list."""
    entries: list[object] = []
    return json_part(body, {"error": None, "result": {"batches": entries.append}}), entries


def expected(whole: object) -> tuple[object, list[object] | None]:
    """The same from the whole document. No entries if there is no list, because then they have no meaning."""
    if not isinstance(whole, dict):
        return whole, None
    found = {name: value for name, value in whole.items() if name in {"error", "result"}}
    result = found.get("result")
    if not isinstance(result, dict):
        return found, None
    found["result"] = {name: value for name, value in result.items() if name == "batches"}
    entries = result.get("batches")
    if not isinstance(entries, list):
        return found, None
    found["result"]["batches"] = []
    return found, entries


def check(body: bytes) -> None:
    """Compare what is read, wherever the pieces end."""
    wanted, wanted_entries = expected(json_value(body))
    for size in PIECES:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(piecewise, "PIECE", size)
            found, entries = part(body)
        assert repr(found) == repr(wanted), size  # a NaN is not equal to itself
        assert wanted_entries is None or repr(entries) == repr(wanted_entries), size


DOCUMENTS = st.builds(
    lambda document, indent, plain: json.dumps(document, indent=indent, ensure_ascii=plain).encode(),
    VALUES | LISTS,
    st.sampled_from([None, 1, "\t", " " * 70]),
    st.booleans(),
)


@given(
    DOCUMENTS, st.sampled_from([b"", b"\xef\xbb\xbf", b" \r\n"]), st.sampled_from([b"", b" \n", b"x", b"{}", b"\xff"])
)
def test_a_document_means_the_same_as_at_once(body: bytes, before: bytes, after: bytes) -> None:
    """Also where a piece ends inside a character, a number, a string, an escape or white space."""
    check(before + body + after)


@given(DOCUMENTS, st.data())
def test_a_damaged_document_means_the_same_as_at_once(body: bytes, data: st.DataObject) -> None:
    """A part is missing, or there twice."""
    first, second = (data.draw(st.integers(0, len(body))) for _ in range(2))
    check(body[:first] + body[second:])


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[", b'{"result"', b'{"result":', b'{"result":{', b'{"result":{"batches":[', b"{1:2}", b"{,}",
        b'{"a" 1}', b'{"a":1 "b":2}', b'{"result":{"batches":[1 2]}}', b'{"result":{"batches":[1,]}}', b'{"a":1,}',
        b'{"result":{"batches":[{"a":1},{"b":2}x]}}', b'{"result":{"batches":[{"a":1},{"b":2},]}}',
        b'{"result":{"batches":[{"a":{}},{"a":"},"},{"b":[{},{}]},1.5,2e+7,-0.5E-3,true]}}',
        b'{"result":[],"error":{}}',
        b'{"result":{"batches":[]},"Result":{"batches":[]}}', b'{"result":{"batches":[1],"BATCHES":[2]}}',
        b'{"result":{"batches":["' + b"\\ud83d\\ude00\xf0\x9f\x98\x80" * 9 + b'"]}}', b'{"result":{"batches":{"a":1}}}',
    ],
)  # fmt: skip
def test_an_odd_document_means_the_same_as_at_once(body: bytes) -> None:
    """Malformed, nested or with keys that appear twice."""
    check(body)


# --- weight ----------------------------------------------------------------------------------------------------------

SMALL: Final = 1 << 12
"""The size of a piece here, so that small documents are large."""

SIZE: Final = 64 * SMALL
BEFORE, AFTER = b'{"result":{"batches":[', b"]}}"


def filled(unit: bytes, before: bytes = BEFORE, after: bytes = AFTER) -> bytes:
    """Many of these units in a document, which ends with a 0."""
    return before + unit * (SIZE // len(unit)) + b"0" + after


def entry(unit: bytes) -> bytes:
    """A long entry of a list that is full of these."""
    return b'{"a":[' + unit * (SMALL // 2 // len(unit)) + b"0]},"


HEAVY: Final = {
    "objects": filled(b'{"a":{}},'),
    "empty objects": filled(b"{},"),
    "lists": filled(b"[],"),
    "numbers": filled(b"300,"),
    "texts": filled(b'"ab",'),
    "objects in entries": filled(entry(b'{"a":{}},')),
    "lists in entries": filled(entry(b"[],")),
    "texts in entries": filled(entry(b'"ab",')),
    "one unusual character": filled(b'"\xf0\x9f\x98\x80' + b"x" * 1_000 + b'",'),
    "white space": BEFORE + b" " * SIZE + AFTER,
    "members": filled(b'"a":1,', b"{", b":1}"),
    "lists in another member": filled(b"[],", b'{"other":[', b"]}"),
    "lists in many members": b"{" + b",".join(b'"%d":[%s0]' % (n, b"[]," * (SMALL // 4)) for n in range(80)) + b"}",
    "one text": BEFORE + b'"' + b"x" * SIZE + b'"' + AFTER,
    "nested": BEFORE + b"[" * SIZE + AFTER,
    "other batches": filled(b'{"batch_id":"another","status":"submitted"},'),
    "one batch": filled(b'{"batch_id":"a","status":"submitted"},'),
}


def weight(body: bytes, monkeypatch: pytest.MonkeyPatch) -> float:
    """How many times its own size the reading of an answer takes, the answer included."""
    for name in ("PIECE", "LONGEST"):
        monkeypatch.setattr(piecewise, name, SMALL)
    answer = Answer(status=200, body=body)
    tracemalloc.start()
    try:
        assert isinstance(list_meaning(answer, {"a"}), (Listing, NoAnswer))
        return 1 + tracemalloc.get_traced_memory()[1] / len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HEAVY)
def test_what_is_not_wanted_is_not_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded at once, such an answer takes up to 30 times its size."""
    assert weight(HEAVY[name], monkeypatch) < 5


def test_an_answer_that_is_decoded_at_once_is_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the measurement finds it."""
    monkeypatch.setattr("batchform.api.contract.json_part", lambda body, _: json_value(body))
    assert weight(HEAVY["lists"], monkeypatch) > 5
    assert weight(HEAVY["objects"], monkeypatch) > 5


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ENTRIES", BEFORE + b"1,2,3,4" + AFTER),
        ("MEMBERS", b'{"a":1,"b":2,"c":3,"d":4}'),
        ("LONGEST", BEFORE + b'"12"' + AFTER),
    ],
)
def test_a_document_over_a_limit_is_refused(name: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the limit it is read."""
    monkeypatch.setattr(piecewise, "PIECE", 1)
    most = len('"batches"') + 2 if name == "LONGEST" else 4
    monkeypatch.setattr(piecewise, name, most)
    assert part(body)[0] is not None
    monkeypatch.setattr(piecewise, name, most - 3)
    assert part(body)[0] is None


def test_a_long_error_is_not_decoded() -> None:
    """An answer that is not a list may be as long as one, but its first bytes are enough for people."""
    body = json.dumps({"error": {"title": "No list today", "more": "x" * (1 << 20)}}).encode()
    meaning = list_meaning(Answer(status=500, body=body))
    assert isinstance(meaning, NoAnswer)
    assert meaning.problem.title == "Internal Server Error"
    assert meaning.problem.detail.startswith('{"error": {"title": "No list today"')
