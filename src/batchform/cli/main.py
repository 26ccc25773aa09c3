"""The `batchform` command, and the one place where errors become messages.

Each command is imported when it is called, so that `--help` and completion stay fast.
"""

from __future__ import annotations

import gc
import importlib
import keyword
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from batchform import __version__
from batchform.cli.terminal import Terminal
from batchform.errors import BatchformError, ConfigError, Exit

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "apply": "Start the declared batches that do not run yet.",
    "demo": "Show the whole loop with the simulator, without a token.",
    "doctor": "Check everything that a run depends on.",
    "help": "Show the help of a command.",
    "history": "Show what was spent: the runs of this state, or with --by the sums of what its batches cost.",
    "import": "Declare batches of the account that are not declared yet.",
    "init": "Write a first configuration with comments.",
    "plan": "Show what apply would do.",
    "refresh": "Read the account and record what changed. Starts nothing.",
    "results": "Write the results of completed and stopped batches as files.",
    "schema": "Print a JSON Schema, or list the schemas.",
    "show": "Show a saved plan or a state file.",
    "simulator": "Run a simulator of the vendor's server.",
    "state": "Show or repair the state.",
    "status": "Show the progress of the declared batches.",
    "validate": "Check the whole configuration.",
    "version": "Show the version.",
    "why": "Explain the decision for one batch.",
}


class _Commands(click.Group):
    """A group whose commands are in the modules of their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # the same
        if cmd_name not in _COMMANDS:
            return None
        suffix = "_" if keyword.iskeyword(cmd_name) else ""  # `import`
        module = importlib.import_module(f"batchform.cli.{cmd_name}{suffix}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant: click knows only the commands that are imported."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches  # noqa: PLC0415  # only for a wrong name

            from batchform.render.escape import printable  # noqa: PLC0415  # the same

            near = get_close_matches(name, _COMMANDS)
            hint = f" Did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else ""
            raise click.UsageError(f"There is no command `{printable(name, 40)}`.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names without importing the commands."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only for completion

        found = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # the same
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


_HELP = """Declare which bulk batches should be processing; plan, apply, and never pay for a start twice.

\b
First steps:
  batchform demo                    try it without a token
  batchform init                    write a first batchform.yaml
  batchform validate                check batchform.yaml
  batchform plan                    show what apply would do (needs no token)
  batchform apply                   start the batches

\b
Environment:
  BATCHFORM_AUTH_TOKEN              the token, or ...
  BATCHFORM_AUTH_TOKEN_FILE         ... a file that contains it
  BATCHFORM_CLIENT_ID, _SECRET      OAuth2 instead of the token (or ..._FILE)
  HTTPS_PROXY, NO_PROXY             the proxy; BATCHFORM_PROXY overrides it
  BATCHFORM_CA_BUNDLE               a certificate authority to trust as well
  BATCHFORM_ENDPOINT                the server (default: the vendor's)
  BATCHFORM_STATE                   the state file
  BATCHFORM_MAX_RECORDS, _STARTS    limits for one apply, besides the guards
  BATCHFORM_LOG=debug               log each request to stderr

Exit codes: 0 done; 1 error; 2 changes (--detailed-exitcode); 3 a batch was rejected, blocked, not attempted or
larger than approved; 4 an outcome is unknown; 5 locked by another run; 6 refused before anything was sent;
7 timeout of --wait; 129, 130 and 143 interrupted by a signal.
"""


@click.group(
    cls=_Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="batchform %(version)s")
def batchform() -> None:
    """Root command group."""


COLLECT_AFTER = 50_000
"""New objects between two runs of the garbage collector. With Python's 700, a plan of 100,000 is a third slower."""


def main() -> None:
    """Run the command line and exit. No input ends in a traceback."""
    gc.set_threshold(COLLECT_AFTER)
    try:
        terminal = Terminal()
        terminal.check_log()
        code = terminal.close(_guarded(terminal))
        if os.environ.get("GITHUB_OUTPUT"):
            from batchform.cli.ci import outputs  # noqa: PLC0415  # only on GitHub

            outputs(terminal, exitcode=str(int(code)))
        sys.exit(code)
    finally:
        gc.freeze()  # saves a last run of the garbage collector


def _guarded(terminal: Terminal) -> int:
    try:
        with click.Context(batchform).scope():
            code = batchform.main(standalone_mode=False, obj=terminal, prog_name="batchform")
    except ConfigError as error:
        from batchform.cli import ci  # noqa: PLC0415  # only when there are some

        ci.problems(terminal, error.problems, error.sources)
        ci.failed(terminal, error)
        return error.exit_code
    except BatchformError as error:
        return _show(terminal, error)
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # by name: an older click has no such class
            terminal.message(error.format_message())
            return Exit.ERROR
        context = getattr(error, "ctx", None)
        hint = f"Try `{context.command_path} --help`." if context is not None else ""
        return _show(terminal, BatchformError(error.format_message(), hint))
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for Ctrl-D, but a module could not be read
            return _show(terminal, _CUT_OFF)
        _show(terminal, BatchformError("Interrupted", "No request was in flight."))
        return Exit(128 + getattr(error.__cause__ or error, "signum", signal.SIGINT))
    except OSError as error:
        return _show(terminal, _unusable(error))
    except MemoryError:
        why = "Every recorded outcome is in the journal."
        return _show(terminal, BatchformError("This system has no more memory", why))
    except Exception as error:  # noqa: BLE001  # a bug becomes a message here
        if (outdated := _outdated()) is not None:
            return _show(terminal, outdated)
        from batchform.cli import ci  # noqa: PLC0415  # the same

        ci.failed(terminal, terminal.bug(error))
        return Exit.ERROR
    return int(code) if code is not None else Exit.DONE


_CUT_OFF: Final = BatchformError(
    "This installation is damaged",
    "A compiled file in one of its `__pycache__` folders is cut off, for example because the disk was full. Delete"
    " these folders, then run the command again.",
)


def _unusable(error: OSError) -> BatchformError:
    """The error for a file that could not be used, or for the current folder, which may be gone."""
    try:
        Path.cwd()
    except OSError as gone:
        return BatchformError(
            "The current folder cannot be used",
            f"{gone.strerror}: it may have been deleted or moved. Change to a folder that exists.",
        )
    name = f"{error.filename}: " if error.filename else ""
    return BatchformError("A file could not be used", f"{name}{error.strerror}.")


def _show(terminal: Terminal, error: BatchformError) -> Exit:
    from batchform.cli import ci  # noqa: PLC0415  # only when there is one

    ci.error(terminal, error)
    return error.exit_code


def _outdated() -> BatchformError | None:
    """The error for a library that is older than this version needs, or missing. None if all of them fit."""
    from importlib import metadata  # noqa: PLC0415  # only after a failure

    try:
        needed = [re.fullmatch(r"([\w.-]+)>=([\d.]+)", one) for one in metadata.requires("batchform") or ()]
    except metadata.PackageNotFoundError:
        return None
    for found in filter(None, needed):
        name, floor = found.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "0"
        if _numbers(version) < _numbers(floor):
            present = "it is missing" if version == "0" else f"version {version} is installed"
            return BatchformError("A library is too old", f"batchform needs {name} {floor} or newer, but {present}.")
    return None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
