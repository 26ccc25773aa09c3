"""`status --watch` on a terminal: frames that are redrawn in place, a resized window, Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.harness import Site, site

if TYPE_CHECKING:
    from collections.abc import Callable

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?7h\x1b[?25h\x1b[?1049l"
FRAME = re.compile(rb"\x1b\[\?2026h\x1b\[H(.*?)\x1b\[J\x1b\[\?2026l", re.DOTALL)
FAST = str(Path(__file__).with_name("fast.py"))


def watched(place: Site, act: Callable[[int, int, bytes], bool]) -> tuple[int, bytes]:
    """The exit code and the output of `status --watch`. `act` is called until it returns True."""
    ours, theirs = pty.openpty()
    resize(theirs, rows=24, columns=80)
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores it
    script = 'exec "$@" <"$TTY" >"$TTY" 2>&1'  # a session leader that opens a terminal gets its Ctrl-C
    with subprocess.Popen(
        ["sh", "-c", script, "sh", sys.executable, FAST, "20", "status", "--watch"],
        cwd=place.folder,
        env=place.environment(TERM="xterm", TTY=os.ttyname(theirs)),
        start_new_session=True,
    ) as process:
        signal.signal(signal.SIGINT, ignored)
        shown, acted, opened = b"", False, True
        try:
            while select.select([ours], [], [], 60.0)[0]:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # on Linux, the other end is closed
                    break
                shown += part
                if opened and ENTER in shown:
                    os.close(theirs)  # the command has opened it
                    opened = False
                acted = acted or act(ours, process.pid, shown)
        finally:
            if opened:
                os.close(theirs)
            os.close(ours)
        return process.wait(timeout=60), shown


def resize(terminal: int, *, rows: int, columns: int) -> None:
    """Resize the terminal, as a window manager does."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_a_watch_redraws_in_place_and_leaves_the_table(tmp_path: Path) -> None:
    """Each frame is one write and fits the window. At the end the table is on the normal screen."""
    values = {"batches": {f"b-{number}": {"records": 300, "status": "processing"} for number in range(30)}}
    with site(tmp_path, values) as place:
        place.declare({f"batch-{number}": {"batch_id": f"b-{number}"} for number in range(30)})

        def narrower(terminal: int, process: int, shown: bytes) -> bool:  # the signature of `act`
            if len(FRAME.findall(shown)) < 2:
                return False
            resize(terminal, rows=10, columns=40)
            return True

        code, shown = watched(place, narrower)
    assert code == 0, shown
    assert shown.count(ENTER) == shown.count(LEAVE) == 1
    live, _, after = shown.partition(LEAVE)
    sizes = set()
    for frame in FRAME.findall(live):
        lines = [re.sub(rb"\x1b\[[0-9;]*[mK]", b"", line).decode().strip("\r") for line in frame.split(b"\n")]
        assert b"\x1b[2J" not in frame  # clearing the screen would flicker
        fits = len(lines) <= 10 and max(map(len, lines)) <= 40
        sizes.add("small" if fits else "large")
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80
    assert sizes == {"small", "large"}
    assert b"completed" in after
    assert b"30 batches: 30 completed." in after
    assert b"\x1b[?" not in after


def test_ctrl_c_leaves_a_clean_prompt(tmp_path: Path) -> None:
    """The terminal is restored, shows the last table and no error, and the exit code is 130."""
    with site(tmp_path, {"batches": {"b-1": {"records": 10_000, "status": "processing"}}, "speed": 0.01}) as place:
        place.declare({"uk": {"batch_id": "b-1"}})

        def interrupt(terminal: int, process: int, shown: bytes) -> bool:  # the signature of `act`
            if not FRAME.search(shown):
                return False
            os.write(terminal, b"\x03")
            return True

        code, shown = watched(place, interrupt)
    assert code == 130, shown
    _, left, after = shown.partition(LEAVE)
    assert left
    assert b"uk" in after
    assert b"1 batch: 1 processing." in after
    assert b"Error" not in after
    assert b"\x1b[?" not in after
