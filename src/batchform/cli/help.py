"""`batchform help`: the same as `--help` after a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from batchform.errors import UsageError

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@click.argument("names", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def command(context: click.Context, /, *, names: tuple[str, ...]) -> None:
    """Show the help of a command, such as `batchform help state merge`.

    Without a command, list all of them.
    """
    shown = context.find_root()
    for name in names:
        group = shown.command
        if not isinstance(group, click.Group):
            raise UsageError(f"`{shown.command_path}` has no commands", f"Try `{shown.command_path} --help`.")
        _, found, _ = group.resolve_command(shown, [name])
        assert found is not None  # else it raises
        shown = click.Context(found, info_name=name, parent=shown)
    terminal: Terminal = context.obj
    terminal.data(shown.get_help())
