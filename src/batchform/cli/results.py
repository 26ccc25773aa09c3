"""`batchform results`: the results of ended batches as files, or their statistics."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.cli import ci, network, result_files, session
from batchform.cli.options import config_option, json_option, proxy_option, state_option, timeout_option, wait_time
from batchform.cli.result_files import Format, path_of
from batchform.cli.terminal import Waiting
from batchform.cli.watching import Display, display_for, watch
from batchform.engine import Interrupted
from batchform.errors import Exit, UsageError
from batchform.fetch import ENDED, IN_FLIGHT, Fetched, Kind, fetch, verdict
from batchform.render.documents.results import results_document
from batchform.render.text.results import results_text, warning_text
from batchform.render.words import batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchform.api.results import Results
    from batchform.cli.network import Access
    from batchform.cli.session import Scope
    from batchform.cli.terminal import Terminal
    from batchform.engine import End
    from batchform.status import Snapshot, Standing


@click.command()
@click.argument("names", metavar="[NAME|ID]...", nargs=-1)
@config_option
@state_option
@click.option(
    "--out", metavar="FOLDER", help="Write a file for each batch into this folder, which git must not commit."
)
@click.option(
    "--format",
    "form",
    type=click.Choice([one.value for one in Format]),
    help="The format of the files. Default: jsonl, one item a line as the server gave it.",
)
@click.option("--all-fields", is_flag=True, help="Ask for the metadata of each item, too.")
@click.option("--force", is_flag=True, help="Fetch results again whose file exists.")
@click.option("--stats", is_flag=True, help="Print only the statistics. Writes nothing.")
@click.option("--wait", is_flag=True, help="Wait for batches that are processing. Exits 7 on timeout.")
@timeout_option
@json_option
@proxy_option
@click.pass_obj
def command(
    terminal: Terminal,
    /,
    *,
    names: tuple[str, ...],
    configs: tuple[str, ...],
    state: str | None,
    out: str | None,
    form: str | None,
    all_fields: bool,
    force: bool,
    stats: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    proxy: str | None,
) -> int:
    """Write the results of completed and stopped batches as files.

    NAME can be a glob such as 'uk-*', or label:key=value. Without it, all declared batches count. A file that exists is
    kept. The files hold personal data: only their owner can read them. Changes neither the account nor the state.
    """
    if (out is None) != stats:
        raise UsageError(
            "Results need a folder", "Give either `--out FOLDER` or `--stats`. Nothing was sent or written."
        )
    if stats and (form or all_fields or force):
        raise UsageError(
            "`--stats` writes no files", "Remove `--format`, `--all-fields` and `--force`. Nothing was sent."
        )
    seconds = wait_time(timeout, wait=wait)
    scope = session.load(configs, state, names, option="")
    ci.problems(terminal, scope.config.warnings, scope.config.sources)
    folder, chosen = None if out is None else Path(out), Format(form or Format.JSONL)
    if folder is not None:
        result_files.check_format(chosen)
        known = [one.name for one in scope.config.batches if scope.selected is None or one.batch_id in scope.selected]
        result_files.prepare(folder, known, chosen, scope.files)
    access = network.access(proxy)
    session.known(scope, access.endpoint)
    display = display_for(terminal, as_json=False) if wait else Display()
    seen = watch(terminal, scope, access, display, timeout=seconds if wait else 0.0)
    if seen.signal is not None:
        return seen.signal
    found, end = _fetch(
        terminal, scope, access, seen.snapshot, _Files(folder, chosen, force=force, all_fields=all_fields)
    )
    for one in found:
        if warning := warning_text(one):
            terminal.warn(warning)
    if as_json:
        terminal.data(json.dumps(results_document(seen.snapshot, found), indent=2))
    else:
        terminal.data(results_text(found, terminal.style))
    if isinstance(end, Interrupted):
        return Exit(128 + end.signum)
    if end is not None:
        raise session.error_of(end)
    return verdict(found, seen.snapshot, waited=wait)


class _Files:
    """The files of this command. Without a folder, none."""

    def __init__(self, folder: Path | None, form: Format, *, force: bool, all_fields: bool) -> None:
        self._folder, self._form, self._force = folder, form, force
        self.all_fields = all_fields

    def kept(self, batch: Standing) -> str:
        """The file of a batch that is not written again; empty if there is none."""
        if self._folder is None or self._force:
            return ""
        path = path_of(self._folder, batch.change.name, self._form)
        return str(path) if os.path.lexists(path) else ""

    @property
    def take(self) -> Callable[[Standing, Results], str] | None:
        """Writes the file of a batch and returns its name."""
        return None if self._folder is None else self._write

    def _write(self, batch: Standing, results: Results) -> str:
        assert self._folder is not None  # `take`
        path = path_of(self._folder, batch.change.name, self._form)
        result_files.write(path, self._form, results)
        return str(path)


def _fetch(
    terminal: Terminal, scope: Scope, access: Access, snapshot: Snapshot, files: _Files
) -> tuple[list[Fetched], End | None]:
    """Fetch what is not there yet. Returns it with all other batches, by name, and why the run ended early."""
    kept = {one.change.batch_id: file for one in snapshot.having(*ENDED) if (file := files.kept(one))}
    wanted = [one for one in snapshot.having(*ENDED) if one.change.batch_id not in kept]
    waiting = Waiting(terminal, f"Reading the results of {batches(len(wanted))} ...")
    with session.connect(terminal, access, parallelism=IN_FLIGHT, tick=waiting.tick, tick_every=1.0) as server:
        fetched = fetch(scope.config.service, wanted, server.engine, files.take, metadata=files.all_fields)
        end = server.engine.end
    found = []
    for one in snapshot.standings:
        batch_id = one.change.batch_id
        if batch_id in kept:
            found.append(Fetched(standing=one, kind=Kind.KEPT, file=kept[batch_id]))
        else:
            found.append(fetched.get(batch_id) or Fetched(standing=one, kind=Kind.UNFINISHED))
    return found, end
