"""The bars of the history are for terminals."""

from __future__ import annotations

import io
import sys

import pytest

from batchform.cli import history


class Terminal(io.TextIOWrapper):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """As a terminal says."""
        return True


@pytest.mark.parametrize(
    ("stream", "bar"),
    [
        (io.StringIO(), ""),
        (Terminal(io.BytesIO(), encoding="UTF-8"), "\N{FULL BLOCK}"),
        (Terminal(io.BytesIO(), encoding="ascii"), "#"),
    ],
    ids=["file", "utf-8", "ascii"],
)
def test_bars_are_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, stream: io.TextIOBase, bar: str) -> None:
    """In characters that it has."""
    monkeypatch.setattr(sys, "stdout", stream)
    assert history._bar() == bar
