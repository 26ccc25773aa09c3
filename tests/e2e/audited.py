"""Runs a batchform command and records its effects outside the process: `python audited.py WORDS...`.

Uses the audit events of Python (PEP 578). The last line on stderr is a JSON list: each socket, each resolved host name,
each subprocess, and each file that was opened for writing, created, renamed or removed.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_seen: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith(("socket.", "subprocess.")) or event in _CHANGING:
        _seen.append(f"{event} {args!r}")
    elif event == "open" and args[0] != os.devnull:  # discards its input
        _, mode, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
            _seen.append(f"open {args!r}")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    from batchform.cli.main import main

    sys.addaudithook(_watch)
    try:
        main()
    finally:
        sys.stderr.write(json.dumps(_seen) + "\n")
