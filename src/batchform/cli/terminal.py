"""Standard output for data, standard error for messages. A failure to print never changes what a command does.

Colour depends on, in this order: NO_COLOR, FORCE_COLOR or CLICOLOR_FORCE, TERM=dumb, whether it is a terminal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

from batchform.errors import BatchformError, Exit
from batchform.render.style import PROSE, Style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.api.secret import Redactor

_LONG: Final = 8
"""A shorter secret could be part of any word."""

_LEAST: Final = 40
"""A terminal with fewer columns is treated like one with these."""

_APPROVE: Final = "  Only 'yes' will be accepted to approve."

LOG_EVERY: Final = 10.0
"""Seconds between two messages in a log while a command waits."""


def in_ci() -> bool:
    """Whether this is a CI job: prompts get no answer, and logs are kept."""
    return any(os.environ.get(name) for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI"))


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour the output to this stream."""
    environ = os.environ
    if environ.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environ.get(name):
            return environ[name] != "0"
    return environ.get("TERM") != "dumb" and stream.isatty()


def columns_of(stream: TextIO) -> int:
    """The width for this stream: COLUMNS, else that of the terminal, else that of a log."""
    given = os.environ.get("COLUMNS", "")
    if re.fullmatch("[1-9][0-9]{0,3}", given, re.ASCII):
        return max(int(given), _LEAST)
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        found = 0
    return max(found, _LEAST) if found else PROSE  # some terminals do not say their width


def _open_closed_streams() -> None:
    """Open closed standard streams (`>&-`) on the null device, so that no file or socket gets their numbers."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # they stay open
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same


def _wrapped(line: str, style: Style) -> str:
    from batchform.render.layout import wrap  # noqa: PLC0415  # only for commands that print sentences

    text = line.lstrip()
    return "\n".join(wrap(text, style.columns, first=" " * (len(line) - len(text)), rest="  "))


def _packed(sentences: Sequence[str], style: Style) -> str:
    from batchform.render.layout import pack  # noqa: PLC0415  # only for commands that print sentences

    return "\n".join(pack(sentences, style.columns))


class Terminal:
    """The two streams. After a stream fails, its output is dropped and the command continues."""

    def __init__(self) -> None:
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        self.style = Style(color=wants_colour(sys.stdout), columns=columns_of(sys.stdout))
        self.message_style = Style(color=wants_colour(sys.stderr), columns=columns_of(sys.stderr))
        self._failed: OSError | None = None
        names = ("BATCHFORM_AUTH_TOKEN", "BATCHFORM_CLIENT_SECRET")
        self._secrets = [value for name in names if len(value := os.environ.get(name, "")) >= _LONG]
        self._redactor: Redactor | None = None

    @property
    def interactive(self) -> bool:
        """Whether a person can answer a prompt."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not in_ci()

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal on which lines can be redrawn."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not in_ci()

    @property
    def debug(self) -> bool:
        """Whether to log requests and tracebacks."""
        return os.environ.get("BATCHFORM_LOG") == "debug"

    def check_log(self) -> None:
        """Warn of a BATCHFORM_LOG that means nothing."""
        level = os.environ.get("BATCHFORM_LOG", "")
        if level and not self.debug:
            from batchform.render.escape import printable  # noqa: PLC0415  # only for a wrong value

            self.warn(f"`BATCHFORM_LOG={printable(level, 40)}` is ignored: the only value is `debug`.")

    def data(self, text: str) -> None:
        """Print the result of the command to stdout."""
        if self._failed is None:
            try:
                sys.stdout.write(self.redacted(text) + "\n")
                sys.stdout.flush()
            except OSError as error:
                self._failed = error
                self._silence(sys.stdout)

    def say(self, *sentences: str) -> None:
        """Print sentences to stdout, on lines that fit."""
        self.data(_packed(sentences, self.style))

    def note(self, *sentences: str) -> None:
        """Print sentences to stderr, on lines that fit."""
        self.message(_packed(sentences, self.message_style))

    def message(self, text: str, end: str = "\n") -> None:
        """Print to stderr: progress, warnings, errors."""
        try:
            sys.stderr.write(self.redacted(text) + end)
            sys.stderr.flush()
        except OSError:
            self._silence(sys.stderr)

    def redacted(self, text: str) -> str:
        """The text without the secrets of the environment: they may stand in a file or an old state by mistake."""
        if not self._secrets:
            return text
        if self._redactor is None:
            from batchform.api.secret import Redactor  # noqa: PLC0415  # only with credentials

            self._redactor = Redactor(*self._secrets)
        return self._redactor.prose(text)

    def confirm(self, question: str) -> bool:
        """Ask the user a question. Returns whether the answer is `yes`."""
        try:
            shown = "".join(f"{_wrapped(line, self.message_style)}\n" for line in (*question.split("\n"), _APPROVE))
            self.message(f"\n{shown}\n  Enter a value: ", end="")
            return input().strip() == "yes"
        except BaseException as error:
            self.message("")  # ends the line of the prompt
            if isinstance(error, EOFError):
                return False
            raise

    def error(self, error: BatchformError) -> None:
        """Show an error."""
        from batchform.render.text.problems import error_text  # noqa: PLC0415  # only when there is one

        self.message(error_text(error, self.message_style))

    def warn(self, text: str) -> None:
        """Show a warning."""
        shown = _wrapped(f"Warning: {text}", self.message_style)
        self.message(shown.replace("Warning:", self.message_style.yellow("Warning:"), 1))

    def bug(self, error: Exception) -> BatchformError:
        """Show an unexpected error with its source line; with BATCHFORM_LOG=debug also the traceback.

        Returns the error that it showed.
        """
        import traceback  # noqa: PLC0415  # only when it happens

        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119  # a name, not a path
        shown = BatchformError(
            "This is a bug in batchform",
            f"{type(error).__name__} at {place}. The journal has every start that was sent, and the next run reads"
            " their statuses before it sends anything. Please report the command and its output with"
            " `BATCHFORM_LOG=debug`.",
        )
        self.error(shown)
        if self.debug:
            self.message("".join(traceback.format_exception(error)))
        return shown

    def close(self, code: int) -> int:
        """The exit code: an error when the data could not be printed and the command itself succeeded."""
        try:
            sys.stdout.flush()
        except OSError as error:
            self._failed = self._failed or error
            self._silence(sys.stdout)
        if self._failed is not None and self._failed.errno != errno.EPIPE and code == Exit.DONE:
            self.error(BatchformError("The output could not be written", f"{self._failed.strerror}."))
            return Exit.ERROR
        return code

    @staticmethod
    def _silence(stream: TextIO) -> None:
        """Point the stream at the null device, so that a later flush cannot fail again."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


class Waiting:
    """Prints a message now and then, so that a log shows that the command works."""

    def __init__(self, terminal: Terminal, text: str, *, at_once: bool = False) -> None:
        self._terminal, self._text = terminal, text
        self._printed = None if at_once else time.monotonic()

    def __call__(self, seconds: float) -> None:
        """Print the message if it is time, then sleep."""
        self.tick()
        time.sleep(seconds)

    def tick(self) -> None:
        """Print the message unless it was printed recently."""
        now = time.monotonic()
        if self._printed is None or now - self._printed >= LOG_EVERY:
            self._printed = now
            self._terminal.message(self._text)
