"""What holds for every test: nothing beyond loopback is reached, and slow machines are no reason to fail."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

# What a test sees must not depend on the job that runs it: in CI batchform tells more, and elsewhere.
for _name in ("CI", "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI"):
    os.environ.pop(_name, None)

settings.register_profile("batchform", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("batchform")


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    """Any connection to another host than this one fails the test."""
    socket_allow_hosts(["127.0.0.1", "::1"])


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """What the proofs counted: each may say so by `record_property("counted", ...)`."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    counted = [value for report in reports for name, value in report.user_properties if name == "counted"]
    if counted:
        terminalreporter.section("counted")
        for line in sorted(counted):
            terminalreporter.line(str(line))
