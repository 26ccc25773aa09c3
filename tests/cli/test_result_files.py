"""Where results may be written, and that a file is complete and private or absent."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from batchform.api.contract import Answer
from batchform.api.results import Results, results_meaning
from batchform.cli.result_files import Format, check_format, prepare, write
from batchform.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def results(*items: str) -> Results:
    """Results with these items, as JSON."""
    body = f'{{"result": {{"batch_id": "b", "status": "completed", "phones": [{",".join(items)}]}}}}'
    found = results_meaning(Answer(status=200, body=body.encode()), "b", items=True)
    assert isinstance(found, Results)
    return found


def git(folder: Path, *words: str) -> None:
    """A git command."""
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=folder, check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A work tree of git."""
    tree = tmp_path / "tree"
    tree.mkdir()
    git(tree, "init", "-q")
    return tree


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    """One that exists keeps its mode."""
    prepare(tmp_path / "out", ["a"], Format.JSONL, ())
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    (tmp_path / "out").chmod(0o755)
    prepare(tmp_path / "out", ["a"], Format.JSONL, ())
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    """Also a link to one, and a folder that cannot be made."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name, why in (
        ("file", "is not a folder"),
        ("link", "is a link"),
        ("file/below", "cannot be used (Not a directory)"),
        ("no/such", "cannot be made (No such file or directory)"),
        ("a\0b", "is not the name of a folder"),
    ):
        with pytest.raises(UsageError, match="cannot write to this folder") as caught:
            prepare(tmp_path / name, ["a"], Format.JSONL, ())
        assert why in caught.value.detail
        assert "Nothing was sent" in caught.value.detail


def test_files_that_must_not_be_written_are_refused(tmp_path: Path) -> None:
    """A link in the place of a file, a file that the command reads, and two batches with one file."""
    (tmp_path / "a.csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot write this file"):
        prepare(tmp_path, ["a"], Format.CSV, ())
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(UsageError, match="cannot write this file"):
        prepare(tmp_path, ["b"], Format.CSV, [tmp_path / "b.csv"])
    with pytest.raises(UsageError, match="written to one file"):
        prepare(tmp_path, ["c", "C"], Format.CSV, ())


@pytest.mark.parametrize(
    ("ignored", "accepted"),
    [
        ("", False),
        ("out/", True),
        ("*.jsonl", True),
        ("a.jsonl", False),
        ("*.csv", False),
        ("out/*\n!out/a.jsonl", False),
        ("out", True),
    ],
)
def test_git_must_ignore_every_file(checkout: Path, ignored: str, *, accepted: bool) -> None:
    """Those of the batches, and what is there until one is complete."""
    (checkout / ".gitignore").write_text(ignored)
    if accepted:
        prepare(checkout / "out", ["a"], Format.JSONL, ())
        return
    with pytest.raises(RefusedError, match="Git would commit these results"):
        prepare(checkout / "out", ["a"], Format.JSONL, ())
    assert not (checkout / "out").exists()


def test_a_link_into_a_checkout_does_not_help(checkout: Path) -> None:
    """Where the folder really is, counts."""
    (checkout / "below").mkdir()
    (checkout.parent / "link").symlink_to(checkout / "below")
    with pytest.raises(RefusedError):
        prepare(checkout.parent / "link" / "out", ["a"], Format.JSONL, ())


def test_a_tracked_file_is_not_ignored(checkout: Path) -> None:
    """A commit would take its new content."""
    (checkout / "out").mkdir()
    (checkout / "out" / "a.jsonl").write_text("")
    git(checkout, "add", "out/a.jsonl")
    (checkout / ".gitignore").write_text("out/")
    with pytest.raises(RefusedError):
        prepare(checkout / "out", ["a"], Format.JSONL, ())


def test_without_an_answer_of_git_nothing_is_ignored(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be missing, or hang."""
    (checkout / ".gitignore").write_text("out/")
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    with pytest.raises(RefusedError):
        prepare(checkout / "out", ["a"], Format.JSONL, ())


def test_the_configuration_of_a_checkout_runs_no_command(checkout: Path) -> None:
    """A file system monitor is a command that anyone who writes `.git/config` chooses."""
    (checkout / ".gitignore").write_text("out/")
    git(checkout, "config", "core.fsmonitor", f"touch {checkout.parent / 'ran'}; false")
    prepare(checkout / "out", ["a"], Format.JSONL, ())
    assert not (checkout.parent / "ran").exists()


# --- the files -------------------------------------------------------------------------------------------------------

ITEMS = ('{"number": "+447700900000", "name": "=1+1"}', '{"number": "1", "metadata": {"a": [1]}}')


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def nameless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without files that have no name."""
    wanted: bool = request.param
    if not wanted:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return wanted


@pytest.mark.usefixtures("nameless")
def test_each_format(tmp_path: Path) -> None:
    """For its owner only, and nothing else beside it."""
    for form in (Format.JSONL, Format.CSV):
        write(tmp_path / f"a.{form}", form, results(*ITEMS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.jsonl"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert (tmp_path / "a.jsonl").read_text() == (
        '{"number":"+447700900000","name":"=1+1"}\n{"number":"1","metadata":{"a":[1]}}\n'
    )
    assert (tmp_path / "a.csv").read_bytes() == (
        b'"number","name","metadata.a"\r\n"+447700900000","\'=1+1",\r\n"1",,"[1]"\r\n'
    )


def test_parquet_has_the_columns_of_csv(tmp_path: Path) -> None:
    """As texts, without apostrophes, in groups of rows."""
    parquet = pytest.importorskip("pyarrow.parquet")
    write(tmp_path / "a.parquet", Format.PARQUET, results(*ITEMS, *[ITEMS[1]] * 2500))
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.num_rows == 2502
    assert table.slice(0, 2).to_pylist() == [
        {"number": "+447700900000", "name": "=1+1", "metadata.a": None},
        {"number": "1", "name": None, "metadata.a": "[1]"},
    ]
    assert stat.S_IMODE((tmp_path / "a.parquet").stat().st_mode) == 0o600


@pytest.mark.parametrize("form", [Format.JSONL, Format.CSV])
def test_no_items_make_an_empty_file(tmp_path: Path, form: Format) -> None:
    """A table without columns has no header."""
    write(tmp_path / "a", form, results())
    assert (tmp_path / "a").read_text() == ""


def test_the_library_for_parquet_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other formats do not need it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    check_format(Format.CSV)
    with pytest.raises(UsageError, match="not installed") as caught:
        check_format(Format.PARQUET)
    assert "pip install pyarrow" in caught.value.detail


@pytest.mark.usefixtures("nameless")
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, and items that do not fit."""
    (tmp_path / "a.csv").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="cannot be written") as caught:
            write(tmp_path / "a.csv", Format.CSV, results(*ITEMS))
    assert "No space left on device" in caught.value.detail
    many = ",".join(f'"{number}": 1' for number in range(501))
    with pytest.raises(UsageError, match="cannot be a table") as caught:
        write(tmp_path / "a.csv", Format.CSV, results(f"{{{many}}}"))
    assert "--format jsonl" in caught.value.detail
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_a_kill_while_writing_leaves_nothing(tmp_path: Path) -> None:
    """The file has no name until it is complete."""
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("only Linux has files without a name")
    script = (
        "import os, sys; from pathlib import Path; from batchform.cli import result_files as files\n"
        "with files._replacing(Path(sys.argv[1]) / 'a.jsonl', files.Format.JSONL) as stream:\n"
        "    stream.write(b'447700900000' * 100000); stream.flush(); os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_nameless_files_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has the flag, but the file system refuses it."""
    real = os.open

    def refusing(path: Any, flags: int, *more: Any, **others: Any) -> int:
        if flags & getattr(os, "O_TMPFILE", 0) == getattr(os, "O_TMPFILE", -1):
            raise OSError(95, "Operation not supported")
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refusing)
    write(tmp_path / "a.jsonl", Format.JSONL, results(*ITEMS))
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
