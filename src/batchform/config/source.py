"""A file -> its text.

Refused for every file, whatever its format: a path that is not a regular file, a file that is too large, bytes that are
not UTF-8, invisible characters.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from batchform.config.problems import Code, quote_path
from batchform.source_text import SourceText

if TYPE_CHECKING:
    from batchform.errors import Problem

MAX_BYTES = 16 * 1024 * 1024
"""The largest file that is read."""

_INVISIBLE = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff"
"""Control characters, line separators, bidi controls and BOM, as a regular expression class."""

_REFUSED = re.compile(f"[{_INVISIBLE}]".replace(r"\u0000-\u001f", r"\u0000-\u0008\u000b\u000c\u000e-\u001f"))
_LONE_CR = re.compile("\r(?!\n)")
_BOM = "\ufeff"
_NAMES = {_BOM: "A byte order mark inside the text", "\r": "A carriage return without a line feed"}


class Stop(Exception):  # noqa: N818  not an error: it ends the reading of one file
    """The file cannot be read further, because of `problem`. `source` is its text, if there is any to show."""

    def __init__(self, problem: Problem, source: SourceText | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.source = source


def read(path: str) -> bytes:
    """The bytes of the regular file at `path`. Never blocks.

    Raises:
        Stop: it cannot be opened, is not a regular file, or is larger than `MAX_BYTES`.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                detail = f"{quote_path(path)} is a pipe or a device."
                raise Stop(Code.NOT_REGULAR.problem(detail, hint="Write the YAML to a file first.", place=None))
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        detail = f"{quote_path(path)} is a folder."
        raise Stop(
            Code.NOT_REGULAR.problem(detail, hint="Give the file, or the folder it is in.", place=None)
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Check the path and the permissions."
        if isinstance(error, FileNotFoundError):
            hint = "Check the path, or run `batchform init` to create a configuration."
        raise Stop(Code.UNREADABLE.problem(f"{quote_path(path)}: {reason}.", hint=hint, place=None)) from None
    if len(data) > MAX_BYTES:
        detail = f"{quote_path(path)} is larger than {MAX_BYTES >> 20} MiB, the limit for one file."
        raise Stop(Code.TOO_LARGE.problem(detail, hint="Split it into several files.", place=None))
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    """Open without blocking, which a FIFO without a writer would do. For a regular file it makes no difference."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def decode(data: bytes, file: str) -> SourceText:
    """The text in `data`.

    Raises:
        Stop: it is not UTF-8, or holds an invisible character.
    """
    try:
        source = SourceText(file, data.decode())
    except UnicodeDecodeError as error:
        raise _not_utf8(data, file, error.start) from None
    if bad := _REFUSED.search(source.text) or _LONE_CR.search(source.text):
        what = _NAMES.get(bad[0], "An invisible character")
        detail = f"{what}: U+{ord(bad[0]):04X}. Invisible characters are not allowed: a reviewer would not see them."
        hint = "Remove it. If a text needs it, write it as an escape inside double quotes."
        hint = "Remove it." if bad[0] in "\0" + _BOM else hint
        hint = "Save the file with line feeds, the line ends of Unix." if bad[0] == "\r" else hint
        raise Stop(Code.BAD_CHARACTER.problem(detail, hint=hint, place=source.place(*bad.span())), source)
    return source


def _not_utf8(data: bytes, file: str, offset: int) -> Stop:
    """The problem of the byte at `offset`, which is not UTF-8, with the text up to the end of its line."""
    line_end = data.find(b"\n", offset) + 1 or len(data)
    source = SourceText(file, data[:line_end].decode(errors="surrogateescape"))
    at = len(data[:offset].decode().removeprefix(_BOM))
    detail = f"The byte 0x{data[offset]:02x} at offset {offset:,} is not valid UTF-8."
    hint = "Save the file as UTF-8."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "The file looks like UTF-16, which some Windows editors write. Save it as UTF-8."
    return Stop(Code.NOT_UTF8.problem(detail, hint=hint, place=source.place(at, at + 1)), source)
