"""`batchform status`: how far the declared batches are, once or until they have ended."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from batchform.cli import ci, environment, session
from batchform.cli.options import Duration, check_timeout, config_option, state_option, timeout_option
from batchform.errors import Exit, UsageError
from batchform.model import NOTHING_OBSERVED
from batchform.render.documents.status import status_document
from batchform.render.text.status import status_text
from batchform.state.reader import read
from batchform.status import snapshot

if TYPE_CHECKING:
    from batchform.cli.session import Question
    from batchform.cli.terminal import Terminal
    from batchform.cli.watching import Result
    from batchform.status import Snapshot


@click.command()
@click.argument("names", metavar="[NAME|ID]...", nargs=-1)
@config_option
@state_option
@click.option("--no-refresh", is_flag=True, help="Do not ask the server: tell what the state holds. Needs no token.")
@click.option("--watch", is_flag=True, help="Snapshot again until nothing is processing any more.")
@click.option("--wait", is_flag=True, help="The same, and the exit code tells how they ended: 0, 3, or 7 in time.")
@timeout_option
@click.option(
    "--expiring", type=Duration(), metavar="DURATION", help="Only what must be started within that time, such as 7d."
)
@click.option("--detailed-exitcode", is_flag=True, help="With --expiring: exit 2 when there is any.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch a line for each change.")
@click.pass_obj
def command(terminal: Terminal, /, **options: Any) -> int:
    """Show how far the declared batches are. Writes nothing.

    One list call a look. NAME may be a glob such as 'uk-*', or label:key=value.
    """
    _check(options)
    asked = session.named(session.question(options["configs"], options["state"]), options["names"])
    ci.problems(terminal, asked.config.warnings, asked.config.sources)
    if options["no_refresh"]:
        return _tell(terminal, _offline(asked), options)
    done = _ask(terminal, asked, options)
    if done.signal is not None:
        _tell(terminal, done.look, options)
        return done.signal
    if options["watch"] and options["as_json"]:
        return done.look.verdict if options["wait"] else Exit.DONE  # its lines have told it all
    code = _tell(terminal, done.look, options)
    return done.look.verdict if options["wait"] else code


def _check(options: dict[str, Any]) -> None:
    """Refuse what does not go together."""
    if options["detailed_exitcode"] and options["expiring"] is None:
        raise UsageError("--detailed-exitcode belongs to --expiring", "Say within what time: --expiring 7d.")
    again = options["watch"] or options["wait"]
    if again and (options["no_refresh"] or options["expiring"] is not None):
        raise UsageError(
            "--watch and --wait look at the account until all has ended",
            "They do not go with --no-refresh or --expiring.",
        )


def _offline(asked: Question) -> Snapshot:
    """What the state holds."""
    known = read(asked.state_file).state
    session.check_belongs(known, asked.config, None)
    endpoint = known.endpoint if known is not None else str(environment.endpoint())
    return snapshot(
        asked.config, known, NOTHING_OBSERVED, session.clock.now(), endpoint=endpoint, selected=asked.selected
    )


def _ask(terminal: Terminal, asked: Question, options: dict[str, Any]) -> Result:
    from batchform.cli.watching import Display, Watched, display_for, watch  # noqa: PLC0415  # --no-refresh does without

    endpoint = environment.endpoint()
    session.check_belongs(read(asked.state_file).state, asked.config, endpoint)
    again = options["watch"] or options["wait"]
    patience = check_timeout(options["timeout"], wait=options["wait"])
    timeout = patience if options["wait"] else None if options["watch"] else 0.0
    watched = Watched(
        asked=asked, endpoint=endpoint, token=environment.token(), run=environment.new_run(), timeout=timeout
    )
    is_log = options["watch"] or not options["as_json"]
    return watch(
        terminal, watched, display_for(terminal, as_json=options["as_json"]) if again and is_log else Display()
    )


def _tell(terminal: Terminal, seen: Snapshot, options: dict[str, Any]) -> int:
    within = options["expiring"]
    only = seen.expiring(timedelta(seconds=within)) if within is not None else None
    if options["as_json"]:
        terminal.data(json.dumps(status_document(seen, only=only), indent=2))
    else:
        terminal.data(status_text(seen, terminal.style, only=only))
    return Exit.CHANGES if only and options["detailed_exitcode"] else Exit.DONE
