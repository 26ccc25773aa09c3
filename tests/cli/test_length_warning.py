"""Apply warns of a run that outlives the credentials of its store."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchform.cli.apply import length_warning
from batchform.state.address import Branch, Bucket

STORE = Bucket(scheme="s3", bucket="bucket", key="state.json")


@pytest.mark.parametrize("starts", [0, 8250])
def test_a_run_within_an_hour_is_no_cause(starts: int) -> None:
    """150 starts a minute, 55 minutes."""
    assert length_warning(starts, STORE) is None


def test_a_longer_run_is_named_with_its_length_and_its_store() -> None:
    """And what to do about it."""
    said = length_warning(8700, STORE) or ""
    assert "at least 58 minutes" in said
    assert "s3://bucket/state.json" in said
    assert "--target" in said


@pytest.mark.parametrize("place", [Path("state.json"), Branch(name="state")])
def test_without_a_store_there_is_nothing_to_expire(place: Path | Branch) -> None:
    """A file needs no credentials, and those of git do not end within the hour."""
    assert length_warning(100_000, place) is None
