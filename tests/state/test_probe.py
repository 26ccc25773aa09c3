"""Whether a store checks conditions, tested on a name that holds nothing yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchform.errors import StateError
from batchform.state.probe import probe
from tests.state.engines import ENGINES, engine
from tests.state.memory import FAILED, FORBIDDEN, Memory, Space

if TYPE_CHECKING:
    from batchform.state.registers import Tag


@pytest.mark.parametrize("kind", ENGINES)
def test_a_store_that_checks_conditions_passes(kind: str) -> None:
    """A second probe writes nothing."""
    with engine(kind) as new:
        probe(new(), ".backup", ".journal", 5.0)
        first = new().read(".backup")
        probe(new(), ".backup", ".journal", 5.0)
        assert first is not None
        assert new().read(".backup") == first
        assert new().read(".journal") is None


class _Blind(Memory):
    """Overlooks one kind of condition: `create`, `absent` (a tag under which nothing stands) or `swap`."""

    overlooks = ""

    def write(self, name: str, data: bytes, tag: Tag | None) -> Tag:
        """Replace what is there, where the condition is overlooked."""
        present = self.space.held.get(name)
        kind = "create" if tag is None else "absent" if present is None else "swap"
        if kind == self.overlooks:
            tag = None if present is None else present.tag
        return super().write(name, data, tag)


@pytest.mark.parametrize("overlooks", ["create", "absent", "swap"])
def test_a_store_that_overlooks_a_condition_is_refused(overlooks: str) -> None:
    """Two runs could hold one state there."""
    engine = _Blind(Space())
    engine.overlooks = overlooks
    with pytest.raises(StateError, match="ignores conditions"):
        probe(engine, ".backup", ".journal", 5.0, engine.time.clocks)


def test_a_store_that_may_not_be_written_is_named() -> None:
    """A refused right is no refused condition."""
    engine = Memory(Space())
    engine.faults.extend([FORBIDDEN] * 20)
    with pytest.raises(StateError, match="does not let us write"):
        probe(engine, ".backup", ".journal", 5.0, engine.time.clocks)


def test_what_is_there_is_not_touched() -> None:
    """A journal that is there already: the store is tested without it."""
    engine = Memory(Space())
    tag = engine.write(".journal", b"a journal", None)
    probe(engine, ".backup", ".journal", 5.0, engine.time.clocks)
    assert engine.space.held[".journal"].tag == tag


def test_an_answer_that_is_neither_yes_nor_no_ends_the_probe() -> None:
    """The second create is not refused, but fails."""
    engine = Memory(Space())
    engine.faults.extend(["", FAILED])
    with pytest.raises(StateError, match="an error of its own"):
        probe(engine, ".backup", ".journal", 5.0, engine.time.clocks)


def test_a_store_that_another_probe_writes_is_refused() -> None:
    """What was to be created is there, and is not ours."""
    engine = Memory(Space())

    def first(what: str, name: str) -> None:
        if what == "write":
            engine.before = lambda what, name: None
            engine.space.put(name, b"of another", None)

    engine.before = first
    with pytest.raises(StateError, match="ignores conditions"):
        probe(engine, ".backup", ".journal", 5.0, engine.time.clocks)
