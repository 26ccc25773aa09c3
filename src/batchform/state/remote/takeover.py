"""Taking the journal: a free one at once, that of a run that died after a lease, that of a run that hangs on demand.

`claim` replaces the journal by a header of ours under the tag it names, and says whether it did (`lease.Lease.claim`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from batchform.errors import StateError, StateLockedError
from batchform.state.codec import encode_state
from batchform.state.events import fold
from batchform.state.known import check_home
from batchform.state.registers import Down, Taken
from batchform.state.remote.access import JOURNAL, STATE
from batchform.state.remote.reader import who

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.state.journal import Header, Replay
    from batchform.state.registers import Held, Tag
    from batchform.state.remote.access import Access

    Claim: TypeAlias = Callable[[Header | None, Tag | None], bool]


def take(access: Access, claim: Claim, timeout: float | None, waiting: Callable[[float], None]) -> int:
    """Claim the journal as soon as no other run holds it; returns how many events of a run that died it had.

    Args:
        access: The store.
        claim: Replaces the journal.
        timeout: Seconds to wait for another run. None: as long as it may be dead.
        waiting: Waits that many seconds.

    Raises:
        StateLockedError: Another run held it all the time.
        StateError: The store cannot be used, or what it holds.
    """
    clocks = access.clocks
    began = clocks.monotonic()
    watched: Held | None = None
    since = began
    lives = False
    while True:
        held = access.read(JOURNAL)
        now = clocks.monotonic()
        if held is None:
            _nothing_there(access)
            if claim(None, None):
                return 0
            continue
        found = access.replay(held)
        header = found.header
        assert header is not None
        if not header.open:
            if claim(header, held.tag):
                return 0
            continue
        if watched is None or watched.tag != held.tag:
            lives, watched, since = watched is not None, held, now
        lease = max(header.lease, access.lease)
        # safety: by this machine's own clock, from when the answer was here; so its holder is sure no longer
        if now - since >= lease:
            if _fold_in(access, found) and claim(header, held.tag):
                return len(found.events)
            watched = None
            continue
        late = lives if timeout is None else now - began >= timeout
        if late:
            raise StateLockedError("The state is locked by another run", _holder(header, now - since, lease))
        waiting(access.poll)


def seize(
    access: Access, claim: Claim, run: str, timeout: float, waiting: Callable[[float], None]
) -> tuple[int, float]:
    """Claim the journal of a run that hangs.

    Args:
        access: The store.
        claim: Replaces the journal.
        run: The id of that run.
        timeout: Seconds for which it is tried, while that run writes.
        waiting: Waits that many seconds.

    Returns:
        How many events of that run the journal had, and for how many seconds that run may still be certain.

    Raises:
        StateLockedError: That run wrote all the time, so it does not hang.
        StateError: That run does not hold the state, or the store cannot be used.
    """
    clocks = access.clocks
    began = clocks.monotonic()
    while True:
        held = access.read(JOURNAL)
        found = None if held is None else access.replay(held)
        header = None if found is None else found.header
        if held is None or found is None or header is None or not header.open or header.run != run:
            raise not_held(run)
        if _fold_in(access, found) and claim(header, held.tag):
            return len(found.events), max(header.lease, access.lease)
        if clocks.monotonic() - began >= timeout:
            raise StateLockedError(
                "The run is at work",
                f"Run {run} writes to its journal: it does not hang. Cancel its job, or try longer with"
                " --lock-timeout 5m. Nothing was changed.",
            )
        waiting(access.poll)


def not_held(run: str) -> StateError:
    """The error for a run that does not hold the state."""
    return StateError(
        "This run does not hold the state",
        f"Run {run} has ended, or another run has taken over. `batchform state lock` shows the run that holds it."
        " Nothing was changed.",
    )


def _nothing_there(access: Access) -> None:
    """Refuse a state without a journal."""
    if access.read(STATE) is not None:
        scripts = " A state that scripts put on a branch moves to a new one with `batchform state migrate --state FILE"
        scripts = f"{scripts} git:BRANCH`." if access.where.startswith("git:") else ""
        raise StateError(
            "The journal of the state is gone",
            f"{access.called.state} is there and {access.called.journal} is not, so what a run recorded last may be"
            f" missing. Restore it from {access.called.kept}, or run `batchform state recover`.{scripts}"
            " Nothing was sent.",
        )


def _fold_in(access: Access, found: Replay) -> bool:
    """Make the events of another run part of the state; False when a third run was first."""
    if not found.events:
        return True
    assert found.header is not None
    held = access.read(STATE)
    base = access.base(held, found.header)
    if held is not None:
        check_home(base, access.where)
    state = fold(base, found.events, found.stories)
    if state.content == base.content:
        return True
    state = replace(state, serial=base.serial + 1, home=access.where)
    try:
        access.write(STATE, encode_state(state), None if held is None else held.tag)
    except Taken:
        return False
    except Down as down:
        raise access.not_usable(down) from None
    return True


def _holder(header: Header, quiet: float, lease: float) -> str:
    since = header.holder.get("Created")
    return (
        f"Held by {who(header)}{f', since {since}' if since else ''}; quiet for {quiet:.0f} of {lease:.0f} s. Nothing"
        f" was sent. A run that died is taken over after {lease:.0f} s without a sign of it. Wait with --lock-timeout"
        f" 10m; `batchform state unlock {header.run}` stops a run that hangs."
    )
