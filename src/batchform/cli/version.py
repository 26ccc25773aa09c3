"""`batchform version`."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

import click

from batchform import __version__
from batchform.cli.options import json_option

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@json_option
@click.pass_obj
def command(terminal: Terminal, /, *, as_json: bool) -> None:
    """Show the version."""
    if as_json:
        document = {"batchform_version": __version__, "python_version": platform.python_version()}
        terminal.data(json.dumps(document, indent=2))
    else:
        terminal.data(f"batchform {__version__}")
