"""`batchform plan`."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform import __version__
from batchform.approval import narrow, too_large
from batchform.cli import ci, environment, files, session
from batchform.cli.options import (
    config_option,
    exclude_option,
    json_option,
    override_option,
    proxy_option,
    refresh_option,
    settle_option,
    state_option,
    target_option,
)
from batchform.errors import BatchformError, ConfigError, Exit, Severity, StateError
from batchform.model import NOTHING_OBSERVED
from batchform.plan import Notice, Plan, blocked
from batchform.planner import plan
from batchform.render.documents.plan import plan_document, summary
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.words import batches, blocked_by_guard, next_step

if TYPE_CHECKING:
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.drift import Drift
    from batchform.model import GuardName
    from batchform.state.known import State


@click.command()
@config_option
@state_option
@target_option
@exclude_option
@refresh_option
@click.option("--out", metavar="FILE", help="Save the plan, as an approval for `apply FILE`.")
@click.option("--markdown", "markdown_file", metavar="FILE", help="Write the plan as a comment for a pull request.")
@click.option("--gitlab-report", metavar="FILE", help="Write the numbers for GitLab's Terraform report.")
@click.option(
    "--base",
    metavar="FILE|FOLDER",
    help="Warn of guards, holds and batch_ids that differ from this configuration, such as the target branch's.",
)
@click.option(
    "--approved",
    "approved_file",
    metavar="PLANFILE",
    help="Start no more than this saved plan offers, such as the one that a pull request showed.",
)
@json_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes or blocked batches, else 0.")
@override_option
@settle_option
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    configs: tuple[str, ...],
    state: str | None,
    targets: tuple[str, ...],
    excludes: tuple[str, ...],
    refresh: bool,
    out: str | None,
    markdown_file: str | None,
    gitlab_report: str | None,
    base: str | None,
    approved_file: str | None,
    as_json: bool,
    detailed_exitcode: bool,
    overridden: tuple[GuardName, ...],
    settle: float,
    proxy: str | None,
) -> int:
    """Show what apply would do.

    Compares the configuration with the state. Without --refresh it needs no token, and no network for a state file. It
    takes no lock, and writes only the files that you name.
    """
    key = ci.key(configs, state)
    others = (out, gitlab_report, approved_file)
    with ci.comment_of_failure(markdown_file, "plan", configs, state, others):
        scope = session.load(configs, state, targets, excludes)
        outputs = {"--out": out, "--markdown": markdown_file, "--gitlab-report": gitlab_report}
        files.check_outputs(outputs, [*scope.files, *filter(None, (base, approved_file))])
        approved = files.read_plan(approved_file) if approved_file is not None else None
        ci.problems(terminal, scope.config.warnings, scope.config.sources)
        endpoint = environment.endpoint()
        known = session.known(scope, endpoint if refresh else None)
        now_known, observed = known.state, NOTHING_OBSERVED
        if refresh:
            refreshed, observed = session.refresh(terminal, scope, known.state, settle, proxy)
            now_known = refreshed if known.state is not None else None
        made = plan(
            scope.config,
            now_known,
            observed,
            session.clock.now(),
            endpoint=known.state.endpoint if known.state is not None else str(endpoint),
            selected=scope.selected,
            overridden=overridden,
        )
        drift = _drift(scope, known.state, made) if refresh else ()
        if approved is not None:
            made = narrow(made, approved)
        if base is not None:
            made = replace(made, notices=(*_since(base, configs), *made.notices))
        document = json.dumps(plan_document(made, version=__version__, drift=drift), indent=2) if as_json or out else ""
        if out is not None:
            _save(out, document + "\n")
        if as_json:
            terminal.data(document)
        else:
            text = plan_text(made, terminal.style, recovered=known.leftover, drift=drift)
            terminal.data(ci.grouped(text, "Batches", session.clock.now()))
        if notices := notices_text(made, terminal.message_style):
            terminal.message(notices)
        if markdown_file is not None or ci.in_github():
            recorded = bool(known.leftover) or now_known != known.state
            _publish(terminal, scope, made, markdown_file, key=key, changes=made.has_changes or recorded)
        if gitlab_report is not None:
            from batchform.render import gitlab  # noqa: PLC0415  # only with the option

            _save(gitlab_report, json.dumps(gitlab.gitlab_report(made)) + "\n")
    return _exit(terminal, made, differs=detailed_exitcode and (made.has_changes or bool(blocked(made, scope.config))))


def _exit(terminal: Terminal, made: Plan, *, differs: bool) -> Exit:
    """The exit code. `differs`: something is not as declared, and the user asked for that."""
    if not made.applyable:
        ci.mark_failed(terminal, "A guard blocks this plan", blocked_by_guard(made))
        return Exit.REFUSED
    if (left_out := too_large(made)) and not made.has_changes:
        what = f"{batches(len(left_out))} larger than approved, and nothing else to do"
        ci.error(terminal, BatchformError("The plan starts nothing", f"{what}. {next_step(left_out[0])}"))
        return Exit.INCOMPLETE
    return Exit.CHANGES if differs else Exit.DONE


def _drift(scope: Scope, known: State | None, made: Plan) -> tuple[Drift, ...]:
    """Where the account differs from the state."""
    from batchform.drift import drift, known_plan  # noqa: PLC0415  # only with --refresh

    return drift(known_plan(scope.config, known, made, scope.selected), made)


def _since(base: str, configs: tuple[str, ...]) -> tuple[Notice, ...]:
    """The changes since the base that a reviewer must not miss. They never decide anything."""
    from batchform.config.loader import load  # noqa: PLC0415  # only with --base
    from batchform.drift import since  # noqa: PLC0415  # the same

    try:
        found = load([base])
    except BatchformError as error:
        problems = error.problems if isinstance(error, ConfigError) else ()
        why = next((one.summary for one in problems if one.severity is Severity.ERROR), error.summary)
        text = f"The base cannot be loaded, so changed guards, holds and batch_ids are not shown: {why}."
        return (Notice(text=text),)
    return since(found, load(configs))


def _publish(
    terminal: Terminal, scope: Scope, made: Plan, markdown_file: str | None, *, key: str, changes: bool
) -> None:
    """Write the comment, and the summary and outputs of a GitHub step. `changes`: an apply would record something."""
    from batchform.render import markdown  # noqa: PLC0415  # only for CI systems
    from batchform.render.style import Style  # noqa: PLC0415  # the same

    labels = {batch.batch_id: batch.labels for batch in scope.config.batches}
    if markdown_file is not None:
        limit, link, commit = ci.comment_limit(), ci.run_link(), ci.commit()
        comment = markdown.plan_markdown(made, key=key, limit=limit, labels=labels, link=link, commit=commit)
        _save(markdown_file, comment)
    step = "Merging" if os.environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request") else "Applying this plan"
    comment = markdown.plan_markdown(made, key=key, limit=markdown.STEP_SUMMARY // 2, step=step, labels=labels)
    text, numbers = plan_text(made, Style(color=False)), summary(made)
    ci.publish(
        terminal,
        comment,
        text,
        starts=numbers["start"],
        records=numbers["records_at_stake"],
        applyable=made.applyable,
        changes=changes,
    )


def _save(file: str, text: str) -> None:
    try:
        files.write(Path(file), text)
    except OSError as error:
        raise StateError("The plan cannot be saved", f"{file}: {error.strerror}.") from error
