"""Unquoted scalars: undisputed ones are resolved, disputed ones keep their letters."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batchform.config.scalars import Plain, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("9800", 9800),
        ("9" * 18, 10**18 - 1),
        ("1.5", 1.5),
        ("-0.25", -0.25),
    ],
)
def test_what_every_reader_agrees_on_is_resolved(text: str, value: object) -> None:
    """Nothing, lower-case booleans and decimal numbers have one meaning."""
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        *("NO", "no", "yes", "Yes", "on", "OFF", "y", "N", "True", "FALSE", "Null", "NULL"),
        *("0123", "0441632960123", "+447700900123", "-08", "1_000", "9" * 19, "1" * 5000),
        *("0x1F", "0b101", "0o17", "1e5", "12345e67", "6.02e+23", ".5", "1.", "1.e5", "-.inf", ".NaN"),
        *("12:30", "12:30:45", "12:30:45.5"),
        *("2026-11-20", "2026-1-2", "2026-11-20T09:00:00Z", "2026-11-20 09:00:00.5 +01:00"),
    ],
)
def test_what_readers_dispute_keeps_its_letters(text: str) -> None:
    """A disputed scalar is `Plain`: unchanged, and not a `str` itself."""
    assert type(resolve(text)) is Plain
    assert resolve(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "uk",
        "November",
        "yes please",
        "11111111-2222-3333",
        "3f0c1f6e-2a55",
        "1.2.3",
        "2026-11",
        "-",
        "x1e5",
        "1e5x",
        "12:99",
    ],
)
def test_text_stays_text(text: str) -> None:
    """A text that every parser takes for text needs no quotes."""
    assert type(resolve(text)) is str
    assert resolve(text) == text


SCALARS = st.one_of(
    st.text(),
    st.text("0123456789+-._:eExobTZ ~<=infaNyYonULs", max_size=12),
    st.dates().map(str),
    st.datetimes().map(str),
    st.integers().map(str),
    st.floats().map(str),
)


@given(SCALARS)
def test_no_text_is_taken_for_what_another_reader_would_not(text: str) -> None:
    """What PyYAML resolves to something other than text is never resolved to text here."""
    resolver: Any = yaml.SafeLoader("")
    tag = resolver.resolve(yaml.ScalarNode, text, (True, False))
    # Its tags for `=`, `<<` and (where they cannot stand anyway) `!`, `&` and `*` are text to every other reader.
    if tag.rpartition(":")[2] not in {"str", "value", "merge", "yaml"}:
        assert type(resolve(text)) is not str


@given(SCALARS)
def test_a_scalar_is_never_changed_in_silence(text: str) -> None:
    """A result that is a text has the author's letters."""
    value = resolve(text)
    if isinstance(value, str):
        assert value == text
    elif type(value) is int and text != "-0":
        assert str(value) == text


@pytest.mark.parametrize(
    "text",
    [
        "1" * 10**6 + "x",
        "1_" * 10**6 + "x",
        "1:2" * 10**5 + "x",
        "0." + "1_" * 10**5 + "x",
        "2026-11-20 " + " " * 10**5 + "x",
    ],
    ids=["digits", "underscores", "colons", "decimals", "spaces"],
)
def test_the_time_taken_grows_no_faster_than_the_text(text: str) -> None:
    """No input makes the pattern backtrack without end."""
    began = time.process_time()
    assert resolve(text) == text
    assert time.process_time() - began < 2
