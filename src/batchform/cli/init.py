"""`batchform init`: the first files of a configuration. Existing files are kept; only .gitignore gets new lines."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.cli.environment import DEFAULT_CONFIG, SCHEMA_NAME, STATE_NAME
from batchform.config import schema
from batchform.errors import UsageError
from batchform.render.escape import printable
from batchform.render.layout import labelled, wrap

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal

IGNORED = tuple(f"*.state.json.{suffix}" for suffix in ("journal", "lock", "backup"))
"""The lines for .gitignore. `*.lock` would also ignore the lock files of package managers."""

STARTER = f"""\
# yaml-language-server: $schema={SCHEMA_NAME}
#
# The Experian Aperture bulk batches that should be processing. `batchform apply` starts them. `batchform plan` shows
# what apply would do, and needs no token and no network.
version: 1

# Each configuration is for one service: phone, email or address.
service: phone

# An apply that exceeds a limit is refused before anything is started.
guards:
  max_starts: 20
  max_records: 100000

# Defaults for the batches of this file. The value of a batch wins.
defaults:
  labels: {{team: crm}}

batches:
  # You can change the name at any time. Rename this one, set a real batch_id, and remove `hold`.
  example:
    # The id that the create call (or the upload) returned. It identifies the batch.
    batch_id: 00000000-0000-0000-0000-000000000000

    # On hold: not started. Without this line apply starts the batch, which spends credits.
    hold: true

    # Optional:
    # description: November mobile refresh
    # labels: {{region: uk}}                  # for --target label:region=uk
    # records: 9800                         # the size, for plans that do not ask the server
    # submitted_at: 2026-11-20T09:00:00Z    # the 28-day deadline, for plans that do not ask the server
    # not_before: 2026-12-01T06:00:00Z      # apply does not start the batch before
    # reference_id: crm-4711                # sent with the start, to find it in the account
"""

_NEXT = (
    f"Declare your batches in {DEFAULT_CONFIG}. Its comments explain how.",
    "Run `batchform validate`, then `batchform plan`.",
    f"Commit {DEFAULT_CONFIG}, {SCHEMA_NAME} and .gitignore.",
    f"After the first apply, also commit {STATE_NAME}.",
)


@click.command()
@click.argument("folder", default=".", type=click.Path())
@click.pass_obj
def command(terminal: Terminal, /, *, folder: str) -> None:
    """Write a first configuration with comments, its schema, and lines for .gitignore.

    FOLDER is the current folder by default. Existing files are never overwritten.
    """
    place = Path(folder)
    if not place.is_dir():
        raise UsageError("There is no such folder", f"{folder!r} is not a folder. Create it first.")
    files = {
        place / DEFAULT_CONFIG: _create(place / DEFAULT_CONFIG, STARTER),
        place / SCHEMA_NAME: _create(place / SCHEMA_NAME, schema.text("config-1")),
        place / ".gitignore": _ignore(place / ".gitignore"),
    }
    columns = terminal.style.columns
    lines = labelled([(printable(str(path)), done) for path, done in files.items()], terminal.style)
    for number, step in enumerate(_NEXT, start=1):
        lines += ["", "Next:"] if number == 1 else []
        lines += wrap(step, columns, first=f"  {number}. ", rest="     ")
    terminal.data("\n".join(lines))


def _create(path: Path, text: str) -> str:
    """Write a new file. Returns what was done."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return "exists, not changed"
    return "written"


def _ignore(path: Path) -> str:
    """Add the missing lines. Returns what was done."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "It is a folder", str(path))
    old = path.read_bytes() if path.exists() else b""
    present = {line.strip() for line in old.decode(errors="replace").splitlines()}
    missing = [line for line in IGNORED if line not in present and f"*.{line.rpartition('.')[2]}" not in present]
    if not missing:
        return "has these lines, not changed"
    added = ("# batchform: commit the state, not these files", *missing)
    gap = "" if not old or old.endswith(b"\n") else "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(gap + "".join(f"{line}\n" for line in added))
    return f"{len(added)} lines {'added' if old else 'written'}"
