"""`batchform apply`: look, decide, ask, act, and account for it on every way out."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchform.apply import account, carry_out
from batchform.cli import environment, session
from batchform.cli.options import (
    Duration,
    config_option,
    override_option,
    selection_options,
    settle_option,
    state_option,
)
from batchform.cli.progress import JsonProgress, Progress, TextProgress
from batchform.cli.signals import Interruption
from batchform.cli.terminal import Terminal, in_ci
from batchform.errors import BatchformError, Exit, RefusedError, UsageError
from batchform.model import GuardName
from batchform.observe import Subject, observe
from batchform.plan import Action, Plan, approve, plan
from batchform.render.documents import load_plan
from batchform.state.local import hold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batchform.api.endpoint import Endpoint
    from batchform.cli.session import Question, Way
    from batchform.model import Observed
    from batchform.protocol import Rules
    from batchform.state.events import Event
    from batchform.state.local import Store

_MAX_PLAN_BYTES = 256 << 20
_CI_LOCK_TIMEOUT = 300.0  # seconds


@click.command()
@click.argument("planfile", required=False)
@config_option
@state_option
@selection_options
@click.option("--auto-approve", is_flag=True, help="Do not ask. Guards still hold.")
@click.option("--no-refresh", is_flag=True, help="Do not list the account: trust the state.")
@click.option("--parallelism", type=click.IntRange(1, 64), default=8, show_default=True, help="Requests at once.")
@click.option(
    "--lock-timeout",
    type=Duration(),
    metavar="DURATION",
    help="How long to wait for another run. Default: 0s on a terminal, 5m in CI.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event a line.")
@override_option
@settle_option
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Start what the configuration asks for and the account lacks.

    Looks at the account, makes the plan, asks, then starts. With a PLANFILE (from `plan --out`), nothing is asked, and
    nothing is started that it did not offer. Every outcome is on disk before the next step that depends on it.
    """
    asked = session.question(options["configs"], options["state"], options["targets"], options["excludes"])
    approved = _approval(options["planfile"])
    if approved is None and not options["auto_approve"] and (options["as_json"] or not terminal.interactive):
        raise UsageError(
            "Nobody is here to approve",
            "Without a terminal (and with --json) apply needs a saved plan or --auto-approve. Nothing was sent.",
        )
    endpoint = environment.endpoint()
    run = _Run(
        terminal=terminal,
        asked=asked,
        approved=approved,
        endpoint=endpoint,
        token=environment.token(),
        rules=session.rules(options["settle"], endpoint),
        options=options,
        id=environment.new_run(),
    )
    terminal.problems(asked.config.warnings, asked.config.sources)
    with _held(run) as store:
        return _apply(run, store)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """All that one apply was asked for."""

    terminal: Terminal
    asked: Question
    approved: Plan | None
    endpoint: Endpoint
    token: str
    rules: Rules
    options: dict[str, Any]
    id: str


def _approval(planfile: str | None) -> Plan | None:
    """The saved plan.

    Raises:
        UsageError: The file is not one.
    """
    if planfile is None:
        return None
    try:
        with Path(planfile).open("rb") as stream:
            return load_plan(stream.read(_MAX_PLAN_BYTES))
    except OSError as error:
        raise UsageError("The plan cannot be read", f"{planfile}: {error.strerror}. Nothing was sent.") from error


@contextmanager
def _held(run: _Run) -> Iterator[Store]:
    """The state, locked; checked to be the one that is meant; committed at the end, whatever happens in between."""
    now = session.clock.now()
    timeout = run.options["lock_timeout"]
    if timeout is None:
        timeout = _CI_LOCK_TIMEOUT if in_ci() else 0.0
    with hold(
        run.asked.state_file,
        fresh=session.fresh_state(run.asked.config, run.endpoint),
        run=run.id,
        holder=environment.holder("apply", run.id, run.asked.state_file, now),
        now=now,
        timeout=timeout,
    ) as store:
        session.check_belongs(store.state, run.asked.config, run.endpoint)
        _check_approval(run, store)
        if store.recovered:
            run.terminal.talk(f"Took up {store.recovered} events of a run that did not end.")
        try:
            yield store
        except BaseException:
            with suppress(BatchformError):  # the journal holds what the commit could not take
                store.commit(session.clock.now())
            raise


def _check_approval(run: _Run, store: Store) -> None:
    """Refuse an approval that was given for something else."""
    approved, state = run.approved, store.state
    if approved is None:
        return
    for what, theirs, ours in (
        ("service", approved.service.value, state.service.value),
        ("endpoint", approved.endpoint, state.endpoint),
        ("lineage", approved.lineage, state.lineage),
    ):
        if theirs != ours and theirs is not None:
            raise RefusedError(
                f"The plan was made for another {what}",
                f"The plan says {theirs}, here it is {ours}. Nothing was sent. Make the plan again, here.",
            )


def _apply(run: _Run, store: Store) -> int:
    told: list[Event] = []
    json_wanted = run.options["as_json"]
    progress: Progress = (JsonProgress if json_wanted else TextProgress)(run.terminal, session.clock)

    def listen(events: Sequence[Event]) -> None:
        told.extend(events)
        progress.tell(events)

    with session.way(
        run.terminal,
        endpoint=run.endpoint,
        token=run.token,
        run=run.id,
        parallelism=run.options["parallelism"],
        record=store.record,
        listen=listen,
        tick=progress.tick,
        tick_every=progress.every,
    ) as way:
        try:
            observed = _observe(run, store, way)
        finally:
            progress.end()
        made = _decide(run, store, observed)
        progress.planned(made)
        if way.engine.end is None:
            _ask(run, made, way)
            progress.begin(len(made.having(Action.START)), way.pacer)
            carry_out(
                made,
                config=run.asked.config,
                state=store.state,
                observed=observed,
                engine=way.engine,
                rules=run.rules,
            )
        progress.end()
        what = account(made, told, way.engine.unrecorded, way.engine.end)
        unsaved = _commit(store)
        progress.account(what, run.asked.state_file)
        if unsaved is not None:
            run.terminal.error(unsaved)
            return what.exit if what.exit >= Exit.UNKNOWN else unsaved.exit_code
        return what.exit


def _commit(store: Store) -> BatchformError | None:
    """Commit before the end is told; what stands in the way is told after it, not instead of it."""
    try:
        store.commit(session.clock.now())
    except BatchformError as error:
        return error
    return None


def _observe(run: _Run, store: Store, way: Way) -> Observed:
    refresh = not run.options["no_refresh"]
    if not refresh:
        run.terminal.warn(
            "--no-refresh trusts the state: that a batch was started elsewhere shows only in the server's refusal."
        )
    subject = Subject(
        config=run.asked.config,
        selected=run.asked.selected,
        endpoint=str(run.endpoint),
        state=lambda: store.state,
    )
    return observe(subject, way.engine, run.rules, session.clock.now(), refresh=refresh)


def _decide(run: _Run, store: Store, observed: Observed) -> Plan:
    made = plan(
        run.asked.config,
        store.state,
        observed,
        session.clock.now(),
        endpoint=str(run.endpoint),
        selected=run.asked.selected,
        overridden=tuple(GuardName(name) for name in run.options["overridden"]),
    )
    return approve(made, run.approved) if run.approved is not None else made


def _ask(run: _Run, made: Plan, way: Way) -> None:
    """Let the guards and the person judge.

    Raises:
        RefusedError: One of them said no. Nothing was started.
    """
    if not made.applyable:
        names = ", ".join(check.guard.name.value for check in made.failed_guards)
        raise RefusedError("A guard forbids this apply", f"{names}: see above. No batch was started.")
    if run.approved is not None or run.options["auto_approve"] or not made.has_changes:
        return
    run.terminal.talk(
        f"\n{_question(made)}\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: ",
        end="",
    )
    answer = ""
    try:
        with way.signals.asking():
            answer = input()
    except EOFError:
        run.terminal.talk("")  # the cursor still stands behind the question
    except Interruption:
        run.terminal.talk("")
        raise
    if answer.strip() != "yes":
        raise RefusedError("Apply was not approved", "No batch was started.")


def _question(made: Plan) -> str:
    """What is asked, and what is at stake."""
    starts = made.having(Action.START)
    if not starts:
        return "Record this?\n  No batch is started, and nothing is spent."
    known = sum(change.records or 0 for change in starts)
    unknown = sum(change.records is None for change in starts)
    stake = f"{known:,} records" + (f" and {unknown} of unknown size" if unknown else "")
    batches = "1 batch" if len(starts) == 1 else f"{len(starts):,} batches"
    return f"Start {batches} ({stake})?\n  A start spends credits and cannot be undone."
