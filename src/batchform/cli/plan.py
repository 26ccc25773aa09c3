"""`batchform plan`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchform import __version__
from batchform.cli import ci, environment, session
from batchform.cli.options import (
    config_option,
    override_option,
    selection_options,
    settle_option,
    state_option,
)
from batchform.errors import Exit, StateError, UsageError
from batchform.model import NOTHING_OBSERVED, GuardName
from batchform.plan import Plan, plan
from batchform.render.documents.plan import plan_document
from batchform.render.text.plan import notices_text, plan_text
from batchform.state.reader import read

if TYPE_CHECKING:
    from batchform.cli.session import Question
    from batchform.cli.terminal import Terminal
    from batchform.drift import Drift
    from batchform.state.known import State


@click.command()
@config_option
@state_option
@selection_options
@click.option("--refresh", is_flag=True, help="Ask the server what is actual. Needs the token; writes nothing.")
@click.option("--out", metavar="FILE", help="Save the plan, as an approval for `apply FILE`.")
@click.option("--markdown", metavar="FILE", help="Write the plan as a comment for a pull request.")
@click.option("--gitlab-report", metavar="FILE", help="Write the numbers for GitLab's Terraform report.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes, 0 only when there are none.")
@override_option
@settle_option
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Show what apply would do.

    Compares the configuration with the state file. Needs no token and no network, takes no lock and writes nothing,
    unless --refresh or --out asks for it.
    """
    asked = session.question(options["configs"], options["state"], options["targets"], options["excludes"])
    ci.problems(terminal, asked.config.warnings, asked.config.sources)
    looked = _make(terminal, asked, options)
    made = looked.plan
    if options["out"] is not None:
        _save(Path(options["out"]), _document(looked) + "\n")
    if options["as_json"]:
        terminal.data(_document(looked))
    else:
        text = plan_text(made, terminal.style, recovered=looked.leftover, drift=looked.drift)
        terminal.data(ci.grouped(text, "Batches", session.clock.now()))
    notices = notices_text(made, terminal.talk_style)
    if notices:
        terminal.talk(notices)
    _publish(terminal, asked, made, options)
    if not made.applyable:
        return Exit.REFUSED
    return Exit.CHANGES if options["detailed_exitcode"] and made.has_changes else Exit.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """The plan, where the account differs from what was known, and how many events of an unfinished run are in it."""

    plan: Plan
    drift: tuple[Drift, ...]
    leftover: int


def _document(made: _Made) -> str:
    return json.dumps(plan_document(made.plan, version=__version__, drift=made.drift), indent=2)


def _make(terminal: Terminal, asked: Question, options: dict[str, Any]) -> _Made:
    known = read(asked.state_file)
    where = environment.endpoint()
    session.check_belongs(known.state, asked.config, where if options["refresh"] else None)
    state, observed = known.state, NOTHING_OBSERVED
    if options["refresh"]:
        looked = session.look(terminal, asked, known.state, options["settle"])
        state, observed = looked.state, looked.observed
    made = plan(
        asked.config,
        state if known.state is not None else None,
        observed,
        session.clock.now(),
        endpoint=known.state.endpoint if known.state is not None else str(where),
        selected=asked.selected,
        overridden=tuple(GuardName(name) for name in options["overridden"]),
    )
    return _Made(plan=made, drift=_drift(asked, known.state, made, options), leftover=known.leftover)


def _drift(asked: Question, known: State | None, made: Plan, options: dict[str, Any]) -> tuple[Drift, ...]:
    """Where the account differs from what was known, if it was looked at."""
    if not options["refresh"]:
        return ()
    from batchform.drift import drift, known_plan  # noqa: PLC0415  # an offline plan does without

    return drift(known_plan(asked.config, known, made, asked.selected), made)


def _publish(terminal: Terminal, asked: Question, made: Plan, options: dict[str, Any]) -> None:
    """Tell the plan to whoever reads it elsewhere: a comment, a report, the CI system."""
    if options["markdown"] is None and options["gitlab_report"] is None and not ci.in_github():
        return
    from batchform.render import gitlab, markdown  # noqa: PLC0415  # only for those who ask for it
    from batchform.render.documents.plan import summary  # noqa: PLC0415  # the same
    from batchform.render.style import Style  # noqa: PLC0415  # the same

    question = "\0".join([made.service.value, *sorted(options["configs"]), str(asked.state_file)])
    key = hashlib.sha256(question.encode(errors="surrogateescape")).hexdigest()[:12]
    if options["markdown"] is not None:
        limit = markdown.GITLAB_COMMENT if os.environ.get("GITLAB_CI") else markdown.GITHUB_COMMENT
        _save(Path(options["markdown"]), markdown.plan_markdown(made, key=key, limit=limit))
    if options["gitlab_report"] is not None:
        _save(Path(options["gitlab_report"]), json.dumps(gitlab.gitlab_report(made)) + "\n")
    ci.summary(terminal, markdown.plan_markdown(made, key=key, limit=markdown.STEP_SUMMARY // 2), markdown.STEP_SUMMARY)
    ci.outputs(
        terminal,
        starts=str(summary(made)["start"]),
        records=str(summary(made)["records_at_stake"]),
        applyable=str(made.applyable).lower(),
        plan=plan_text(made, Style(color=False)),
    )


def _save(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    if path.is_dir():
        raise UsageError("The plan cannot be saved", f"{path} is a folder.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StateError("The plan cannot be saved", f"{path}: {error.strerror}.") from error
