"""`batchform validate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from batchform.cli.options import config_option
from batchform.config.loader import load
from batchform.errors import ConfigError, Exit, Severity
from batchform.render.documents import diagnostics_document

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@config_option
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(terminal: Terminal, *, configs: tuple[str, ...], form: str) -> int:
    """Check the configuration, all of it at once. Needs no token, no network and no state."""
    try:
        config = load(configs)
    except ConfigError as error:
        problems, found = error.problems, 0
    else:
        problems, found = config.warnings, len(config.batches)
    valid = all(problem.severity is not Severity.ERROR for problem in problems)
    if form == "json":
        terminal.data(json.dumps(diagnostics_document(problems), indent=2))
    else:
        terminal.problems(problems)
        if valid:
            terminal.data(f"The configuration is valid: {found} batches.")
    return Exit.DONE if valid else Exit.ERROR
