"""Links that a branch could hold beside the state lead nowhere: they are an error, and nothing behind them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchform.cli import environment
from batchform.errors import StateError, UsageError
from batchform.state import disk
from batchform.state.local import hold
from batchform.state.lock import holder_of
from batchform.state.reader import read
from batchform.state.recovery import examine
from tests.state.samples import EMPTY, INTENDED, NOW, events

NAME = environment.STATE_NAME


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout beside a file that is not part of it, as the working directory."""
    (tmp_path / "outside").write_text("kept")
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def run(state: object) -> None:
    """A run that records an intent."""
    assert isinstance(state, Path)
    with hold(state, fresh=EMPTY, run="run-1", holder={}, now=NOW) as store:
        store.record(events(INTENDED))
        store.commit(NOW)


@pytest.mark.parametrize("suffix", [".lock", ".journal"])
@pytest.mark.parametrize("target", ["../outside", "../absent", "inside", "loop"])
def test_a_link_beside_the_state_is_an_error(checkout: Path, suffix: str, target: str) -> None:
    """A lock was truncated through such a link. Also a link to a file of the checkout is not followed."""
    (checkout / "inside").write_text("kept")
    link = checkout / f"{NAME}{suffix}"
    link.symlink_to(link.name if target == "loop" else target)
    with pytest.raises(StateError) as caught:
        run(checkout / NAME)
    assert "it is a link" in caught.value.detail
    assert [(checkout.parent / "outside").read_text(), (checkout / "inside").read_text()] == ["kept", "kept"]
    assert not (checkout.parent / "absent").exists()
    assert link.is_symlink()
    with pytest.raises(StateError, match=r"The lock file|cannot be read"):
        (holder_of if suffix == ".lock" else read)(checkout / NAME)


def test_a_backup_that_is_a_link_is_replaced_and_not_read(checkout: Path) -> None:
    """The old state goes to the name of the backup, not through the link."""
    (checkout / f"{NAME}.backup").symlink_to("../outside")
    with pytest.raises(StateError, match="cannot be read"):
        examine(checkout / NAME)
    run(checkout / NAME)
    with hold(checkout / NAME, fresh=EMPTY, run="run-2", holder={}, now=NOW) as store:
        store.record(events(INTENDED, run="run-2"))
        store.commit(NOW)
    assert (checkout.parent / "outside").read_text() == "kept"
    assert not (checkout / f"{NAME}.backup").is_symlink()


@pytest.mark.parametrize("target", ["../new", "../outside", "folder/new"])
@pytest.mark.parametrize("given", [None, NAME])
def test_a_state_may_not_lead_out_of_the_checkout(checkout: Path, target: str, given: str | None) -> None:
    """The run would record outside, and the branch would not have it."""
    (checkout / "folder").symlink_to(checkout.parent, target_is_directory=True)
    (checkout / NAME).symlink_to(target)
    with pytest.raises(StateError, match="outside of the checkout"):
        environment.state_file(given)


def test_a_link_within_the_checkout_is_followed(checkout: Path) -> None:
    """A rename replaces the file and not the link. The command line may name any path."""
    (checkout / "states").mkdir()
    (checkout / NAME).symlink_to(f"states/{NAME}")
    run(environment.state_file(None))
    assert (checkout / "states" / NAME).is_file()
    (checkout.parent / "link").symlink_to("elsewhere")
    assert environment.state_file(str(checkout.parent / "link")) == checkout.parent / "link"


def test_a_configuration_elsewhere_keeps_its_state_in_its_folder(checkout: Path) -> None:
    """The folder was named; where a link in it leads was not."""
    folder = checkout.parent / "elsewhere"
    folder.mkdir()
    (folder / NAME).symlink_to("../outside")
    with pytest.raises(StateError, match="outside of the checkout"):
        environment.state_file(None, [str(folder)])


def test_configurations_in_several_folders_need_the_name_of_the_state(checkout: Path) -> None:
    """`-f a -f b` and `-f b -f a` used two states."""
    for name in ("a", "b"):
        (checkout / name).mkdir()
        (checkout / name / "x.yaml").touch()
    for order in (["a", "b"], ["b", "a/x.yaml"]):
        with pytest.raises(UsageError) as caught:
            environment.state_file(None, order)
        assert "`--state FILE`" in caught.value.detail
        assert environment.state_file("s.json", order) == Path("s.json")
    assert environment.state_file(None, ["a", "a/x.yaml", "./a"]) == Path("a", NAME)


@pytest.mark.parametrize("suffix", ["", ".journal", ".lock"])
def test_a_pipe_is_an_error_at_once(checkout: Path, suffix: str) -> None:
    """Opening it would wait for its writer."""
    os.mkfifo(checkout / f"{NAME}{suffix}")
    with pytest.raises(StateError, match="cannot be"):
        run(checkout / NAME)


@pytest.mark.parametrize("state", ["/", ".", "folder"])
def test_a_folder_is_no_state(checkout: Path, state: str) -> None:
    """No lock is created beside it."""
    (checkout / "folder").mkdir()
    with pytest.raises(StateError, match="cannot be read"):
        disk.paths(state)


def test_a_state_that_is_too_large_is_not_read(checkout: Path) -> None:
    """A sparse file takes no space on the disk, and all of the memory."""
    with (checkout / NAME).open("wb") as stream:
        stream.truncate(3 << 30)
    with pytest.raises(StateError) as caught:
        read(checkout / NAME)
    assert "larger than 512 MiB" in caught.value.detail
