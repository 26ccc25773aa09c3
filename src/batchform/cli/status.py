"""`batchform status`: the progress of the declared batches, once or until they have ended."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from batchform.cli import ci, environment, network, session
from batchform.cli.options import Duration, config_option, proxy_option, state_option, timeout_option, wait_time
from batchform.errors import Exit, UsageError
from batchform.model import NOTHING_OBSERVED
from batchform.render.documents.status import status_document
from batchform.render.text.status import status_text
from batchform.status import snapshot

if TYPE_CHECKING:
    from batchform.cli.network import Access
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.cli.watching import Result
    from batchform.status import Snapshot


@click.command()
@click.argument("names", metavar="[NAME|ID]...", nargs=-1)
@config_option
@state_option
@click.option("--no-refresh", is_flag=True, help="Show the state without asking the server. Needs no token.")
@click.option("--watch", is_flag=True, help="Repeat until no batch is processing.")
@click.option(
    "--wait", is_flag=True, help="Like --watch. Exits 0 when all completed, 3 when some did not, 7 on timeout."
)
@timeout_option
@click.option(
    "--expiring",
    type=Duration(),
    metavar="DURATION",
    help="Only batches that expire within this time, such as 7d, or have expired.",
)
@click.option("--detailed-exitcode", is_flag=True, help="With --expiring: exit 2 when there is such a batch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch a line for each change.")
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    names: tuple[str, ...],
    configs: tuple[str, ...],
    state: str | None,
    no_refresh: bool,
    watch: bool,
    wait: bool,
    timeout: float | None,
    expiring: float | None,
    detailed_exitcode: bool,
    as_json: bool,
    proxy: str | None,
) -> int:
    """Show the progress of the declared batches. Writes nothing.

    NAME can be a glob such as 'uk-*', or label:key=value. Each refresh takes one list call.
    """
    if detailed_exitcode and expiring is None:
        raise UsageError("`--detailed-exitcode` needs `--expiring`", "Add a time, such as `--expiring 7d`.")
    if (watch or wait) and (no_refresh or expiring is not None):
        raise UsageError(
            "`--watch` and `--wait` read the account until no batch is processing",
            "Remove `--no-refresh` and `--expiring`, or remove `--watch` and `--wait`.",
        )
    scope = session.load(configs, state, names, option="")
    ci.problems(terminal, scope.config.warnings, scope.config.sources)
    if no_refresh:
        seen, signal = _offline(scope), None
    else:
        seconds = wait_time(timeout, wait=wait)
        result = _online(
            terminal,
            scope,
            network.access(proxy),
            timeout=seconds if wait else None if watch else 0.0,
            lines=watch or (wait and not as_json),
            as_json=as_json,
        )
        seen, signal = result.snapshot, result.signal
    only = seen.expiring(timedelta(seconds=expiring)) if expiring is not None else None
    ci.summarise(terminal, "status", lambda style: status_text(seen, style, only=only))
    if signal is not None or not (watch and as_json):  # the lines of the watch have the last status already
        if as_json:
            terminal.data(json.dumps(status_document(seen, only=only), indent=2))
        else:
            terminal.data(status_text(seen, terminal.style, only=only))
    if signal is not None:
        return signal
    if wait:
        return seen.verdict
    return Exit.CHANGES if only and detailed_exitcode else Exit.DONE


def _offline(scope: Scope) -> Snapshot:
    """The status by the state file."""
    known = session.known(scope, None).state
    endpoint = known.endpoint if known is not None else str(environment.endpoint())
    return snapshot(
        scope.config, known, NOTHING_OBSERVED, session.clock.now(), endpoint=endpoint, selected=scope.selected
    )


def _online(
    terminal: Terminal, scope: Scope, access: Access, *, timeout: float | None, lines: bool, as_json: bool
) -> Result:
    """The status by the server. `lines`: show each round."""
    from batchform.cli.watching import Display, display_for, watch  # noqa: PLC0415  # --no-refresh needs no network

    session.known(scope, access.endpoint)
    display = display_for(terminal, as_json=as_json) if lines else Display()
    return watch(terminal, scope, access, display, timeout=timeout)
