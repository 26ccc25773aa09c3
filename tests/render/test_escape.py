"""Text from outside has no control characters, invisible characters or commands after `printable`."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.render.escape import cut, cut_middle, cut_start, pad, printable, width
from batchform.render.layout import COLUMNS, pack, wrap
from tests.strategies import texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("uk-mobiles", "uk-mobiles"),
        ("Zürich, 東京", "Zürich, 東京"),
        ("a\tb\r\nc\x00", r"a\x09b\x0d\x0ac\x00"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("evil\u202etxt.exe", r"evil\u202etxt.exe"),
        ("a\u2066b\u200bc\ufeffd", r"a\u2066b\u200bc\ufeffd"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\ud800 \ue000 \U000e0041", r"\ud800 \ue000 \U000e0041"),
        ("\u3164\u2800\ufe0f", r"\u3164\u2800\ufe0f"),
        ("e\u0301", "e\u0301"),
        ("\u0301e", r"\u0301e"),
        ("e\u0301\u0301\u0301", "e\u0301\u0301\\u0301"),
        ("::error::x", r"\x3a:error::x"),
        ("  ::error::x", r"  \x3a:error::x"),
        ("a ::error::x", r"a \x3a:error::x"),
        ("http://[::1]:80 a::b", "http://[::1]:80 a::b"),
        ("##[error]x", r"\x23#[error]x"),
        ("a##[error]x", r"a\x23#[error]x"),
        ("##vso[task.complete]", r"\x23#vso[task.complete]"),
        ("## a heading", "## a heading"),
    ],
)
def test_printable_shows_what_must_not_be_obeyed(text: str, shown: str) -> None:
    """One by one."""
    assert printable(text) == shown


@given(texts(), st.none() | st.integers(1, 40))
def test_printable_text_is_one_line_of_visible_characters(text: str, limit: int | None) -> None:
    """Any text, and no wider than the limit."""
    shown = printable(text, limit)
    assert shown.isprintable()
    assert not shown.lstrip().startswith(("::", "##["))
    assert limit is None or width(shown) <= limit


@given(texts())
def test_printable_text_stays_as_it_is(text: str) -> None:
    """An escaped text is not escaped again."""
    assert printable(printable(text)) == printable(text)


@given(texts(), st.integers(3, 40))
def test_cut_text_fits(text: str, columns: int) -> None:
    """At its end, its middle or its start."""
    shown = printable(text)
    for cutting in (cut, cut_middle, cut_start):
        assert width(cutting(shown, columns)) <= columns
        assert cutting(shown, 10_000) == shown


def test_cut_keeps_what_tells_names_apart() -> None:
    """The end of a name, and the end of a path."""
    assert cut("abcdefghij", 5) == "abcd…"
    assert cut_middle("uk-mobiles-2026-11", 11) == "uk-mo…26-11"
    assert cut_start("batches/uk/mobiles.yaml:12", 16) == "…mobiles.yaml:12"
    assert cut("東京東京", 4) == "東…"


def test_columns_are_counted_as_a_terminal_does() -> None:
    """Wide characters take two, marks none."""
    assert [width(text) for text in ("abc", "東京", "e\u0301", "\uff21")] == [3, 4, 1, 2]
    assert pad("東", 4) + "|" == "東  |"
    assert pad("東", 4, right=True) == "  東"


@given(st.text(), st.sampled_from(["", "  ", "Error: "]))
def test_wrapped_lines_fit_and_lose_nothing(text: str, first: str) -> None:
    """Only blanks at line ends are lost, and commands are escaped."""
    shown = printable(text)
    lines = wrap(shown, first=first, rest="  ")
    assert all(width(line) <= COLUMNS for line in lines)
    assert not any(line.lstrip().startswith(("::", "##[")) for line in lines)
    joined = "".join("".join(lines).removeprefix(first.rstrip()).split())
    assert joined.replace("\\x3a", ":") == "".join(shown.split()).replace("\\x3a", ":")


def test_wrap_defuses_a_command_in_the_middle_of_a_long_word() -> None:
    """A broken word must not begin its next line with a command."""
    word = "x" * 97 + "::error::y"
    assert wrap(word)[1].startswith(r"\x3a:error")


def test_a_word_that_is_broken_at_a_blank_leaves_none() -> None:
    """Text in backticks is one word, so a word may contain blanks."""
    assert wrap("x" * 95 + "` " + "y" * 20 + "`") == ["x" * 95 + "`", "y" * 20 + "`"]


def test_pack_breaks_between_sentences() -> None:
    """As many sentences on a line as fit."""
    assert pack(["a" * 60 + ".", "b" * 38 + ".", "c."]) == ["a" * 60 + ".", "b" * 38 + ". c."]


def test_every_control_and_bidi_character_is_escaped() -> None:
    """All of Unicode, not a selection."""
    hidden = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert len(hidden) > 2_000
    assert [hex(ord(character)) for character in hidden if not printable(character).isascii()] == []
