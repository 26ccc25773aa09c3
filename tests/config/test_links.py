"""Files are read from the checkout or from a path on the command line, never through a link that leads elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchform.config.loader import load
from batchform.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

YAML = "version: 1\nbatches:\n  a:\n    batch_id: a1\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout beside a file that is not part of it, as the working directory."""
    (tmp_path / "outside.yaml").write_text(YAML, encoding="utf-8")
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    (folder / "batches").mkdir()
    (folder / "shared").mkdir()
    (folder / "shared" / "real.yaml").write_text(YAML, encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def refused(*paths: str) -> str:
    """The one problem of these paths. Asserts that no content of the file is shown."""
    with pytest.raises(ConfigError) as caught:
        load(paths)
    assert [problem.code for problem in caught.value.problems] == ["BF119"]
    return caught.value.problems[0].detail


def test_a_file_that_is_a_link_out_of_the_checkout_is_refused(checkout: Path) -> None:
    """The workflow names batches.yaml; the branch made it a link."""
    (checkout / "batches.yaml").symlink_to("../outside.yaml")
    assert '"batches.yaml" leads to' in refused("batches.yaml")


def test_a_link_in_a_folder_is_refused(checkout: Path) -> None:
    """The name of the link does not matter."""
    (checkout / "batches" / "uk.yaml").symlink_to("/etc/hostname")
    (checkout / "batches" / "de.yaml").write_text(YAML, encoding="utf-8")
    assert "uk.yaml" in refused("batches")


def test_a_folder_that_is_a_link_is_refused(checkout: Path) -> None:
    """Its files are outside, whichever path leads there."""
    (checkout / "linked").symlink_to(checkout.parent)
    assert "outside.yaml" in refused("linked")


def test_a_link_from_a_folder_below_is_measured_by_the_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`..` is allowed inside the checkout, and not beyond it."""
    (checkout / "batches" / "in.yaml").symlink_to("../shared/real.yaml")
    (checkout / "batches" / "out.yaml").symlink_to("../../outside.yaml")
    monkeypatch.chdir(checkout / "batches")
    assert load(["in.yaml"]).batches
    refused("out.yaml")


def test_the_command_line_may_name_any_path(checkout: Path) -> None:
    """The author of the workflow decides, also about a link at such a path."""
    (checkout.parent / "link.yaml").symlink_to(checkout.parent / "outside.yaml")
    assert load(["../outside.yaml"]).batches
    assert load([str(checkout.parent / "outside.yaml")]).batches
    assert load([str(checkout.parent / "link.yaml")]).batches


def test_a_folder_elsewhere_is_its_own_tree(checkout: Path) -> None:
    """A mounted folder may hold links to its own files, as Kubernetes makes them, but not to others."""
    mounted = checkout.parent / "mounted"
    (mounted / "..data").mkdir(parents=True)
    (mounted / "..data" / "a.yaml").write_text(YAML, encoding="utf-8")
    (mounted / "a.yaml").symlink_to("..data/a.yaml")
    assert load([str(mounted)]).batches
    (mounted / "b.yaml").symlink_to(checkout / "shared" / "real.yaml")
    refused(str(mounted))


def test_without_a_checkout_the_working_directory_is_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that holds only the files."""
    folder = tmp_path / "copied"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text(YAML, encoding="utf-8")
    (folder / "batchform.yaml").symlink_to("../outside.yaml")
    monkeypatch.chdir(folder)
    refused("batchform.yaml")
