"""Properties of every plan, for any declaration, state, readings and time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchform.apply import report
from batchform.approval import approve, narrow
from batchform.drift import drift
from batchform.model import MAX_RECORDS, NOTHING_OBSERVED, Batch, Config, GuardName, Observed, Reading, Service, Source
from batchform.plan import Action, Change, Plan, Reason
from batchform.planner import plan
from batchform.render.documents.plan import plan_document
from batchform.render.documents.saved import plan_from_document
from batchform.state.events import Event, Forgotten, Intended, Seen, Started, What, fold
from batchform.state.known import Entry, Evidence, Phase, State
from batchform.status import stage
from tests import strategies
from tests.properties.small import FAR_MOMENTS, IDS, NOW, PLACE, configs, observeds, states

FAR_OFF = timedelta(days=800_000)
SKEWS = st.none() | st.sampled_from([-FAR_OFF, FAR_OFF]) | st.timedeltas(-FAR_OFF, FAR_OFF)


def planned(config: Config, state: State | None, observed: Observed, now: datetime = NOW, **said: object) -> Plan:
    """The plan."""
    return plan(config, state, observed, now, endpoint="https://api.example", **said)  # type: ignore[arg-type]


@given(
    config=configs(FAR_MOMENTS),
    state=st.none() | states(FAR_MOMENTS),
    observed=observeds(FAR_MOMENTS),
    times=st.tuples(FAR_MOMENTS, SKEWS),
    selected=st.none() | st.sets(st.sampled_from(IDS)),
)
def test_the_plan_is_total(
    config: Config,
    state: State | None,
    observed: Observed,
    times: tuple[datetime, timedelta | None],
    selected: set[str] | None,
) -> None:
    """No input makes it raise, and every selected batch gets exactly one decision."""
    now, skew = times
    made = planned(config, state, replace(observed, skew=skew), now, selected=selected)
    told = Counter(change.batch_id for change in made.changes)
    assert set(told.values()) <= {1}
    for batch in config.batches:
        assert told[batch.batch_id] == (selected is None or batch.batch_id in selected)


@pytest.mark.parametrize("end", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("skew", [-FAR_OFF, FAR_OFF])
def test_a_server_whose_clock_has_run_off_breaks_nothing(end: datetime, skew: timedelta) -> None:
    """The first and last possible dates are valid, from a file or from the server."""
    reading = Reading(batch_id="a", source=Source.LIST, status="submitted", date_submitted=end)
    observed = Observed(listed=True, readings={"a": reading}, skew=skew)
    state = State(lineage="l", service=Service.PHONE, endpoint="")
    config = Config(batches=(Batch(name="a", batch_id="a", place=PLACE),))
    for now in (end, NOW):
        assert len(planned(config, state, observed, now).changes) == 1


@settings(max_examples=25)  # the shared strategies are slow: they make hostile text
@given(config=strategies.configs(), listed=st.booleans(), data=st.data())
def test_the_plan_is_total_for_hostile_words(config: Config, *, listed: bool, data: st.DataObject) -> None:
    """Unrecognised statuses, control characters and extreme dates lead to a plan without starts."""
    ids = [batch.batch_id for batch in config.batches]
    known = {each: data.draw(strategies.entries(each)) for each in ids if data.draw(st.booleans())}
    heard = {each: data.draw(strategies.readings(each)) for each in ids if data.draw(st.booleans())}
    state = State(lineage="l", service=Service.PHONE, endpoint="", entries=known)
    made = planned(config, state, Observed(listed=listed, readings=heard))
    assert [change.batch_id for change in made.changes] == ids
    assert all(change.status in {"submitted", None} for change in made.having(Action.START))


@given(config=configs(), state=states(), observed=observeds())
def test_nothing_that_may_have_been_paid_for_is_started(config: Config, state: State, observed: Observed) -> None:
    """No START for a batch that is on hold, unknown, recorded as started, or seen with a status after the start."""
    declared = {batch.batch_id: batch for batch in config.batches}
    for change in planned(config, state, observed).having(Action.START):
        batch, entry = declared[change.batch_id], state.entries.get(change.batch_id)
        reading = observed.readings.get(change.batch_id)
        assert not batch.hold
        if entry is not None:
            assert entry.phase in {Phase.SEEN, Phase.RELEASED, Phase.NOT_ATTEMPTED, Phase.REJECTED}
        if reading is not None:
            assert reading.found
            assert reading.status == "submitted"
        else:
            assert not observed.listed
            assert entry is None or entry.contradiction or entry.status in {None, "submitted"}


@given(config=configs(), state=states(), observed=observeds(), data=st.data())
def test_the_order_of_things_is_irrelevant(
    config: Config, state: State, observed: Observed, data: st.DataObject
) -> None:
    """The order of files, entries and answers does not change the plan."""
    shuffled = replace(config, batches=tuple(data.draw(st.permutations(config.batches))))
    entries = MappingProxyType(dict(data.draw(st.permutations(list(state.entries.items())))))
    heard = MappingProxyType(dict(data.draw(st.permutations(list(observed.readings.items())))))
    again = planned(shuffled, replace(state, entries=entries), replace(observed, readings=heard))
    assert again == planned(config, state, observed)


@given(config=configs(), state=states(), observed=observeds())
def test_changes_are_sorted_by_name(config: Config, state: State, observed: Observed) -> None:
    """Changes are sorted by name, then batch_id."""
    names = [(change.name, change.batch_id) for change in planned(config, state, observed).changes]
    assert names == sorted(names)


def applied(made: Plan, state: State, observed: Observed) -> State:
    """The state after an apply without failures."""
    whats: list[tuple[str, str, What]] = []
    for change in made.changes:
        said = observed.readings.get(change.batch_id)
        match change.action:
            case Action.START:
                whats.append((change.batch_id, change.name, Intended(reference_id="ref", records=change.records)))
                whats.append(
                    (change.batch_id, change.name, Started(status="processing", evidence=Evidence.ANSWER)),
                )
            case Action.ADOPT:
                assert said is not None
                whats.append((change.batch_id, change.name, Seen(source=said.source, status=said.status)))
            case Action.FORGET:
                whats.append((change.batch_id, change.name, Forgotten()))
            case _:
                pass
    return fold(
        state,
        [
            Event(run="r1", seq=seq, at=NOW, batch_id=batch_id, name=name, what=what)
            for seq, (batch_id, name, what) in enumerate(whats, start=1)
        ],
    )


@given(config=configs(), state=states(), observed=observeds())
def test_after_a_clean_apply_there_is_nothing_to_do(config: Config, state: State, observed: Observed) -> None:
    """The next plan starts, adopts and forgets nothing, with or without a refresh. Unanswered batches stay VERIFY."""
    first = planned(config, state, observed)
    after = applied(first, state, observed)
    begun = first.having(Action.START)
    heard = {
        **observed.readings,
        **{c.batch_id: Reading(batch_id=c.batch_id, source=Source.LIST, status="processing") for c in begun},
    }
    again = planned(config, after, replace(observed, readings=heard))
    assert not again.having(Action.START, Action.ADOPT, Action.FORGET)
    open_before = {change.batch_id for change in first.having(Action.VERIFY)}
    assert {change.batch_id for change in again.having(Action.VERIFY)} == open_before
    assert again.has_changes == bool(open_before)
    offline = {change.batch_id for change in planned(config, after, Observed()).having(Action.START)}
    assert offline.isdisjoint(change.batch_id for change in begun)


@given(config=configs(), state=states(), observed=observeds(), data=st.data())
def test_a_late_echo_of_an_old_status_starts_nothing_again(
    config: Config, state: State, observed: Observed, data: st.DataObject
) -> None:
    """No reading after a clean apply leads to a second start of a batch."""
    first = planned(config, state, observed)
    after = applied(first, state, observed)
    later = planned(config, after, data.draw(observeds()), NOW + data.draw(st.timedeltas(timedelta(0))) % FAR_OFF)
    begun = {change.batch_id for change in first.having(Action.START)}
    assert begun.isdisjoint(change.batch_id for change in later.having(Action.START))


PLANS = st.builds(planned, configs(), states(), observeds())


@given(before=PLANS, after=PLANS)
def test_nothing_is_decided_by_a_reason(before: Plan, after: Plan) -> None:
    """Drift, stages and the exit code of a report are the same whatever the reasons are."""

    def blind(made: Plan) -> Plan:
        return replace(made, changes=tuple(replace(change, reason=Reason.NEW) for change in made.changes))

    def drifted(before: Plan, after: Plan) -> list[str]:
        return [one.change.batch_id for one in drift(before, after)]

    assert drifted(before, after) == drifted(blind(before), blind(after))
    assert report(after, (), (), None).exit == report(blind(after), (), (), None).exit
    assert [*map(stage, after.changes)] == [*map(stage, blind(after).changes)]


def meant_for(fresh: Plan, approved: Plan) -> Plan:
    """The approved plan, as one for the same service, endpoint and state; any other is refused."""
    return replace(approved, service=fresh.service, endpoint=fresh.endpoint, lineage=fresh.lineage)


def is_larger(start: Change, offer: Change) -> bool:
    """Whether a number of the start exceeds the offered one. An unknown number is the most that a batch can have."""
    sizes = ((start.records, offer.records), (start.counted, offer.counted))
    return any((MAX_RECORDS if now is None else now) > (MAX_RECORDS if then is None else then) for now, then in sizes)


@given(fresh=PLANS, approved=PLANS)
def test_an_approval_only_ever_denies(fresh: Plan, approved: Plan) -> None:
    """An approval changes only starts, and only to WAIT: those that it did not offer, or offered with fewer records."""
    approved = meant_for(fresh, approved)
    left = approve(fresh, approved)
    verified = (change for change in approved.having(Action.VERIFY) if not change.held)
    offered = {change.batch_id: change for change in (*approved.having(Action.START), *verified) if change.place}
    for before, after in zip(fresh.changes, left.changes, strict=True):
        offer = offered.get(before.batch_id)
        if before.action is Action.START and (offer is None or is_larger(before, offer)):
            assert after.action is Action.WAIT
        else:
            assert after == before
    assert approve(left, approved) == left
    for before_check, after_check in zip(fresh.guards, left.guards, strict=True):
        assert after_check.measured <= before_check.measured


@given(config=configs(), state=states(), observed=observeds())
def test_what_was_held_back_when_it_was_approved_is_not_started(
    config: Config, state: State, observed: Observed
) -> None:
    """Whatever is lifted afterwards: no reader of the plan saw that the batch could be started."""
    approved = planned(config, state, observed)
    lifted = tuple(replace(batch, hold=False, not_before=None, submitted_at=None) for batch in config.batches)
    fresh = planned(replace(config, batches=lifted), replace(state, entries={}), NOTHING_OBSERVED)
    earliest = NOW + min(observed.skew or timedelta(), timedelta())
    held = {
        batch.batch_id
        for batch in config.batches
        if batch.hold or (batch.not_before is not None and batch.not_before > earliest)
    }
    assert {change.batch_id for change in fresh.having(Action.START)} == {batch.batch_id for batch in lifted}
    for approval in (approved, narrow(approved, approved), plan_from_document(plan_document(approved, version="1"))):
        started = {change.batch_id for change in approve(fresh, approval).having(Action.START)}
        assert not started & held


def test_verifying_an_undeclared_batch_approves_no_start() -> None:
    """No reviewer saw the declaration, which came later."""
    entry = Entry(batch_id="a", name="n-a", phase=Phase.INTENDED, declared=False, updated_at=NOW, run="r")
    state = State(lineage="l", service=Service.PHONE, endpoint="https://api.example", entries={"a": entry})
    empty = Config(service=Service.PHONE, guards=(), batches=())
    approved = planned(empty, state, NOTHING_OBSERVED)
    assert approved.having(Action.VERIFY)
    declared = replace(empty, batches=(Batch(name="n-a", batch_id="a", place=PLACE),))
    fresh = planned(declared, replace(state, entries={}), NOTHING_OBSERVED)
    assert fresh.having(Action.START)
    for approval in (approved, narrow(approved, approved), plan_from_document(plan_document(approved, version="1"))):
        assert not approve(fresh, approval).having(Action.START)


@settings(max_examples=25)
@given(fresh=PLANS, forged=strategies.plans())
def test_a_forged_approval_starts_nothing(fresh: Plan, forged: Plan) -> None:
    """A saved plan can only prevent starts, whatever it contains."""
    left = approve(fresh, meant_for(fresh, forged))
    started, before = ({change.batch_id for change in each.having(Action.START)} for each in (left, fresh))
    assert started <= before
    assert started <= {change.batch_id for change in forged.having(Action.START, Action.VERIFY)}


@given(later=PLANS, fresh=PLANS, approved=PLANS)
def test_a_plan_within_another_approves_no_more_than_either(later: Plan, fresh: Plan, approved: Plan) -> None:
    """Saved, loaded and applied to whatever the account says later."""
    fresh, approved = meant_for(later, fresh), meant_for(later, approved)
    narrowed = narrow(fresh, approved)
    saved = plan_from_document(plan_document(narrowed, version="1"))

    def started(approval: Plan) -> set[str]:
        return {change.batch_id for change in approve(later, approval).having(Action.START)}

    assert started(saved) <= started(fresh) & started(approved)
    assert narrow(narrowed, approved) == narrowed


@given(config=configs(), state=states(), observed=observeds(), lifted=st.sets(st.sampled_from(GuardName)))
def test_guards_measure_what_is_started_and_count_the_unknown_as_full(
    config: Config, state: State, observed: Observed, lifted: set[GuardName]
) -> None:
    """Starts count, unknown sizes count as 10,000 records, and only an override allows an excess."""
    made = planned(config, state, observed, overridden=lifted)
    starts = made.having(Action.START)
    assert [check.guard for check in made.guards] == list(config.guards)
    for check in made.guards:
        if check.guard.name is GuardName.MAX_STARTS:
            assert (check.measured, check.unknown) == (len(starts), 0)
        else:
            unknown = [change for change in starts if change.records is None]
            declared = {batch.batch_id: batch.records for batch in config.batches}
            said = [
                {getattr(one, "records", None) for one in (state.entries.get(key), observed.readings.get(key))}
                | {declared[key]}
                for key in (change.batch_id for change in starts)
            ]
            known = sum(max((n for n in numbers if n is not None), default=0) for numbers in said)
            assert (check.measured, check.unknown) == (known + 10_000 * len(unknown), len(unknown))
    assert MAX_RECORDS == 10_000
    excess = {check.guard.name for check in made.guards if check.measured > check.guard.limit}
    assert made.applyable == (excess <= lifted)


@given(config=configs(), state=states(), observed=observeds(), selected=st.sets(st.sampled_from(IDS)))
def test_a_targeted_plan_leaves_the_rest_alone(
    config: Config, state: State, observed: Observed, selected: set[str]
) -> None:
    """It has no FORGET and only the selected batches, with the same changes as in the whole plan."""
    whole = {change.batch_id: change for change in planned(config, state, observed).changes}
    part = planned(config, state, observed, selected=selected)
    assert part.targeted
    assert not part.having(Action.FORGET)
    for change in part.changes:
        assert change.batch_id in selected
        assert change == whole[change.batch_id]


@given(config=configs(), state=states())
def test_forgetting_touches_only_what_is_settled_and_undeclared(config: Config, state: State) -> None:
    """FORGET is for undeclared entries whose last attempt has a known outcome."""
    declared = {batch.batch_id for batch in config.batches}
    for change in planned(config, state, Observed()).having(Action.FORGET):
        entry = state.entries[change.batch_id]
        assert change.batch_id not in declared
        assert entry.declared
        assert not entry.uncertain
