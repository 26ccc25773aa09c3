"""`batchform demo`: from plan to results on this machine, in real processes, with one batch of each kind."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform.errors import BatchformError, Exit
from batchform.render.escape import printable

if TYPE_CHECKING:
    from batchform.cli.terminal import Terminal

_TOKEN = "demo-token-that-opens-nothing"  # noqa: S105  # the simulator's

_FAST = 100_000.0
"""The simulator's speed when the batches have been started: every batch ends at once."""

_BATCHES = """\
version: 1
batches:
  new-customers:                # new
    batch_id: 0d1e0001-new
    labels: {region: uk}
    records: 9800
  started-in-console:           # a colleague started it in the web console
    batch_id: 0d1e0002-elsewhere
  last-quarter:                 # older than 28 days, can no longer be started
    batch_id: 0d1e0003-expired
  cut-short:                    # stopped by the server
    batch_id: 0d1e0004-stopped
  flaky-service:                # the first start gets 503, the second works
    batch_id: 0d1e0005-flaky
  lost-answer:                  # the server starts it, but the answer is lost
    batch_id: 0d1e0006-lost
  not-yet:                      # on hold
    batch_id: 0d1e0007-held
    hold: true
"""


def _world() -> dict[str, object]:
    return {
        "token": _TOKEN,
        "batches": {
            "0d1e0001-new": {"records": 9800, "age": "2d"},
            "0d1e0002-elsewhere": {"records": 4200, "age": "5d", "status": "processing"},
            "0d1e0003-expired": {"records": 7000, "age": "30d"},
            "0d1e0004-stopped": {"records": 1500, "age": "9d", "status": "stopped"},
            "0d1e0005-flaky": {"records": 800, "age": "26d"},
            "0d1e0006-lost": {"records": 6100, "age": "1d"},
            "0d1e0007-held": {"records": 10000, "age": "3d"},
        },
        "faults": [
            {"operation": "start", "batch": "0d1e0005-flaky", "fault": "answer", "status": 503, "body": "html"},
            {"operation": "start", "batch": "0d1e0006-lost", "fault": "drop", "act": True},
        ],
    }


@click.command()
@click.pass_obj
def command(terminal: Terminal, /) -> int:
    """Show the whole loop with the simulator, without a token: plan, start, wait, charges, results.

    Creates a new folder and keeps it.
    """
    from batchform.simulator import from_values, serve  # noqa: PLC0415  # only here

    folder = Path(tempfile.mkdtemp(prefix="batchform-demo-"))
    (folder / "batchform.yaml").write_text(_BATCHES, encoding="utf-8")
    world = from_values(_world())
    with serve(world) as url:
        shell = _Shell(terminal, folder, url)
        shell.say(f"A simulator of the vendor's server listens on {url}.", f"The demo works in {folder}.")
        shell.show("cat", "batchform.yaml")
        shell.run("plan", expect=Exit.DONE)
        shell.say(
            "This plan is based on the file only.",
            "Apply reads the account first, then starts batches.",
            "--settle is shorter here than the real service needs.",
            "That is allowed only with a simulator.",
        )
        shell.run("apply", "--auto-approve", "--settle", "2s", expect=Exit.INCOMPLETE)
        shell.say(
            "Exit code 3: two batches are blocked; `hold: true` would accept that.",
            "For the lost answer, batchform read the status and found the batch started.",
            "Nothing was started twice.",
            "The next plan has no changes:",
        )
        shell.run("plan", "--refresh", expect=Exit.DONE)
        world.speed = _FAST
        shell.say("The simulator is fast now, so the batches end. Wait for them. Exit code 3: two did not complete.")
        shell.run("status", "--wait", expect=Exit.INCOMPLETE)
        shell.say("What did they really cost?")
        shell.run("refresh", "--credits", expect=Exit.DONE)
        shell.say("And what came out? The files hold phone numbers, so only you can read them.")
        shell.run("results", "new-customers", "lost-answer", "cut-short", "--out", "results", expect=Exit.DONE)
    twice = [batch for batch, count in world.accepted.items() if count > 1]
    if twice or sum(world.accepted.values()) != 3:
        raise BatchformError("The demo found a bug in batchform", f"Starts by batch: {dict(world.accepted)}.")
    shell.say(
        f"The simulator counts {sum(world.accepted.values())} accepted starts, none of them twice.",
        f"The files are in {printable(str(folder))}: the state is batchform.state.json, the results are in results.",
    )
    return Exit.DONE


class _Shell:
    """Runs commands in the folder of the demo."""

    def __init__(self, terminal: Terminal, folder: Path, url: str) -> None:
        self._terminal, self._folder = terminal, folder
        # Other credentials, limits or a state of the user would change what the demo does.
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("BATCHFORM_") or name == "BATCHFORM_LOG"
        }
        self._environment |= {"BATCHFORM_ENDPOINT": url, "BATCHFORM_AUTH_TOKEN": _TOKEN}

    def say(self, *sentences: str) -> None:
        """Print an explanation."""
        self._terminal.data("")
        self._terminal.say(*sentences)

    def show(self, *words: str) -> None:
        """Print a file like `cat`."""
        self._prompt(words)
        self._terminal.data((self._folder / words[-1]).read_text(encoding="utf-8").rstrip())

    def run(self, *words: str, expect: Exit) -> None:
        """Run batchform.

        Raises:
            BatchformError: It has an unexpected exit code.
        """
        self._prompt(("batchform", *words))
        command = [sys.executable, "-m", "batchform", *words]
        code = subprocess.run(command, cwd=self._folder, env=self._environment, check=False).returncode  # noqa: S603  # batchform itself
        if code != expect:
            raise BatchformError("The demo failed", f"{shlex.join(words)} exited {code}.")

    def _prompt(self, words: tuple[str, ...]) -> None:
        self._terminal.data("\n" + self._terminal.style.bold(f"$ {shlex.join(words)}"))
