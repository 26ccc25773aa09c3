"""The format of the state file: what is written can be read, and everything else is refused."""

from __future__ import annotations

import json
import string
from contextlib import suppress
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchform.errors import StateError
from batchform.state.codec import FORMAT_VERSION, NewerFormatError, decode_state, decode_time, digest, encode_state
from batchform.state.event_codec import KIND_OF, decode_event, encode_event
from batchform.state.events import Event, What, fold
from batchform.state.known import Cause, State
from batchform.state.reader import Names, decoded
from tests.state.samples import EMPTY, INTENDED, NOW, STARTED, any_event, events, rejected, seen, states

HERE = Names(state="here.json", journal="here.json.journal")

FULL = replace(
    fold(
        EMPTY,
        [
            *events(INTENDED, STARTED, seen("submitted"), batch="b1"),
            *events(replace(INTENDED, records=7, submitted_at=NOW), batch="b2", run="run-2"),
            *events(seen("stopped"), batch="b3", run="run-3"),
        ],
    ),
    serial=4,
)
DATA = encode_state(FULL)


def document() -> Any:
    """A new copy of the state file's JSON, without its digest."""
    value = json.loads(DATA)
    del value["digest"]
    return value


def sealed(value: dict[str, Any]) -> bytes:
    """A file with a correct digest."""
    return json.dumps({**value, "digest": digest(value)}).encode()


# --- There and back --------------------------------------------------------------------------------------------------


@given(states)
def test_a_state_is_read_back_as_it_was(state: State) -> None:
    """This includes every field and any text from the server."""
    data = encode_state(state)
    assert decode_state(data) == state
    assert encode_state(decode_state(data)) == data


@given(any_event)
def test_an_event_is_read_back_as_it_was(event: Event) -> None:
    """This includes every kind of event."""
    assert decode_event(json.loads(json.dumps(encode_event(event))), "here") == event


def test_the_kinds_of_events_have_fixed_names() -> None:
    """The names are in every journal and JSON output; renaming a class must not change them."""
    assert {cls.__name__: kind for cls, kind in KIND_OF.items()} == {
        "Intended": "intended",
        "NotAttempted": "not_attempted",
        "Started": "started",
        "AlreadyStarted": "already_started",
        "Unknown": "unknown",
        "Released": "released",
        "Rejected": "rejected",
        "Seen": "seen",
        "Charged": "charged",
        "Declared": "declared",
        "Forgotten": "forgotten",
        "Removed": "removed",
    }
    assert set(KIND_OF) == set(get_args(What))


@given(states)
def test_the_file_is_plain_ascii_with_a_batch_a_line(state: State) -> None:
    """Readable diffs need this for all texts."""
    text = encode_state(state).decode("ascii")
    assert text.endswith("}\n")
    assert not set(text) - set(string.printable)
    lines = text.splitlines()
    rows = 2 if state.entries else 0
    rows += 2 if state.runs else 0
    rows += 4 if state.past else 0  # left out when empty
    head = 10 + bool(state.home)
    assert len(lines) == head + len(state.entries) + len(state.past) + len(state.runs) + rows // 2
    assert list(json.loads(text)["batches"]) == sorted(state.entries)


def test_the_order_of_entries_does_not_show() -> None:
    """Equal states have equal bytes."""
    turned = replace(FULL, entries=dict(reversed(list(FULL.entries.items()))))
    assert encode_state(turned) == DATA


def test_a_sealed_document_is_accepted_however_it_is_laid_out() -> None:
    """The digest covers the content only, so a formatter does no harm. The tests below depend on `sealed`."""
    assert decode_state(sealed(document())) == FULL
    assert decode_state(json.dumps(json.loads(DATA), indent=8).encode()) == FULL


# --- Damage ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, len(DATA) - 1), st.sampled_from(string.printable))
def test_a_changed_character_is_noticed(position: int, character: str) -> None:
    """A change of the layout only is allowed."""
    text = DATA.decode()
    assume(text[position] != character)
    mutated = text[:position] + character + text[position + 1 :]
    try:
        state = decode_state(mutated.encode())
    except StateError:
        return
    assert json.loads(mutated) == json.loads(text)
    assert state == FULL


def test_a_flipped_bit_is_noticed() -> None:
    """This holds at every position of the file."""
    for position in range(len(DATA)):
        mutated = DATA[:position] + bytes([DATA[position] ^ 1]) + DATA[position + 1 :]
        try:
            assert decode_state(mutated) == FULL
        except StateError:
            continue
        assert json.loads(mutated) == json.loads(DATA)


def test_a_hand_edit_is_told_what_to_do_and_can_be_accepted() -> None:
    """`state recover` reads the file without checking the digest."""
    edited = DATA.replace(b'"serial": 4', b'"serial": 5')
    with pytest.raises(StateError, match="changed by hand") as caught:
        decoded(HERE, edited)
    assert caught.value.detail.startswith("here.json: Its digest does not match its content. Restore it from ")
    assert "state recover" in caught.value.detail
    assert decode_state(edited, trust=True) == replace(FULL, serial=5)


def test_a_truncated_file_is_never_a_state() -> None:
    """This holds for every length. The last two bytes are a bracket and a newline."""
    for length in range(len(DATA) - 1):
        with pytest.raises(StateError):
            decode_state(DATA[:length])


@pytest.mark.parametrize("data", [b"", b"\n", b"\0" * 4096, b" \t\r\n\0"], ids=["empty", "newline", "zeros", "blank"])
def test_an_empty_file_is_not_no_state(data: bytes) -> None:
    """A full disk or a lost block can leave such a file."""
    with pytest.raises(StateError, match="empty"):
        decode_state(data)


@pytest.mark.parametrize("version", ["1.3", "2.0", "1.10", "10.0", "1." + "9" * 9])
def test_a_newer_format_is_left_untouched(version: str) -> None:
    """This version could lose fields that it does not know. The digest is not checked first."""
    with pytest.raises(NewerFormatError, match="newer format") as caught:
        decoded(HERE, json.dumps({"format_version": version}).encode())
    assert caught.value.detail.startswith("here.json: It has format ")
    assert "Upgrade" in caught.value.detail


@pytest.mark.parametrize(
    "version",
    [
        1,
        1.0,
        None,
        "",
        "1",
        "1.",
        ".1",
        "1.0.0",
        "-1.0",
        " 1.0",
        "1.0\n",
        "\u0661.0",
        "\u00b2.0",
        True,
        [],
        "9" * 5_000 + ".0",
    ],
)
def test_a_version_that_is_none_is_damage(version: object) -> None:
    """A version is digits, a dot and digits, with a limit on their number."""
    with pytest.raises(StateError):
        decode_state(sealed({**document(), "format_version": version}))


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b'"x"', b"{}", b'{"version": 4, "lineage": "x"}'])
def test_other_json_is_not_a_state_file(data: bytes) -> None:
    """For example the file of another tool."""
    with pytest.raises(StateError, match="not a state file"):
        decode_state(data)


@pytest.mark.parametrize("data", [b"\xff\xfe{}", b"\xef\xbb\xbf" + DATA, b"\x80", DATA.decode().encode("utf-16")])
def test_another_encoding_is_damage(data: bytes) -> None:
    """Only plain UTF-8 is accepted."""
    with pytest.raises(StateError, match="damaged"):
        decode_state(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"serial": 4', b'"serial": 3, "serial": 4'),
        (b'    "b1"', b'    "b1": {},\n    "b1"'),
        (b'"phase": "started"', b'"phase": "seen", "phase": "started"'),
        (b'"digest":', b'"digest": "", "digest":'),
    ],
    ids=["head", "batch", "field", "digest"],
)
def test_a_key_that_stands_twice_is_damage(old: bytes, new: bytes) -> None:
    """A manual merge can produce such a file, and a parser that keeps the last value would not notice."""
    assert old in DATA
    with pytest.raises(StateError, match="damaged"):
        decode_state(DATA.replace(old, new, 1))


WRONG: list[Any] = [None, True, -1, 1.5, float("nan"), float("inf"), "", "x", [], [[]], {}, {"a": 1}, "\ud800", "a\0b"]
PLACES = [
    *((key,) for key in ("lineage", "serial", "service", "endpoint", "batches", "runs")),
    *(("batches", "b2", key) for key in json.loads(DATA)["batches"]["b2"]),
    *(("batches", "b2", key) for key in ("status", "problem", "cause", "evidence", "declared", "found", "doubt")),
    *(("runs", 0, key) for key in ("id", "at", "seq")),
    ("batches", "b2"),
    ("runs", 0),
]


def put(value: Any, place: tuple[Any, ...], new: Any) -> dict[str, Any]:
    """The document with another value at this position."""
    result: dict[str, Any] = json.loads(json.dumps(value))
    target: Any = result
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = new
    return result


@pytest.mark.parametrize("place", PLACES, ids=[".".join(map(str, place)) for place in PLACES])
def test_a_value_of_the_wrong_type_is_damage_that_names_its_place(place: tuple[Any, ...]) -> None:
    """The digest is correct, as after a forgery or an error of another version."""
    texts = {"lineage", "endpoint", "name", "run", "reference_id", "attempt_run", "status", "id"}
    for wrong in WRONG:
        fits = (
            (place[-1] in texts and isinstance(wrong, str))
            or (place[-1] in {"declared", "found", "doubt"} and wrong is True)
            or (place == ("batches",) and wrong == {})
            or (place == ("runs",) and wrong == [])
        )
        data = sealed(put(document(), place, wrong))
        if fits:
            decode_state(data)
            continue
        with pytest.raises(StateError) as caught:
            decode_state(data)
        assert len(place) == 1 or str(place[0]) in caught.value.detail


NEEDED = [
    *((key,) for key in ("lineage", "serial", "service", "endpoint", "batches", "runs")),
    *(("batches", "b2", key) for key in ("name", "phase", "updated_at", "run")),
    *(("runs", 0, key) for key in ("id", "at", "seq")),
]


@pytest.mark.parametrize("place", NEEDED, ids=[".".join(map(str, place)) for place in NEEDED])
def test_a_field_that_is_missing_is_damage(place: tuple[Any, ...]) -> None:
    """Fields without a default are required."""
    value = document()
    target: Any = value
    for key in place[:-1]:
        target = target[key]
    del target[place[-1]]
    with pytest.raises(StateError):
        decode_state(sealed(value))


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-11-20T09:00:00",
        "2026-11-20",
        "2026-02-30T00:00:00Z",
        "now",
        "",
        "2026-11-20T09:00:00\u0660Z",
    ],
)
def test_a_time_that_is_none_is_damage(moment: str) -> None:
    """It is out of range, has no time zone, or is not a time."""
    with pytest.raises(StateError):
        decode_state(sealed(put(document(), ("batches", "b2", "updated_at"), moment)))


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    """All times are in UTC internally."""
    assert decode_time("2026-11-20T14:30:00+05:30") == NOW
    assert decode_time("2026-11-20T14:30:00+05:30").utcoffset() == NOW.utcoffset()


def test_huge_numbers_are_kept_or_refused() -> None:
    """Python limits integers to 4,300 digits, and a float is not a count."""
    assert decode_state(sealed(put(document(), ("serial",), 10**4_000))).serial == 10**4_000
    for text in (b"9" * 5_000, b"1e400", b"4.0", b"NaN"):
        with pytest.raises(StateError):
            decode_state(DATA.replace(b'"serial": 4', b'"serial": ' + text))
        with pytest.raises(StateError):
            decode_state(DATA.replace(b'"serial": 4', b'"serial": ' + text), trust=True)


@pytest.mark.parametrize("depth", [10, 400, *range(940, 1_000), 5_000, 100_000])
@pytest.mark.parametrize("trust", [False, True])
def test_deep_nesting_is_damage(depth: int, *, trust: bool) -> None:
    """This holds at every position and near the recursion limit of the interpreter."""
    bomb = b"[" * depth + b"]" * depth
    for old in (b'"phone"', b'"started"', b'"https://api.example.test"', b'"2026-11-20T09:02:00Z"', b"4,"):
        assert old in DATA
        with pytest.raises(StateError):
            decode_state(DATA.replace(old, bomb + b"," * old.endswith(b","), 1), trust=trust)
    with pytest.raises(StateError):
        decode_state(b'{"a":' * depth + b"1" + b"}" * depth, trust=trust)


@given(st.binary(max_size=64))
def test_random_bytes_are_never_a_state(data: bytes) -> None:
    """The only exception is StateError."""
    with pytest.raises(StateError):
        decode_state(data)


@given(st.integers(0, len(DATA)), st.integers(0, 40), st.binary(max_size=12), st.booleans())
def test_a_damaged_file_is_refused_in_our_own_words(start: int, gone: int, new: bytes, trust: bool) -> None:  # noqa: FBT001
    """With or without the digest, the result is a state or a StateError."""
    with suppress(StateError):
        decode_state(DATA[:start] + new + DATA[start + gone :], trust=trust)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(PLACES), json_values)
def test_a_forged_file_is_a_state_or_refused_in_our_own_words(place: tuple[Any, ...], new: Any) -> None:
    """Any JSON at any position, with a correct digest. An accepted state can be written again."""
    try:
        state = decode_state(sealed(put(document(), place, new)))
    except StateError:
        return
    assert decode_state(encode_state(state)) == state


@given(json_values)
def test_an_event_of_any_json_is_an_event_or_refused(value: Any) -> None:
    """The same for the lines of the journal."""
    try:
        made = decode_event(value, "here")
    except StateError:
        return
    assert isinstance(made, Event)


@pytest.mark.parametrize("kind", [None, "", "Started", "unknown_kind", 5, [], "removed\0"])
def test_an_event_of_an_unknown_kind_is_refused(kind: object) -> None:
    """The event is from a newer version or damaged. Guessing could lose an outcome."""
    value = {**encode_event(events(STARTED)[0]), "kind": kind}
    with pytest.raises(StateError, match="damaged"):
        decode_event(value, "here")


def test_an_event_of_a_bottomless_kind_is_refused() -> None:
    """A value nested too deeply to print is not a kind."""
    bomb: list[Any] = []
    for _ in range(100_000):
        bomb = [bomb]
    with pytest.raises(StateError):
        decode_event({**encode_event(events(STARTED)[0]), "kind": bomb}, "here")
    while bomb:  # or freeing it would overflow, too
        bomb = bomb[0]


def test_an_event_lacking_what_its_kind_needs_is_refused() -> None:
    """Each field is checked."""
    for what in (INTENDED, STARTED, rejected(Cause.NOT_STARTED), seen(None)):
        whole = encode_event(events(what)[0])
        for key in whole:
            with pytest.raises(StateError):
                decode_event({name: value for name, value in whole.items() if name != key}, "here")


def test_no_default_is_written() -> None:
    """Each batch is a short line."""
    state = fold(EMPTY, events(seen("submitted")))
    row = json.loads(encode_state(state))["batches"]["b1"]
    assert set(row) == {"name", "phase", "status", "seen_at", "updated_at", "run"}
    assert json.loads(encode_state(state))["format_version"] == FORMAT_VERSION


def test_the_home_of_a_state_is_kept() -> None:
    """A state that is read elsewhere is a copy."""
    state = replace(EMPTY, home="s3://bucket/key")
    document = json.loads(encode_state(state))
    assert (document["format_version"], document["home"]) == (FORMAT_VERSION, "s3://bucket/key")
    assert decode_state(encode_state(state)) == state
