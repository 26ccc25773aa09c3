"""Move a state from a file into a store, or back: `state migrate`.

The old place is made a copy before the new one is complete, so at no moment two states can both go on. A move that ends
in between leaves no state that a run would use; the same command again completes it. Until then, the new place refuses
runs: in a store because its journal continues a state that is missing, in a file because it is a copy, too. So is what
an earlier move left in the store: it becomes the state again only for a move from where it says that the state is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batchform.cli import environment, session
from batchform.cli.files import read_state
from batchform.errors import StateError
from batchform.render.words import count
from batchform.state import local
from batchform.state.disk import paths, replace_durably
from batchform.state.known import State
from batchform.state.lock import locked
from batchform.state.merge import merge
from batchform.state.probe import probe
from batchform.state.reader import decoded
from batchform.state.remote.access import BACKUP, JOURNAL, STATE, Access
from batchform.state.remote.store import Remote
from batchform.state.store import read, registers

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from batchform.cli.terminal import Terminal
    from batchform.state.address import Address
    from batchform.state.store import Place, Store

_COMMAND = "state migrate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What both directions need. `timeout` is for locks (None: the default), `patience` for stores, in seconds."""

    terminal: Terminal
    run: str
    timeout: float | None
    patience: float

    def into_store(self, file: Path, target: Address) -> None:
        """Move a state file into a store.

        Raises:
            StateError: The file is a copy of another state, the store is not usable, or has another state.
        """
        known = read_state(file)
        there = self._at(target)
        if there is not None and there.home not in {"", str(target), str(file.absolute())}:
            raise StateError(
                "This is a copy of another state",
                f"{target} is a copy of {there.home}, not of {file}. Choose another address. Nothing was changed.",
            )
        if known.home == str(target):
            if there is not None and there.home == str(target):
                self.terminal.note(f"The state is at {target} already.")
                return
            self._fill(target, known, file, lambda: None)
        else:
            with self._hold(file, fresh=known) as old:
                assert isinstance(old, local.Store)
                probe(registers(target), BACKUP, JOURNAL, self.patience)
                self._fill(target, old.state, file, lambda: old.leave(str(target)))
        self._done(known, str(target))

    def _at(self, target: Address) -> State | None:
        access = Access(registers(target), self.patience)
        held = access.read(STATE)
        return None if held is None else decoded(access.called, held.data)

    def _fill(self, target: Address, state: State, file: Path, leave: Callable[[], None]) -> None:
        fresh = State(
            lineage=state.lineage,
            serial=state.serial,
            service=state.service,
            endpoint=state.endpoint,
            home=str(file.absolute()),
        )
        with self._hold(target, fresh=fresh) as new:
            assert isinstance(new, Remote)
            merge(new.state, state)  # refuses another state while nothing is changed
            # safety: from here on the journal continues a state, so no run begins with an empty one
            new.lease.sync()
            leave()
            new.join(state)
            new.commit(session.clock.now())

    def into_file(self, place: Address, target: Path) -> None:
        """Move a state out of a store into a file.

        Raises:
            StateError: The state in the store is a copy of another one, or the file is another state.
        """
        known, home = read_state(place), str(target.absolute())
        files = paths(target)
        holder = environment.holder(_COMMAND, self.run, target, session.clock.now())
        with locked(files.lock, holder, self.timeout or 0.0):
            there = read(target)
            if there.state is not None and there.state.home not in {"", str(place)}:
                raise StateError(
                    "This is a copy of another state",
                    f"{target} is a copy of {there.state.home}, not of {place}. Nothing was changed.",
                )
            if known.home == home:
                if there.state is not None and not there.state.home:
                    self.terminal.note(f"The state is at {target} already.")
                    return
                both = known if there.state is None else merge(known, there.state)
            else:
                with self._hold(place, fresh=known) as old:
                    assert isinstance(old, Remote)
                    both = old.state if there.state is None else merge(old.state, there.state)
                    # safety: a file that is a copy refuses runs; one that is missing would begin with an empty state
                    replace_durably(files, replace(both, serial=both.serial + 1, home=str(place)), self.run)
                    files.journal.unlink(missing_ok=True)
                    old.leave(home)
            replace_durably(files, replace(both, serial=both.serial + 2, home=""), self.run)
        self._done(known, str(target))

    def _hold(self, place: Place, *, fresh: State) -> AbstractContextManager[Store]:
        return session.hold(
            self.terminal,
            place,
            fresh=fresh,
            run=self.run,
            command=_COMMAND,
            timeout=self.timeout,
            patience=self.patience,
        )

    def _done(self, state: State, where: str) -> None:
        self.terminal.note(
            f"Moved: {count(len(state.entries), 'batch', 'batches')}.", f"Set `BATCHFORM_STATE={where}`."
        )
