"""`batchform apply`: look, decide, ask, act, and account for it on every way out."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchform.apply import Result, carry_out, report
from batchform.cli import ci, environment, session
from batchform.cli.options import (
    check_timeout,
    config_option,
    lock_timeout_option,
    override_option,
    selection_options,
    settle_option,
    state_option,
    timeout_option,
)
from batchform.cli.progress import JsonProgress, Progress, TextProgress
from batchform.cli.signals import Interruption
from batchform.errors import BatchformError, Exit, RefusedError, UsageError
from batchform.model import GuardName
from batchform.observe import Subject, observe
from batchform.plan import Action, Plan, approve, plan
from batchform.render.documents.report import report_document
from batchform.render.documents.saved import MAX_BYTES, load_plan
from batchform.render.escape import printable
from batchform.render.words import count, told_by_author

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.api.endpoint import Endpoint
    from batchform.apply import Report
    from batchform.cli.session import Question, Way
    from batchform.cli.terminal import Terminal
    from batchform.model import Observed
    from batchform.protocol import Rules
    from batchform.state.events import Event
    from batchform.state.local import Store


@click.command()
@click.argument("planfile", required=False)
@config_option
@state_option
@selection_options
@click.option("--auto-approve", is_flag=True, help="Do not ask. Guards still hold.")
@click.option("--no-refresh", is_flag=True, help="Do not list the account: trust the state.")
@click.option("--parallelism", type=click.IntRange(1, 64), default=8, show_default=True, help="Requests at once.")
@lock_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event a line.")
@click.option("--report", metavar="FILE", help="Write what came of every batch, as JSON; none when refused.")
@click.option("--wait", is_flag=True, help="Then wait until what is processing has ended; exit 7 when time runs out.")
@timeout_option
@override_option
@settle_option
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Start what the configuration asks for and the account lacks.

    Looks at the account, makes the plan, asks, then starts. With a PLANFILE (from `plan --out`), nothing is asked, and
    nothing is started that it did not offer. Every outcome is on disk before the next step that depends on it.
    """
    if options["report"] is not None:
        with suppress(OSError):  # a run that is refused must not leave the report of another one
            Path(options["report"]).unlink(missing_ok=True)
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
    ci.problems(terminal, asked.config.warnings, asked.config.sources)
    patience = check_timeout(options["timeout"], wait=options["wait"])
    with session.held(
        terminal,
        asked,
        endpoint,
        command="apply",
        run=run.id,
        timeout=options["lock_timeout"],
        overrides=options["overridden"],
    ) as store:
        _check_approval(run, store)
        code = Exit(_apply(run, store))
    if not options["wait"] or code not in {Exit.DONE, Exit.INCOMPLETE}:
        return code
    return max(code, _wait(run, patience), key=_SEVERITY.index)


_SEVERITY = (Exit.DONE, Exit.TIMEOUT, Exit.INCOMPLETE, Exit.ERROR, Exit.HANGUP, Exit.INTERRUPTED, Exit.TERMINATED)
"""Of two exit codes the later one is told."""


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
            return load_plan(stream.read(MAX_BYTES + 1))
    except OSError as error:
        raise UsageError("The plan cannot be read", f"{planfile}: {error.strerror}. Nothing was sent.") from error


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
        what = report(made, told, way.engine.unrecorded, way.engine.end)
        unsaved = _commit(store)
        progress.report(what, run.asked.state_file)
        _publish(run, made, what)
        if unsaved is not None:
            run.terminal.error(unsaved)
            return what.exit if what.exit >= Exit.UNKNOWN else unsaved.exit_code
        return what.exit


def _publish(run: _Run, made: Plan, what: Report) -> None:
    """Tell the outcomes to whoever reads them elsewhere: a report, the CI system."""
    if (report := run.options["report"]) is not None:
        try:
            Path(report).write_text(json.dumps(report_document(what), indent=2) + "\n", encoding="utf-8")
        except OSError as error:  # the starts are made: their account must not end in another exit code
            run.terminal.warn(f"The report could not be written: {printable(report)}: {error.strerror}.")
    if not ci.in_github():
        return
    from batchform.render.documents.report import report_summary  # noqa: PLC0415  # only where somebody reads it
    from batchform.render.markdown import STEP_SUMMARY, report_markdown  # noqa: PLC0415  # the same
    from batchform.render.style import Style  # noqa: PLC0415  # the same
    from batchform.render.text.report import report_text  # noqa: PLC0415  # the same

    text = report_text(what, Style(color=False), state_path=str(run.asked.state_file))
    title = "complete" if what.complete else "incomplete"
    ci.summary(run.terminal, report_markdown(text, title=title, limit=STEP_SUMMARY // 2), STEP_SUMMARY)
    numbers = report_summary(what)
    ci.outputs(
        run.terminal,
        starts=str(numbers[Result.STARTED.value]),
        records=str(numbers["records_started"]),
        applyable=str(made.applyable).lower(),
        plan=text,
    )


def _wait(run: _Run, patience: float) -> Exit:
    """Wait until nothing is processing; the lock is free meanwhile."""
    from batchform.cli.watching import Display, Watched, display_for, watch  # noqa: PLC0415  # for those who wait
    from batchform.render.documents.stream import waited_document  # noqa: PLC0415  # the same
    from batchform.render.text.status import status_text  # noqa: PLC0415  # the same

    as_json = run.options["as_json"]
    watched = Watched(
        asked=run.asked, endpoint=run.endpoint, token=run.token, run=environment.new_run(), timeout=patience
    )
    done = watch(run.terminal, watched, Display() if as_json else display_for(run.terminal, as_json=False))
    code = done.signal or done.look.verdict
    if as_json:
        run.terminal.data(json.dumps(waited_document(done.look, exit_code=code)))
    else:
        run.terminal.data(f"\n{status_text(done.look, run.terminal.style)}")
    return code


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
    answer = ""
    try:
        with way.signals.asking():
            run.terminal.talk(
                f"\n{_question(made)}\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: ", end=""
            )
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
    unsized = f" and {count(unknown, 'batch', 'batches')} of unknown size" if unknown else ""
    stake = f"{known:,} records{told_by_author(starts)}{unsized}"
    batches = "1 batch" if len(starts) == 1 else f"{len(starts):,} batches"
    return f"Start {batches} ({stake})?\n  A start spends credits and cannot be undone."
