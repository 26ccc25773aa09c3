"""Text from outside has no control characters, invisible characters or commands after `printable`."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchform.render.escape import cut, cut_middle, cut_start, pad, printable, width
from batchform.render.layout import pack, wrap
from batchform.render.style import PROSE
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


@given(st.text(), st.sampled_from(["", "  ", "Error: "]), st.integers(20, 120))
def test_wrapped_lines_fit_and_lose_nothing(text: str, first: str, columns: int) -> None:
    """Only blanks at line ends are lost, and commands are escaped. A line is too wide only for the word at its end."""
    shown = printable(text)
    lines = wrap(shown, columns, first=first, rest="  ")
    most = min(columns, PROSE)
    wide = [line for line in lines if width(line) > most]
    assert all(line.split()[:-1] in ([], first.split()) and width(line) > most for line in wide)
    assert not any(line.lstrip().startswith(("::", "##[")) for line in lines)
    joined = "".join("".join(lines).removeprefix(first.rstrip()).split())
    assert joined.replace("\\x3a", ":") == "".join(shown.split()).replace("\\x3a", ":")


def test_wrap_defuses_a_command_in_the_middle_of_a_long_word() -> None:
    """A text without blanks that is broken must not begin its next line with a command."""
    word = "語" * 48 + "::error::y"
    assert wrap(word, PROSE) == ["語" * 48, r"\x3a:error::y"]


def test_what_people_copy_stays_on_one_line() -> None:
    """A command in backticks, a number with its word, and any word, however long it is."""
    assert wrap("1 started, 12 not attempted", 14) == ["1 started,", "12 not", "attempted"]
    assert wrap("see https://example.test/a/long/path now", 20, rest="  ") == [
        "see", "  https://example.test/a/long/path", "  now",
    ]  # fmt: skip
    assert wrap("Run `batchform why uk`.", 20) == ["Run", "`batchform why uk`."]
    assert wrap("Run `batchform apply --override-guard max_records`", 30) == [
        "Run `batchform apply", "--override-guard max_records`",
    ]  # fmt: skip
    # A backtick from the server can make a word of two that have a blank between them.
    assert wrap("x" * 30 + "`: `rm`", 34) == ["x" * 30 + "`:", "`rm`"]


def test_a_text_in_a_script_without_blanks_is_broken_between_characters() -> None:
    """Never before a mark, which belongs to the character before it."""
    assert wrap("クレジットが不足しています", 20) == ["クレジットが不足", "しています"]
    assert wrap("か" * 7 + "か\u3099" + "か" * 3, 19)[0] == "か" * 7 + "か\u3099"


def test_pack_breaks_between_sentences() -> None:
    """As many sentences on a line as fit."""
    assert pack(["a" * 60 + ".", "b" * 38 + ".", "c."], PROSE) == ["a" * 60 + ".", "b" * 38 + ". c."]


def test_every_control_and_bidi_character_is_escaped() -> None:
    """All of Unicode, not a selection."""
    hidden = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert len(hidden) > 2_000
    assert [hex(ord(character)) for character in hidden if not printable(character).isascii()] == []
