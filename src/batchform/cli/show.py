"""`batchform show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchform import __version__
from batchform.cli.files import read_plain
from batchform.cli.options import json_option
from batchform.errors import UsageError
from batchform.render.documents.plan import plan_document
from batchform.render.documents.saved import plan_from_document
from batchform.render.documents.state import state_document
from batchform.render.text.plan import notices_text, plan_text
from batchform.render.text.state import state_list_text
from batchform.state.disk import MAX_BYTES, paths
from batchform.state.reader import decoded, names

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal


@click.command()
@click.argument("file")
@json_option
@click.pass_obj
def command(terminal: Terminal, /, *, file: str, as_json: bool) -> None:
    """Show a saved plan or a state file. The content of FILE decides which."""
    data, document = _document(file)
    if "resource_changes" in document:
        made = plan_from_document(document)
        if as_json:
            terminal.data(json.dumps(plan_document(made, version=__version__), indent=2))
            return
        terminal.data(plan_text(made, terminal.style))
        notices = notices_text(made, terminal.message_style)
        if notices:
            terminal.message(notices)
        return
    state = decoded(names(paths(file)), data)
    terminal.data(json.dumps(state_document(state), indent=2) if as_json else state_list_text(state, terminal.style))


def _document(file: str) -> tuple[bytes, dict[str, Any]]:
    path = Path(file)
    try:
        if not path.is_file():
            raise UsageError("There is no such file", f"{file} is not a file.")
        data = read_plain(path, MAX_BYTES)
    except OSError as error:
        raise UsageError("The file cannot be read", f"{file}: {error.strerror}.") from error
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "format_version" not in document:
        raise UsageError("The file is neither a saved plan nor a state file", f"{file} has other content.")
    return data, document
