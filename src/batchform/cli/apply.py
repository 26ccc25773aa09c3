"""`batchform apply`: refresh, plan, ask, start, report."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from batchform.api.pacing import WINDOW
from batchform.apply import Result, carry_out, report
from batchform.approval import approve, check_approval
from batchform.cli import ci, environment, files, network, session
from batchform.cli.options import (
    config_option,
    exclude_option,
    lock_timeout_option,
    override_option,
    proxy_option,
    settle_option,
    state_option,
    store_timeout_option,
    target_option,
    timeout_option,
    wait_time,
)
from batchform.cli.progress import JsonProgress, TextProgress
from batchform.errors import BatchformError, Exit, RefusedError, UsageError
from batchform.model import RATE_LIMIT
from batchform.observe import observe
from batchform.plan import Action, Plan
from batchform.planner import check_guards, plan
from batchform.protocol import rules
from batchform.render.documents.report import report_document
from batchform.render.escape import printable
from batchform.render.words import batches, credits_words, stake, told_by_author
from batchform.state.address import Branch, Bucket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.apply import Report
    from batchform.cli.network import Access
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.model import GuardName, Observed
    from batchform.protocol import Rules
    from batchform.state.events import Event
    from batchform.state.store import Place, Store

_AT_ONCE: Final = 8
_AT_ONCE_ON_A_BRANCH: Final = 32
"""Each push has one group of starts, and pushes are 10 s apart: 25 at once make the 150 a minute that are allowed."""

_LONG: Final = 55  # minutes
_SEVERITY = (Exit.DONE, Exit.TIMEOUT, Exit.INCOMPLETE, Exit.ERROR, Exit.HANGUP, Exit.INTERRUPTED, Exit.TERMINATED)
"""With `--wait`, the later of the two exit codes in this list wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One apply: what it works on, the server, and its options."""

    terminal: Terminal
    scope: Scope
    access: Access
    rules: Rules
    approved: Plan | None
    auto_approve: bool
    refresh: bool
    parallelism: int
    overridden: tuple[GuardName, ...]
    as_json: bool
    report: Path | None
    markdown: Path | None
    key: str


@click.command()
@click.argument("planfile", required=False)
@config_option
@state_option
@target_option
@exclude_option
@click.option("--auto-approve", is_flag=True, help="Do not ask. Guards still apply.")
@click.option("--no-refresh", is_flag=True, help="Do not list the account. Read each batch to start instead.")
@click.option(
    "--parallelism",
    type=click.IntRange(1, 64),
    help=f"The most requests in flight. [default: {_AT_ONCE}; {_AT_ONCE_ON_A_BRANCH} for a state on a branch]",
)
@lock_timeout_option
@store_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON event a line.")
@click.option(
    "--report",
    "report_file",
    metavar="FILE",
    help="Write the result for every batch, as JSON. A refused apply writes none.",
)
@click.option("--markdown", "markdown_file", metavar="FILE", help="Write the report as a comment for a pull request.")
@click.option("--wait", is_flag=True, help="Then wait until no batch is processing. Exits 7 on timeout.")
@timeout_option
@override_option
@settle_option
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    planfile: str | None,
    configs: tuple[str, ...],
    state: str | None,
    targets: tuple[str, ...],
    excludes: tuple[str, ...],
    auto_approve: bool,
    no_refresh: bool,
    parallelism: int | None,
    lock_timeout: float | None,
    store_timeout: float,
    as_json: bool,
    report_file: str | None,
    markdown_file: str | None,
    wait: bool,
    timeout: float | None,
    overridden: tuple[GuardName, ...],
    settle: float,
    proxy: str | None,
) -> int:
    """Start the declared batches that do not run yet.

    Reads the account, shows the plan, asks for approval, then starts batches. With a PLANFILE (from `plan --out`) it
    does not ask, and starts only batches that this plan offered to start.
    """
    key = ci.key(configs, state)
    seconds = wait_time(timeout, wait=wait)
    with ci.comment_of_failure(markdown_file, "apply", configs, state, (report_file, planfile)):
        scope = session.load(configs, state, targets, excludes)
        outputs = {"--report": report_file, "--markdown": markdown_file}
        files.check_outputs(outputs, [*scope.files, *([planfile] if planfile else [])])
        approved = files.read_plan(planfile) if planfile is not None else None
        if approved is None and not auto_approve and (as_json or not terminal.interactive):
            raise UsageError(
                "This apply has no approval",
                "Approval needs a terminal, a saved plan or `--auto-approve`; with `--json`, one of the last two."
                " Nothing was sent.",
            )
        access = network.access(proxy)
        run = _Run(
            terminal=terminal,
            scope=scope,
            access=access,
            rules=rules(settle, access.endpoint),
            approved=approved,
            auto_approve=auto_approve,
            refresh=not no_refresh,
            parallelism=parallelism or _at_once(scope.state_file),
            overridden=overridden,
            as_json=as_json,
            report=Path(report_file) if report_file is not None else None,
            markdown=Path(markdown_file) if markdown_file is not None else None,
            key=key,
        )
        ci.problems(terminal, scope.config.warnings, scope.config.sources)
        code = _locked(run, lock_timeout, store_timeout)
    if not wait or code not in {Exit.DONE, Exit.INCOMPLETE}:
        return code
    return max(code, _wait(run, seconds), key=_SEVERITY.index)


def _at_once(state_file: Place) -> int:
    """How many requests are in flight, unless `--parallelism` says it."""
    return _AT_ONCE_ON_A_BRANCH if isinstance(state_file, Branch) else _AT_ONCE


def _locked(run: _Run, lock_timeout: float | None, store_timeout: float) -> Exit:
    """Apply with the state locked. A refused apply leaves no report."""
    try:
        with session.hold(
            run.terminal,
            run.scope.state_file,
            fresh=run.scope.fresh_state(run.access.endpoint),
            run=run.access.run,
            command="apply",
            timeout=lock_timeout,
            patience=store_timeout,
            overrides=run.overridden,
        ) as store:
            _forget_report(run)  # now that the state is read
            if run.approved is not None:
                check_approval(run.approved, store.state)
            return _apply(run, store)
    except BatchformError:
        _forget_report(run)
        raise


def _forget_report(run: _Run) -> None:
    """Remove the report of an earlier run, so that a refused or killed run leaves none."""
    if run.report is not None:
        files.remove(run.report)


def _apply(run: _Run, store: Store) -> Exit:
    recorded: list[Event] = []
    progress = (JsonProgress if run.as_json else TextProgress)(run.terminal, session.clock)

    def listen(events: Sequence[Event]) -> None:
        recorded.extend(events)
        progress.record(events)

    with session.connect(
        run.terminal,
        run.access,
        parallelism=run.parallelism,
        store=store,
        listen=listen,
        tick=progress.tick,
        tick_every=progress.every,
    ) as server:
        subject = run.scope.subject(run.access.endpoint, lambda: store.state)
        try:
            observed = observe(subject, server.engine, run.rules, session.clock.now(), refresh=run.refresh)
        finally:
            progress.end()
        made = _plan(run, store, observed)
        progress.planned(made)
        if server.engine.end is None:
            check_guards(made)
            if run.approved is None and not run.auto_approve and made.has_changes:
                with server.signals.asking():
                    is_approved = run.terminal.confirm(_question(made))
                if not is_approved:
                    raise RefusedError("Apply was not approved", "No batch was started.")
            if (long := length_warning(len(made.having(Action.START)), run.scope.state_file)) is not None:
                run.terminal.warn(long)
            progress.begin(len(made.having(Action.START)), server.pacer)
            carry_out(
                made,
                config=run.scope.config,
                state=store.state,
                observed=observed,
                engine=server.engine,
                rules=run.rules,
            )
        progress.end()
        result = report(made, recorded, server.engine.unrecorded, server.engine.end)
        unsaved = _commit(store)
        progress.report(result, run.scope.state_file)
        _publish(run, made, result)
        if unsaved is not None:
            ci.error(run.terminal, unsaved)
            return result.exit if result.exit >= Exit.UNKNOWN else unsaved.exit_code
        return result.exit


def length_warning(starts: int, place: Place) -> str | None:
    """The warning about a run at whose end the credentials of a store may have expired: they often last one hour."""
    minutes = starts * WINDOW / RATE_LIMIT / 60
    if not isinstance(place, Bucket) or minutes <= _LONG:
        return None
    return (
        f"This apply takes at least {minutes:.0f} minutes. If the credentials for {place} expire before its end,"
        " outcomes go to a file. Use credentials that last longer, or start fewer batches at once with `--target`."
    )


def _plan(run: _Run, store: Store, observed: Observed) -> Plan:
    made = plan(
        run.scope.config,
        store.state,
        observed,
        session.clock.now(),
        endpoint=str(run.access.endpoint),
        selected=run.scope.selected,
        overridden=run.overridden,
    )
    return approve(made, run.approved) if run.approved is not None else made


def _question(made: Plan) -> str:
    starts = made.having(Action.START)
    if not starts:
        return "Record these changes?\n  No batch is started, and nothing is spent."
    sizes = ", ".join(
        part for part in (stake(starts, told_by_author(starts)), credits_words(starts, made.rate)) if part
    )
    return f"Start {batches(len(starts))} ({sizes})?\n  A start spends credits and cannot be undone."


def _commit(store: Store) -> BatchformError | None:
    """Commit the state. Returns the error, so that the report is printed before it."""
    try:
        store.commit(session.clock.now())
    except BatchformError as error:
        return error
    return None


def _publish(run: _Run, made: Plan, result: Report) -> None:
    """Write the report and the comment, and the summary and outputs of a GitHub step."""
    if run.report is not None:
        _write(run, run.report, "report", json.dumps(report_document(result), indent=2) + "\n")
    if run.markdown is None and not ci.in_github():
        return
    from batchform.render.documents.report import report_summary  # noqa: PLC0415  # only for CI systems
    from batchform.render.markdown import STEP_SUMMARY, log_markdown, marker  # noqa: PLC0415  # the same
    from batchform.render.outcomes import closing_words, end_text, headline  # noqa: PLC0415  # the same
    from batchform.render.style import Style  # noqa: PLC0415  # the same
    from batchform.render.text.report import report_text  # noqa: PLC0415  # the same

    text = report_text(result, Style(color=False), state_path=str(run.scope.state_file))
    title = f"batchform apply: {'complete' if result.complete else 'incomplete'}"
    lead = closing_words(result)
    if run.markdown is not None:
        limit, head = ci.comment_limit(), marker("apply", run.key)
        origin = {"commit": ci.commit(), "link": ci.run_link()}
        comment = log_markdown(text, title=title, head=head, lead=lead, limit=limit, **origin)
        _write(run, run.markdown, "comment", comment)
    if result.exit is not Exit.DONE:
        why = f"\n{end_text(result.end, accepted=result.accepted)}" if result.end is not None else ""
        ci.mark_failed(run.terminal, headline(result).rstrip("."), lead + why)
    numbers = report_summary(result)
    starts, records = numbers[Result.STARTED.value], numbers["records_started"]
    shown = log_markdown(text, title=title, lead=lead, limit=STEP_SUMMARY // 2)
    flags = {"applyable": made.applyable, "changes": made.has_changes}
    ci.publish(run.terminal, shown, text, starts=starts, records=records, **flags)


def _write(run: _Run, file: Path, what: str, text: str) -> None:
    """Write a file about the starts. A failure must not change their exit code."""
    try:
        files.write(file, text)
    except OSError as error:
        run.terminal.warn(f"The {what} could not be written: {printable(str(file))}: {error.strerror}.")


def _wait(run: _Run, seconds: float) -> Exit:
    """Wait until no batch is processing. The lock is free meanwhile."""
    from batchform.cli.watching import Display, display_for, watch  # noqa: PLC0415  # only with --wait
    from batchform.render.documents.stream import waited_document  # noqa: PLC0415  # the same
    from batchform.render.text.status import status_text  # noqa: PLC0415  # the same

    display = Display() if run.as_json else display_for(run.terminal, as_json=False)
    access = replace(run.access, run=environment.new_run())
    waited = watch(run.terminal, run.scope, access, display, timeout=seconds)
    code = waited.signal or waited.snapshot.verdict
    if run.as_json:
        run.terminal.data(json.dumps(waited_document(waited.snapshot, exit_code=code)))
    else:
        run.terminal.data(f"\n{status_text(waited.snapshot, run.terminal.style)}")
    return code
