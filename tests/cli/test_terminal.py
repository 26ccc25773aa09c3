"""The width of the output: that of the terminal, of COLUMNS, or of a log."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from batchform.cli.terminal import Terminal, columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def screen() -> Iterator[int]:
    """A terminal, as the descriptor of the program's side."""
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


def resize(screen: int, columns: int) -> None:
    """Give the terminal this width."""
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


@pytest.mark.parametrize(("columns", "used"), [(40, 40), (80, 80), (200, 200), (10, 40), (0, 100)])
def test_a_terminal_says_its_width(screen: int, columns: int, used: int) -> None:
    """Fewer than 40 columns are treated as 40. Some terminals say 0, which means that they do not know."""
    resize(screen, columns)
    with open(screen, "w", closefd=False, encoding="utf-8") as stream:
        assert columns_of(stream) == used


@pytest.mark.parametrize(
    ("given", "used"),
    [("60", 60), ("7", 40), ("", 100), ("0", 100), ("wide", 100), ("-60", 100), ("\uff16", 100), ("9" * 5000, 100)],
)
def test_columns_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, used: int) -> None:
    """Without it, or if it is no number, a log has 100 columns."""
    monkeypatch.setenv("COLUMNS", given)
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        assert columns_of(stream) == used


def test_columns_wins_over_the_terminal(screen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for other commands."""
    resize(screen, 80)
    monkeypatch.setenv("COLUMNS", "120")
    with open(screen, "w", closefd=False, encoding="utf-8") as stream:
        assert columns_of(stream) == 120


def test_sentences_and_questions_are_broken_into_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stdout, on stderr, in a warning, and in a prompt, which keeps its indentation."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    terminal = Terminal()
    terminal.say("The first sentence is short.", "The second one does not fit beside it.")
    terminal.note("A note of some words that needs two lines here.")
    terminal.warn("A warning of some words that needs two lines here.")
    assert not terminal.confirm("Start 3 batches (16,700 records) now?\n  A start spends credits and cannot be undone.")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["The first sentence is short.", "The second one does not fit beside it."]
    assert printed.err.splitlines() == [
        "A note of some words that needs two",
        "  lines here.",
        "Warning: A warning of some words that",
        "  needs two lines here.",
        "",
        "Start 3 batches (16,700 records) now?",
        "  A start spends credits and cannot be",
        "  undone.",
        "  Only 'yes' will be accepted to",
        "  approve.",
        "",
        "  Enter a value: ",
    ]
