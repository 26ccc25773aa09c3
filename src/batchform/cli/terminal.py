"""Where things are printed: stdout is data, stderr is talk. Failing to print never changes what is done.

Colour, in this order: NO_COLOR, FORCE_COLOR or CLICOLOR_FORCE, TERM=dumb, then whether it is a terminal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TextIO

from batchform.errors import BatchformError, Exit
from batchform.render.style import Style


def in_ci() -> bool:
    """Whether this runs in a CI job, where nobody answers a prompt and logs are kept for ever."""
    return any(os.environ.get(name) for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI"))


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to this stream."""
    environ = os.environ
    if environ.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environ.get(name):
            return environ[name] != "0"
    return environ.get("TERM") != "dumb" and stream.isatty()


def _open_closed_streams() -> None:
    """Open on nothing what was closed (`>&-`), so that no file or socket of ours gets a standard stream's number."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # numbers, for good
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same


class Terminal:
    """The two streams. After a stream has failed, what goes there is dropped, and the work goes on."""

    def __init__(self) -> None:
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        self.style = Style(color=wants_colour(sys.stdout))
        self.talk_style = Style(color=wants_colour(sys.stderr))
        self._failed: OSError | None = None

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not in_ci()

    @property
    def live(self) -> bool:
        """Whether a line may be redrawn on stderr."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not in_ci()

    def data(self, text: str) -> None:
        """Print to stdout: what the command was asked for."""
        if self._failed is None:
            try:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            except OSError as error:
                self._failed = error
                self._silence(sys.stdout)

    def talk(self, text: str, end: str = "\n") -> None:
        """Print to stderr: progress, warnings, errors."""
        try:
            sys.stderr.write(text + end)
            sys.stderr.flush()
        except OSError:
            self._silence(sys.stderr)

    def error(self, error: BatchformError) -> None:
        """Show an error."""
        from batchform.render.text.problems import error_text  # noqa: PLC0415  # only when there is one

        self.talk(error_text(error, self.talk_style))

    def warn(self, text: str) -> None:
        """Show a warning."""
        from batchform.render.layout import wrap  # noqa: PLC0415  # only when there is one

        first, *rest = wrap(f"Warning: {text}", rest="  ")
        self.talk("\n".join([first.replace("Warning:", self.talk_style.yellow("Warning:"), 1), *rest]))

    def bug(self, error: Exception) -> None:
        """Show an error that is ours. The place helps whoever mends it; BATCHFORM_LOG=debug shows the way there."""
        import traceback  # noqa: PLC0415  # only when it happens

        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119  # a name, not a path
        self.error(
            BatchformError(
                "This is a bug in batchform",
                f"{type(error).__name__} at {place}. What was sent is on disk in the journal: the next run looks before"
                " it sends anything. Please report it with the command and the output of BATCHFORM_LOG=debug.",
            )
        )
        if os.environ.get("BATCHFORM_LOG") == "debug":
            self.talk("".join(traceback.format_exception(error)))

    def close(self, code: int) -> int:
        """The exit code: an error when the data could not be printed, unless something worse is to be told."""
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
        """Point the stream at nothing, so that neither we nor the interpreter's own flush fail again."""
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
