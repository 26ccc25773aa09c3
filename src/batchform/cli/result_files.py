"""The files of results: where they may be, and how they are written.

They hold people's phone numbers, email addresses or postal addresses. So only their owner can read them, they are
complete or absent, and no folder that git would commit is accepted.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from batchform.cli.files import check_outputs
from batchform.errors import RefusedError, UsageError
from batchform.render.records import UnwritableError, cells_of, columns_of, csv_line, json_line
from batchform.state.disk import NO_FOLLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from batchform.api.results import Results

_GIT_TIMEOUT: Final = 10.0  # seconds
_ROWS: Final = 1000  # of a table in memory
_FILES: Final = Path("/proc/self/fd")  # a link to each open file


class Format(StrEnum):
    """The formats. The value is the end of the file's name."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def check_format(form: Format) -> None:
    """Check that the format can be written.

    Raises:
        UsageError: Its library is not installed.
    """
    if form is Format.PARQUET:
        _parquet()


def prepare(folder: Path, names: Sequence[str], form: Format, protected: Iterable[str | os.PathLike[str]]) -> None:
    """Check the folder and the files, and make the folder.

    Args:
        folder: The folder, which may be absent.
        names: The names of the batches.
        form: The format.
        protected: The files that the command reads.

    Raises:
        UsageError: The folder or a file cannot be used.
        RefusedError: Git would commit the files.
    """
    if "\0" in str(folder):
        raise _unusable(folder, "is not the name of a folder")
    try:
        mode = os.lstat(folder).st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise _unusable(folder, f"cannot be used ({error.strerror})") from error
    if mode is not None and not stat.S_ISDIR(mode):
        raise _unusable(folder, "is a link" if stat.S_ISLNK(mode) else "is not a folder")
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError(
            "Two batches would be written to one file",
            "Their names differ in letter case only. Name one of them. Nothing was sent or written.",
        )
    kept = tuple(protected)
    for name in names:
        check_outputs({"--out": str(path_of(folder, name, form))}, kept)
    _check_git(folder, names, form)
    if mode is None:
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _unusable(folder, f"cannot be made ({error.strerror})") from error


def path_of(folder: Path, name: str, form: Format) -> Path:
    """The file of a batch. A name of the configuration is a safe file name: it has no slash and begins with no dot."""
    return folder / f"{name}.{form}"


def _unusable(folder: Path, why: str) -> UsageError:
    return UsageError(
        "`--out` cannot write to this folder", f"{folder} {why}. Name another folder. Nothing was sent or written."
    )


# --- Git -------------------------------------------------------------------------------------------------------------


def _check_git(folder: Path, names: Sequence[str], form: Format) -> None:
    """Refuse a folder in the work tree of git, unless git ignores each file that is written there."""
    real = Path(os.path.realpath(folder))
    tree = next((one for one in (real, *real.parents) if os.path.lexists(one / ".git")), None)
    if tree is None:
        return
    files = [path_of(real, name, form) for name in names] + [_temporary(real, form)]
    if not _ignores(tree, files):
        raise RefusedError(
            "Git would commit these results",
            f"They are personal data, and git does not ignore all files in {folder}. Add the folder to .gitignore, or"
            " name one outside of the checkout. Nothing was sent or written.",
        )


def _ignores(tree: Path, files: Sequence[Path]) -> bool:
    """Whether git ignores all of these files. A file that is tracked is not ignored."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHFORM_", "GIT_"))}
    try:
        asked = subprocess.run(
            # the configuration of a checkout may name a command as its file system monitor
            ["git", "-c", "core.fsmonitor=false", "check-ignore", "-z", "--stdin"],  # noqa: S607  # the user's own git
            cwd=tree,
            env={**clean, "GIT_TERMINAL_PROMPT": "0"},
            input=b"\0".join(map(os.fsencode, files)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return set(filter(None, asked.stdout.split(b"\0"))) == set(map(os.fsencode, files))


# --- Writing ---------------------------------------------------------------------------------------------------------


def write(path: Path, form: Format, results: Results) -> None:
    """Write the items to the file, all or nothing, so that only its owner can read it. Replaces a file that exists.

    Raises:
        UsageError: The file cannot be written, or the items do not fit the format.
    """
    try:
        with _replacing(path, form) as stream:
            _WRITERS[form](stream, results)
    except UnwritableError as error:
        raise UsageError(
            "These results cannot be a table",
            f"{path}: {error}. Use `--format jsonl`. This file was not written.",
        ) from error
    except OSError as error:
        raise UsageError(
            "The results cannot be written",
            f"{path}: {error.strerror or error}. This file was not written. Run the command again.",
        ) from error


@contextlib.contextmanager
def _replacing(path: Path, form: Format) -> Iterator[IO[bytes]]:
    """A new file that takes the name when it is complete. Until then it has none, where the system can do that."""
    temporary = _temporary(path.parent, form)
    descriptor = _nameless(path.parent)
    named = descriptor is None
    if descriptor is None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | NO_FOLLOW
        descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
            if not named:
                _give_name(descriptor, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _nameless(folder: Path) -> int | None:
    """A new file without a name, which disappears with this process. None if the system has none."""
    if not hasattr(os, "O_TMPFILE") or not _FILES.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _give_name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.link(_FILES / str(descriptor), path.name, dst_dir_fd=folder)  # without a folder, Python does not follow
    finally:
        os.close(folder)


def _temporary(folder: Path, form: Format) -> Path:
    """A name beside the results. It ends as theirs, so that git ignores it, too."""
    return folder / f".batchform-{os.urandom(8).hex()}.{form}"


def _write_jsonl(stream: IO[bytes], results: Results) -> None:
    for item in results.items():
        stream.write(f"{json_line(item)}\n".encode())


def _write_csv(stream: IO[bytes], results: Results) -> None:
    columns = columns_of(results.items())
    if not columns:
        return
    stream.write(csv_line(columns).encode())
    for item in results.items():
        stream.write(csv_line(cells_of(item, columns)).encode())


def _write_parquet(stream: IO[bytes], results: Results) -> None:
    pa, parquet = _parquet()
    columns = columns_of(results.items())
    schema = pa.schema([(name, pa.string()) for name in columns])
    with parquet.ParquetWriter(stream, schema) as writer:
        rows: list[list[str | None]] = []
        for item in results.items():
            rows.append(cells_of(item, columns))
            if len(rows) == _ROWS:
                writer.write_table(_table(pa, schema, rows))
                rows = []
        writer.write_table(_table(pa, schema, rows))


def _table(pa: Any, schema: Any, rows: Sequence[Sequence[str | None]]) -> Any:
    columns = [[row[number] for row in rows] for number in range(len(schema))]
    return pa.table(columns, schema=schema)


def _parquet() -> tuple[Any, Any]:
    """The library for Parquet.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types; only for this format
        from pyarrow import parquet  # noqa: PLC0415  # the same
    except ImportError as error:
        raise UsageError(
            "The library for Parquet is not installed",
            "`--format parquet` needs it: `pip install pyarrow`. Nothing was sent or written.",
        ) from error
    return pa, parquet


_WRITERS: Final[dict[Format, Callable[[IO[bytes], Results], None]]] = {
    Format.JSONL: _write_jsonl,
    Format.CSV: _write_csv,
    Format.PARQUET: _write_parquet,
}
