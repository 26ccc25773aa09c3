"""The warnings of `across`. Its errors are tested in `test_loader.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchform.config import loader
from batchform.config.problems import MAX_PROBLEMS
from batchform.errors import ConfigError, Severity

if TYPE_CHECKING:
    from pathlib import Path

    from batchform.model import Config


def loaded(folder: Path, *texts: str) -> Config:
    """The configuration of files with these texts, after a line with the version."""
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(f"version: 1\n{text}", encoding="utf-8")
    return loader.load([folder])


def codes(config: Config) -> list[str]:
    """The codes of the problems, all of which are warnings."""
    assert all(warning.severity is Severity.WARNING for warning in config.warnings)
    return [warning.code for warning in config.warnings]


LATE = "not_before: 2026-12-01T06:00:00Z"
OLD = "submitted_at: 2026-11-01T09:00:00Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"batches: {{a: {{batch_id: x, {OLD}, {LATE}}}}}\n", ["BF305"]),
        (f"defaults: {{{LATE}}}\nbatches: {{a: {{batch_id: x, {OLD}}}}}\n", ["BF305"]),
        (f"defaults: {{{LATE}}}\nbatches: {{a: {{batch_id: x, {OLD}, not_before: 2026-11-02T00:00:00Z}}}}\n", []),
        (f"batches: {{a: {{batch_id: x, {OLD}, not_before: 2026-11-29T09:00:00Z}}}}\n", []),
        (f"batches: {{a: {{batch_id: x, {OLD}, not_before: 2026-11-29T09:00:01Z}}}}\n", ["BF305"]),
        (f"batches: {{a: {{batch_id: x, {LATE}}}}}\n", []),
        (f"batches: {{a: {{batch_id: x, {OLD}, {LATE}, hold: true}}}}\n", []),
        (f"defaults: {{hold: true}}\nbatches: {{a: {{batch_id: x, {OLD}, {LATE}}}}}\n", []),
        (f"service: address\nbatches: {{a: {{batch_id: x, {OLD}, {LATE}}}}}\n", ["BF305"]),
        ("batches: {a: {batch_id: x, submitted_at: 9999-12-20T00:00:00Z, not_before: 9999-12-31T00:00:00Z}}\n", []),
    ],
)
def test_a_start_after_the_deadline_is_a_warning(text: str, expected: list[str], tmp_path: Path) -> None:
    """If both times are known and the batch is not on hold. The 28 days themselves are in time."""
    assert codes(loaded(tmp_path, text)) == expected


def test_the_service_of_one_file_holds_for_the_deadline_of_another(tmp_path: Path) -> None:
    """The 28 days are documented for phone only."""
    batch = f"batches: {{a: {{batch_id: x, {OLD}, {LATE}}}}}\n"
    (phone,), (email,) = loaded(tmp_path, batch).warnings, loaded(tmp_path, batch, "service: email\n").warnings
    assert "can be started until 2026-11-29T09:00:00Z" in phone.detail
    assert "may no longer be startable after 2026-11-29T09:00:00Z" in email.detail


@pytest.mark.parametrize(
    ("guards", "batch", "expected"),
    [
        ("max_starts: 0", "", ["BF306"]),
        ("max_records: 0", "", ["BF306"]),
        ("max_starts: 0", ", hold: true", []),
        ("max_starts: 1", "", []),
        ("max_records: 5000", ", records: 5000", []),
        ("max_records: 5000", ", records: 5001", ["BF306"]),
        ("max_records: 5000", ", records: 5001, hold: true", []),
        ("max_records: 5000", "", []),
        ("max_records: 0, max_starts: 0", "", ["BF306", "BF306"]),
    ],
)
def test_a_guard_that_can_never_hold_is_a_warning(guards: str, batch: str, expected: list[str], tmp_path: Path) -> None:
    """Also across two files. A batch without a number of records causes no warning."""
    assert codes(loaded(tmp_path, f"guards: {{{guards}}}\n", f"batches: {{a: {{batch_id: x{batch}}}}}\n")) == expected


def test_no_batches_no_doubt(tmp_path: Path) -> None:
    """A guard of 0 is harmless if no batch is declared."""
    assert codes(loaded(tmp_path, "guards: {max_starts: 0}\n")) == []


def test_names_and_ids_that_differ_in_case_are_told_once_each(tmp_path: Path) -> None:
    """At the later one, with the place of the first, also across files."""
    config = loaded(tmp_path, "batches: {a: {batch_id: x}, A: {batch_id: z}}\n", "batches: {b: {batch_id: X}}\n")
    assert codes(config) == ["BF307", "BF304"]
    assert [len(warning.related) for warning in config.warnings] == [1, 1]
    assert set(config.sources) == {str(tmp_path / "0.yaml"), str(tmp_path / "1.yaml")}


def test_a_thousand_doubts_are_enough_and_still_stop_nothing(tmp_path: Path) -> None:
    """The problem that closes the list is a warning, too."""
    batches = "".join(f"  a{number}: {{batch_id: x{number}, {OLD}, {LATE}}}\n" for number in range(MAX_PROBLEMS + 5))
    found = codes(loaded(tmp_path, f"batches:\n{batches}"))
    assert found.count("BF305") == MAX_PROBLEMS
    assert found[-1] == "BF118"


def test_doubts_are_told_beside_errors(tmp_path: Path) -> None:
    """One run reports both."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"batches: {{a: {{batch_id: x, {OLD}, {LATE}, records: -1}}}}\n")
    assert [problem.code for problem in caught.value.problems] == ["BF305", "BF210"]
