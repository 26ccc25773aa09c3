"""The `batchform` command and its one error boundary.

Commands are imported when they are called: start-up time is a feature, and `--help` needs none of them.
"""

from __future__ import annotations

import gc
import importlib
import keyword
import os
import sys
from typing import TYPE_CHECKING

import click

from batchform import __version__
from batchform.cli.terminal import Terminal
from batchform.errors import BatchformError, ConfigError, Exit

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "apply": "Start what the configuration asks for and the account lacks.",
    "demo": "See plan and apply at work against the simulator, without a token.",
    "history": "Show what this state ever spent, run by run.",
    "import": "Declare batches that the account has and the configuration lacks.",
    "init": "Write a commented configuration to start from.",
    "plan": "Show what apply would do. Sends nothing unless asked to look.",
    "refresh": "Look at the account and record what is seen. Starts nothing.",
    "schema": "Print a JSON Schema, for editors and other programs.",
    "show": "Show a saved plan or a state file.",
    "simulator": "Run a stand-in for the vendor's server.",
    "state": "Look into the state, or mend it.",
    "status": "Show how far the declared batches are, once or until they have ended.",
    "validate": "Check the configuration, all of it at once.",
    "version": "Show the version.",
    "why": "Tell what would be done with one batch, and why.",
}


class _Commands(click.Group):
    """The commands, each in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # the same
        if cmd_name not in _COMMANDS:
            return None
        suffix = "_" if keyword.iskeyword(cmd_name) else ""  # `import`
        module = importlib.import_module(f"batchform.cli.{cmd_name}{suffix}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so. Whoever presses the tab key waits for no module of theirs."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only there

        found = [CompletionItem(name, help=told) for name, told in _COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # the same
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


_HELP = """Declare which bulk batches should be processing; plan, apply, and never pay for a start twice.

\b
First steps:
  batchform demo                    see it at work, without a token
  batchform init                    write a batchform.yaml to start from
  batchform validate                check batchform.yaml
  batchform plan                    what would be done (needs no token and no network)
  batchform apply                   do it

\b
Environment:
  BATCHFORM_AUTH_TOKEN              the token, or ...
  BATCHFORM_AUTH_TOKEN_FILE         ... the file that holds it
  BATCHFORM_ENDPOINT                where to send (default: the vendor's)
  BATCHFORM_STATE                   the state file
  BATCHFORM_LOG=debug               a line on stderr for each request

Exit codes: 0 done; 1 error; 2 changes (--detailed-exitcode); 3 something was rejected, blocked or not attempted;
4 an outcome is unknown; 5 locked by another run; 6 refused before anything was sent; 7 --wait ran out of time; 129,
130 and 143 interrupted.
"""


@click.group(
    cls=_Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="batchform %(version)s")
def batchform() -> None:
    """Carry the commands; each does its own work."""


COLLECT_AFTER = 50_000
"""New objects before the garbage collector looks for cycles. Python's 700 make a plan of 100,000 a third slower."""


def main() -> None:
    """Run the command line and exit. Nothing a user can cause ends in a traceback."""
    gc.set_threshold(COLLECT_AFTER)
    try:
        terminal = Terminal()
        code = terminal.close(_guarded(terminal))
        if os.environ.get("GITHUB_OUTPUT"):
            from batchform.cli.ci import outputs  # noqa: PLC0415  # only where somebody reads them

            outputs(terminal, exitcode=str(int(code)))
        sys.exit(code)
    finally:
        gc.freeze()  # else the interpreter looks through all of it once more before it throws it away


def _guarded(terminal: Terminal) -> int:
    try:
        with click.Context(batchform).scope():
            code = batchform.main(standalone_mode=False, obj=terminal, prog_name="batchform")
    except ConfigError as error:
        from batchform.cli.ci import problems  # noqa: PLC0415  # only when there are some

        problems(terminal, error.problems, error.sources)
        return error.exit_code
    except BatchformError as error:
        terminal.error(error)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.talk(error.format_message())
        return Exit.ERROR
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"Try `{context.command_path} --help`." if context is not None else ""
        terminal.error(BatchformError(error.format_message(), hint))
        return Exit.ERROR
    except (click.Abort, KeyboardInterrupt):
        terminal.error(BatchformError("Interrupted", "Nothing was under way."))
        return Exit.INTERRUPTED
    except OSError as error:
        terminal.error(BatchformError("A file could not be used", f"{error.filename or ''}: {error.strerror}."))
        return Exit.ERROR
    except Exception as error:  # noqa: BLE001  # the one place where a bug becomes a message instead of a traceback
        terminal.bug(error)
        return Exit.ERROR
    return int(code) if code is not None else Exit.DONE
