"""`batchform validate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from batchform.cli import ci
from batchform.cli.options import config_option
from batchform.config.loader import load
from batchform.errors import ConfigError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batchform.cli.terminal import Terminal
    from batchform.errors import Problem
    from batchform.source_text import SourceText


@click.command()
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="text for people; json like `terraform validate -json`; github for workflow commands that mark the lines of a"
    " pull request.",
)
@click.pass_obj
def command(terminal: Terminal, /, *, configs: tuple[str, ...], form: str) -> int:
    """Check the whole configuration. Needs no token, no network and no state.

    DIAGNOSTICS.md explains each code with an example.
    """
    try:
        config = load(configs)
    except ConfigError as error:
        _show(terminal, form, error.problems, error.sources)
        return Exit.ERROR
    _show(terminal, form, config.warnings, config.sources)
    if form == "text":
        batches = "1 batch" if len(config.batches) == 1 else f"{len(config.batches):,} batches"
        terminal.data(f"The configuration is valid: {batches}.")
    return Exit.DONE


def _show(terminal: Terminal, form: str, problems: Sequence[Problem], sources: Mapping[str, SourceText]) -> None:
    """Print the problems: text to stderr, the other formats to stdout."""
    if form == "json":
        from batchform.render.documents.diagnostics import diagnostics_document  # noqa: PLC0415  # only for this format

        terminal.data(json.dumps(diagnostics_document(problems, sources), indent=2))
    elif form == "text":
        ci.problems(terminal, problems, sources)
    elif problems:
        terminal.data(ci.annotate(problems))
