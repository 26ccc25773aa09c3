"""`batchform schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from batchform.config import schema
from batchform.errors import UsageError

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@click.argument("name", required=False)
@click.pass_obj
def command(terminal: Terminal, /, *, name: str | None) -> None:
    """Print a JSON Schema, or list the schemas.

    NAME is config, plan, state and so on. For an editor, write `batchform schema config > FILE`, and make
    `# yaml-language-server: $schema=FILE` the first line of the configuration.
    """
    known = {full.rpartition("-")[0]: full for full in schema.names()}
    if name is None:
        widest = max(map(len, known))
        terminal.data("\n".join(f"{short:{widest}}   {schema.load(full)['title']}" for short, full in known.items()))
        return
    if name not in known and name not in known.values():
        raise UsageError(f"There is no schema {name!r}", f"The schemas are: {', '.join(known)}.")
    terminal.data(schema.text(known.get(name, name)).rstrip("\n"))
