"""A user at a terminal: the prompt, Ctrl-C, Ctrl-D, and closed streams."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPT = b"Enter a value: "
COMMAND = [sys.executable, "-m", "batchform"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    """One batch to start."""
    with site(tmp_path, {"batches": {"b-1": {"records": 40}, "b-2": {"status": "processing"}}}) as one:
        one.declare({"new": {"batch_id": "b-1"}})
        yield one


def answered(place: Site, typed: bytes) -> tuple[int, str]:
    """The exit code and the output when `typed` is typed at the prompt."""
    ours, theirs = pty.openpty()
    script = 'exec "$@" <"$TTY" >"$TTY" 2>&1'  # a session leader that opens a terminal gets its Ctrl-C
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores it
    with subprocess.Popen(
        ["sh", "-c", script, "sh", *COMMAND, "apply"],
        cwd=place.folder,
        env=place.environment(TERM="dumb", TTY=os.ttyname(theirs)),
        start_new_session=True,
    ) as process:
        signal.signal(signal.SIGINT, ignored)
        try:
            shown = _read(ours, PROMPT)
            os.close(theirs)  # now the command has the only other end
            os.write(ours, typed)
            shown += _read(ours, again=typed if typed == b"\x03" else b"")
        finally:
            os.close(ours)
        return process.wait(timeout=60), shown.decode().replace("\r\n", "\n")


def _read(terminal: int, end: bytes | None = None, again: bytes = b"") -> bytes:
    """The output until `end`, or until the command has closed the terminal.

    While there is no output, `again` is typed again: Python can miss a signal in the last microseconds before `input`
    begins to wait.
    """
    shown, patience = b"", 60
    while end is None or not shown.endswith(end):
        if not select.select([terminal], [], [], 1.0)[0]:
            patience -= 1
            assert patience, shown
            os.write(terminal, again)
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:  # on Linux, the other end is closed
            part = b""
        if not part:
            break
        shown += part
    return shown


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        pytest.param(b"yes\n", 0, "Apply complete! ", id="yes"),
        pytest.param(b"y\n", 6, "Error: Apply was not approved", id="y"),
        pytest.param(b"\x04", 6, "Error: Apply was not approved", id="Ctrl-D"),
        pytest.param(b"\x03", 130, "Error: Interrupted", id="Ctrl-C"),
    ],
)
def test_only_yes_starts_anything(place: Site, typed: bytes, code: int, said: str) -> None:
    """The question has the number of records. Any other answer starts nothing."""
    ended, shown = answered(place, typed)
    assert ended == code, shown
    assert "Start 1 batch (40 records)?\n  A start spends credits and cannot be undone." in shown
    assert f"\n{said}" in shown
    assert place.accepted() == ({"b-1": 1} if code == 0 else {})
    assert "Traceback" not in shown


def test_what_spends_nothing_says_so(place: Site) -> None:
    """Apply also asks before it only adopts, and says that this costs nothing."""
    place.declare({"running": {"batch_id": "b-2"}})
    ended, shown = answered(place, b"yes\n")
    assert ended == 0, shown
    assert "Record these changes?\n  No batch is started, and nothing is spent." in shown
    assert place.requests("start") == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(place: Site, closed: str) -> None:
    """No file or socket gets their numbers, so no output is written to the state or sent to the server."""
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "apply", "--auto-approve"],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended
    assert "Traceback" not in ended.stderr
    place.paid_once(["b-1"])


def test_an_empty_name_saves_no_plan_in_silence(place: Site) -> None:
    """A CI job may have an unset variable."""
    ended = place.run("plan", "--out", "")
    assert ended.code == 1, ended
    assert "Error: `--out` cannot write this file" in ended.err
