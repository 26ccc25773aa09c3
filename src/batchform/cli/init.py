"""`batchform init`: the files a configuration starts with. What is there already is never touched, only added to."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.cli.environment import DEFAULT_CONFIG, STATE_NAME
from batchform.config import schema
from batchform.errors import UsageError

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal

SCHEMA_NAME = "batchform.schema.json"
"""A copy beside the configuration: a modeline that names an address would need one that answers in ten years."""

IGNORED = tuple(f"*.state.json.{suffix}" for suffix in ("journal", "lock", "backup"))
"""What .gitignore is to hold. Not `*.lock`: that would hide the lock files of package managers from git."""

STARTER = f"""\
# yaml-language-server: $schema={SCHEMA_NAME}
#
# Which Experian Aperture bulk batches should be processing. What is written here is what `batchform apply` starts;
# `batchform plan` shows it first, and needs neither a token nor a network.
version: 1

# One service for each configuration: phone, email or address.
service: phone

# An apply that would pass a limit is refused before anything is sent.
guards:
  max_starts: 20
  max_records: 100000

# What the batches of this file share; a batch's own value wins.
defaults:
  labels: {{team: crm}}

batches:
  # The name is for people and may change freely. Rename this one, give it a real id, and remove `hold`.
  example:
    # The id that the create call (or the upload) returned. This is the batch's identity.
    batch_id: 00000000-0000-0000-0000-000000000000

    # Declared, deliberately not started. Without this line apply starts the batch, which spends credits.
    hold: true

    # All of these are optional:
    # description: November mobile refresh
    # labels: {{region: uk}}                  # for --target label:region=uk
    # records: 9800                         # what is at stake, before the server is asked
    # submitted_at: 2026-11-20T09:00:00Z    # lets a plan without the server see the 28-day deadline
    # not_before: 2026-12-01T06:00:00Z      # apply leaves the batch alone until then
    # reference_id: crm-4711                # sent with the start, to find it again in the account
"""

_NEXT = f"""\

Next:
  1. Declare your batches in {DEFAULT_CONFIG}: it says how.
  2. batchform validate
  3. batchform plan
  4. Commit {DEFAULT_CONFIG} and .gitignore; after the first apply, {STATE_NAME} too."""


@click.command()
@click.argument("folder", default=".", type=click.Path())
@click.pass_obj
def command(terminal: Terminal, *, folder: str) -> None:
    """Write a commented configuration to start from, and what belongs in .gitignore.

    In FOLDER, the current one when not given. Files that exist are never overwritten.
    """
    place = Path(folder)
    if not place.is_dir():
        raise UsageError("There is no such folder", f"{folder!r} is not a folder. Create it first.")
    told = [
        _create(place / DEFAULT_CONFIG, STARTER),
        _create(place / SCHEMA_NAME, schema.text("config-1")),
        _ignore(place / ".gitignore"),
    ]
    terminal.data("\n".join([*told, _NEXT]))


def _create(path: Path, text: str) -> str:
    """Write a new file; says what was done."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return f"  {path}   exists, left as it is"
    return f"  {path}   written"


def _ignore(path: Path) -> str:
    """Add the lines that are missing; says what was done."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "It is a folder", str(path))
    old = path.read_bytes() if path.exists() else b""
    present = {line.strip() for line in old.decode(errors="replace").splitlines()}
    missing = [line for line in IGNORED if line not in present and f"*.{line.rpartition('.')[2]}" not in present]
    if not missing:
        return f"  {path}   has what it needs, left as it is"
    gap = "" if not old or old.endswith(b"\n") else "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(gap + "".join(f"{line}\n" for line in ("# batchform: there only while a run works", *missing)))
    return f"  {path}   {len(missing)} lines {'added' if old else 'written'}"
