"""`batchform plan`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform import __version__
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
from batchform.errors import BatchformError, Exit, StateError
from batchform.model import NOTHING_OBSERVED
from batchform.plan import Notice, Plan, blocked, plan
from batchform.render.documents.plan import plan_document, summary
from batchform.render.text.plan import notices_text, plan_text

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
    as_json: bool,
    detailed_exitcode: bool,
    overridden: tuple[GuardName, ...],
    settle: float,
    proxy: str | None,
) -> int:
    """Show what apply would do.

    Compares the configuration with the state file. Without --refresh it needs no token and no network. It takes no
    lock, and writes only the files that you name.
    """
    scope = session.load(configs, state, targets, excludes)
    outputs = {"--out": out, "--markdown": markdown_file, "--gitlab-report": gitlab_report}
    files.check_outputs(outputs, scope.files)
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
    if base is not None:
        made = replace(made, notices=(*_since(base, configs), *made.notices))
    drift = _drift(scope, known.state, made) if refresh else ()
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
        _publish(terminal, scope, made, markdown_file, key=_key(scope, configs))
    if gitlab_report is not None:
        from batchform.render import gitlab  # noqa: PLC0415  # only with the option

        _save(gitlab_report, json.dumps(gitlab.gitlab_report(made)) + "\n")
    if not made.applyable:
        return Exit.REFUSED
    return Exit.CHANGES if detailed_exitcode and (made.has_changes or blocked(made, scope.config)) else Exit.DONE


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
        text = f"The base cannot be loaded, so changed guards, holds and batch_ids are not shown: {error.summary}."
        return (Notice(text=text),)
    return since(found, load(configs))


def _key(scope: Scope, configs: tuple[str, ...]) -> str:
    """The key of the comment. Other plans on the same pull request have other keys."""
    text = "\0".join([scope.config.service.value, *sorted(configs), str(scope.state_file)])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def _publish(terminal: Terminal, scope: Scope, made: Plan, markdown_file: str | None, *, key: str) -> None:
    """Write the comment, and the summary and outputs of a GitHub step."""
    from batchform.render import markdown  # noqa: PLC0415  # only for CI systems
    from batchform.render.style import Style  # noqa: PLC0415  # the same

    labels = {batch.batch_id: batch.labels for batch in scope.config.batches}
    if markdown_file is not None:
        limit = markdown.GITLAB_COMMENT if os.environ.get("GITLAB_CI") else markdown.GITHUB_COMMENT
        _save(markdown_file, markdown.plan_markdown(made, key=key, limit=limit, labels=labels, link=ci.run_link()))
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
    )


def _save(file: str, text: str) -> None:
    try:
        files.write(Path(file), text)
    except OSError as error:
        raise StateError("The plan cannot be saved", f"{file}: {error.strerror}.") from error
