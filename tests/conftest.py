"""What holds for every test: nothing beyond loopback is reached, and slow machines are no reason to fail."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

settings.register_profile("batchform", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("batchform")


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    """Any connection to another host than this one fails the test."""
    socket_allow_hosts(["127.0.0.1", "::1"])
