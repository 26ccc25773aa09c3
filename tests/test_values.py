"""What a frozen class is at run time: one with a hash, by its fields where it is compared by them."""

from __future__ import annotations

import pytest

from batchform.errors import Place
from batchform.values import dataclass


def test_values_that_are_equal_are_one_in_a_set() -> None:
    """As with the standard library's."""
    places = [Place(file="f.yaml", line=1, column=1, end_line=1, end_column=2) for _ in range(2)]
    assert len({*places}) == 1


def test_what_is_compared_by_identity_is_hashed_by_identity() -> None:
    """Even where its fields have no hash."""

    @dataclass(frozen=True, eq=False)
    class Held:
        inside: list[int]

    one, other = Held([]), Held([])
    assert len({one, other, one}) == 2


def test_what_may_change_has_no_hash() -> None:
    """A set would lose it."""

    @dataclass
    class Open:
        count: int

    with pytest.raises(TypeError, match="unhashable"):
        hash(Open(1))
