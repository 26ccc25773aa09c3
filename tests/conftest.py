"""Settings for every test: connections to loopback only, and no time limits for slow machines."""

from __future__ import annotations

import gc
import os
import signal
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

import batchform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

# In CI batchform prints more, so the CI variables must not reach the tests.
for _name in ("CI", "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI"):
    os.environ.pop(_name, None)
os.environ.pop("COLUMNS", None)  # the width of the terminal must not matter

# Started in the background, the suite ignores these, and so would each process that a test interrupts.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

settings.register_profile("full", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("short", settings.get_profile("full"), max_examples=25, derandomize=True)
settings.load_profile("full")


def pytest_configure(config: pytest.Config) -> None:
    """Without the long forms, properties are tried with fewer examples, the same in each run; with them, at random."""
    if config.option.markexpr == "not full":
        settings.load_profile("short")
        # Hypothesis tries constants of the modules that are loaded, which otherwise depends on the tests before.
        for module in walk_packages(batchform.__path__, "batchform."):
            if not module.name.endswith("__main__"):
                import_module(module.name)


@pytest.fixture(autouse=True)
def _unfreeze() -> Iterator[None]:
    """A command that ran in this process has frozen its objects. Hypothesis would not find its own among them."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    """A connection to any other host fails the test."""
    socket_allow_hosts(["127.0.0.1", "::1"])


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what the proofs counted with `record_property("counted", ...)`."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    counted = [value for report in reports for name, value in report.user_properties if name == "counted"]
    if counted:
        terminalreporter.section("counted")
        for line in sorted(counted):
            terminalreporter.line(str(line))
