"""A disk in memory that loses unsynced data on a power loss, and every state that can remain.

The disk guarantees what POSIX guarantees: `fsync` of a file makes its content durable, but not its name. `fsync` of the
folder makes the names durable, but not the contents. Before that:

- Of the writes to a file, the first few are kept; the last of these perhaps in part, or as zeros. With `jumbled`, later
  blocks may be kept without earlier ones.
- Of the changes of names, any subset is kept. A rename is one change.

`Machine` replaces the calls of `os` that the real code makes with such a disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pytest

FOLDER: Final = "/disk"
BLOCK: Final = 256
"""Bytes that reach the disk together or not at all. Small, so that small files have many."""

_FIRST: Final = 1 << 20  # no real descriptor is so high


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


@dataclass(slots=True)
class Inode:
    """One file: its durable content, its present content, and the writes in between as (offset, data)."""

    number: int
    durable: bytes = b""
    now: bytes = b""
    writes: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, at: int, data: bytes) -> None:
        """Write data at an offset, without making it durable."""
        self.writes.append((at, data))
        self.now = _written(self.now, at, data)

    def cut(self) -> None:
        """Truncate the file to zero bytes, without making that durable."""
        self.writes.append((-1, b""))
        self.now = b""

    def sync(self) -> None:
        """Make the content durable."""
        self.durable = self.now
        self.writes.clear()

    def leavings(self, every: int, *, jumbled: bool) -> set[bytes]:
        """What can remain after a power loss, with writes cut at each `every` bytes and around line ends."""
        content, found = self.durable, {self.durable}
        for at, data in self.writes:
            if at < 0:
                content = b""
                found.add(content)
                continue
            cuts = {*range(0, len(data), every), *range(0, len(data), BLOCK), len(data) - 1}
            cuts |= {end + near for end in _line_ends(data) for near in (0, 1, 2) if end + near < len(data)}
            for cut in cuts:
                found.add(_written(content, at, data[:cut]))
            for cut in range(0, len(data), BLOCK):
                found.add(_written(content, at, data[:cut] + bytes(len(data) - cut)))
            if jumbled:
                blocks = [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]
                for kept in product((False, True), repeat=len(blocks)):
                    there = (one if keep else bytes(len(one)) for one, keep in zip(blocks, kept, strict=True))
                    found.add(_written(content, at, b"".join(there)))
            content = _written(content, at, data)
            found.add(content)
        return found


def _written(content: bytes, at: int, data: bytes) -> bytes:
    return content[:at].ljust(at, b"\0") + data + content[at + len(data) :]


def _line_ends(data: bytes) -> list[int]:
    return [at for at, byte in enumerate(data) if byte == 0x0A]


@dataclass(slots=True)
class _Open:
    inode: Inode
    append: bool
    at: int = 0


class Disk:
    """One folder of files. `step` is called after each change."""

    def __init__(self, files: Mapping[str, bytes], step: Callable[[], None] = lambda: None) -> None:
        self._inodes = 0
        self._names = {name: self._inode(content) for name, content in files.items()}
        self._durable = dict(self._names)
        self._changes: list[tuple[dict[str, Inode], tuple[str, ...]]] = []
        self._open: dict[int, _Open | None] = {}  # None is the folder
        self._locked: dict[int, int] = {}
        self._step = step
        self.syncs = 0

    def _inode(self, content: bytes = b"") -> Inode:
        self._inodes += 1
        return Inode(number=self._inodes, durable=content, now=content)

    @property
    def files(self) -> dict[str, bytes]:
        """The present files."""
        return {name: inode.now for name, inode in self._names.items()}

    def leavings(self, every: int, *, jumbled: bool = False) -> Iterator[dict[str, bytes]]:
        """Every state that can remain after a power loss now, without the lock file."""
        for count in range(len(self._changes) + 1):
            for kept in combinations(self._changes, count):
                names = dict(self._durable)
                for made, gone in kept:
                    names |= made
                    for name in gone:
                        names.pop(name, None)
                names = {name: inode for name, inode in names.items() if not name.endswith(".lock")}
                inodes = {inode.number: inode for inode in names.values()}
                choices = [sorted(inode.leavings(every, jumbled=jumbled)) for inode in inodes.values()]
                for contents in product(*choices):
                    found = dict(zip(inodes, contents, strict=True))
                    yield {name: found[inode.number] for name, inode in names.items()}

    # --- the calls ---

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """Like `os.open`."""
        name = os.path.basename(path)  # noqa: PTH119  # a name, not a path
        descriptor = _FIRST + len(self._open)
        if path == FOLDER:
            self._open[descriptor] = None
            return descriptor
        inode = self._names.get(name)
        if inode is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT, path)
            inode = self._inode()
            self._change({name: inode})
        elif flags & os.O_EXCL:
            raise _error(errno.EEXIST, path)
        if flags & os.O_TRUNC and inode.now:
            inode.cut()
            self._step()
        self._open[descriptor] = _Open(inode, append=bool(flags & os.O_APPEND))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        """Like `os.write`."""
        file = self._file(descriptor)
        at = len(file.inode.now) if file.append else file.at
        file.inode.write(at, bytes(data))
        file.at = at + len(data)
        self._step()
        return len(data)

    def fsync(self, descriptor: int) -> None:
        """Like `os.fsync`."""
        file = self._open[descriptor]
        self.syncs += 1
        if file is None:
            self._durable = dict(self._names)
            self._changes.clear()
        else:
            file.inode.sync()
        self._step()

    def ftruncate(self, descriptor: int, length: int) -> None:
        """Like `os.ftruncate`, for length 0."""
        assert length == 0
        self._file(descriptor).inode.cut()

    def fchmod(self, descriptor: int, mode: int) -> None:
        """Modes are ignored."""

    def close(self, descriptor: int) -> None:
        """Like `os.close`."""
        self._locked = {inode: holder for inode, holder in self._locked.items() if holder != descriptor}
        del self._open[descriptor]
        self._open.setdefault(-len(self._open), None)  # numbers are not reused

    def link(self, source: str, target: str) -> None:
        """Like `os.link`."""
        inode = self._there(source)
        if _name(target) in self._names:
            raise _error(errno.EEXIST, target)
        self._change({_name(target): inode})

    def replace(self, source: str, target: str) -> None:
        """Like `os.replace`. Two names of one file do not change."""
        inode = self._there(source)
        if self._names.get(_name(target)) is not inode:
            self._change({_name(target): inode}, _name(source))

    def unlink(self, path: str) -> None:
        """Like `os.unlink`."""
        self._there(path)
        self._change({}, _name(path))

    def stat(self, path: str, **_: Any) -> os.stat_result:
        """Like `os.stat`."""
        return self._status(self._there(path))

    def fstat(self, descriptor: int) -> os.stat_result:
        """Like `os.fstat`."""
        return self._status(self._file(descriptor).inode)

    def flock(self, descriptor: int, operation: int) -> None:
        """Like `fcntl.flock`, without waiting."""
        assert operation == fcntl.LOCK_EX | fcntl.LOCK_NB
        inode = self._file(descriptor).inode.number
        if self._locked.setdefault(inode, descriptor) != descriptor:
            raise _error(errno.EAGAIN, "")

    def read(self, descriptor: int, most: int) -> bytes:
        """As `os.read`."""
        file = self._file(descriptor)
        data = file.inode.now[file.at : file.at + most]
        file.at += len(data)
        return data

    def read_bytes(self, path: str) -> bytes:
        """Like `Path.read_bytes`."""
        return self._there(path).now

    def _there(self, path: str) -> Inode:
        inode = self._names.get(_name(path))
        if inode is None:
            raise _error(errno.ENOENT, path)
        return inode

    def _file(self, descriptor: int) -> _Open:
        file = self._open[descriptor]
        assert file is not None
        return file

    def _change(self, made: dict[str, Inode], *gone: str) -> None:
        self._changes.append((made, gone))
        self._names |= made
        for name in gone:
            del self._names[name]
        self._step()

    @staticmethod
    def _status(inode: Inode) -> os.stat_result:
        return os.stat_result((0o100600, inode.number, 1, 1, 0, 0, len(inode.now), 0, 0, 0))


def _name(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119  # a name, not a path


class Machine:
    """A computer whose folder `/disk` is on `disk`. Everything else is real. To simulate a crash, replace the disk."""

    _BY_PATH: Final = ("open", "unlink", "stat")
    _BY_NUMBER: Final = ("write", "fsync", "ftruncate", "fchmod", "close", "fstat", "read")
    _BY_PATHS: Final = ("link", "replace")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk = Disk({})
        for name in self._BY_PATH:
            monkeypatch.setattr(os, name, self._call(getattr(os, name), name, self._on_disk))
        for name in self._BY_PATHS:
            monkeypatch.setattr(os, name, self._call(getattr(os, name), name, self._on_disk, paths=2))
        for name in self._BY_NUMBER:
            monkeypatch.setattr(os, name, self._call(getattr(os, name), name, self._is_ours, paths=0))
        monkeypatch.setattr(fcntl, "flock", self._call(fcntl.flock, "flock", self._is_ours, paths=0))
        monkeypatch.setattr(Path, "read_bytes", self._call(Path.read_bytes, "read_bytes", self._on_disk))

    @staticmethod
    def _on_disk(path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and str(os.fspath(path)).startswith(FOLDER)

    @staticmethod
    def _is_ours(descriptor: Any) -> bool:
        return isinstance(descriptor, int) and descriptor >= _FIRST

    def _call(self, really: Any, name: str, ours: Callable[[Any], bool], paths: int = 1) -> Any:
        def call(*words: Any, **more: Any) -> Any:
            if not ours(words[0]):
                return really(*words, **more)
            plain = [os.fspath(word) if number < paths else word for number, word in enumerate(words)]
            return getattr(self.disk, name)(*plain, **more)

        return call
