"""Messages name only commands that exist."""

from __future__ import annotations

import re

import click

from batchform.cli import state
from tests.e2e.harness import ROOT


def test_each_state_command_that_a_message_names_exists() -> None:
    """In the sources and in the pages for users, wherever a line may be broken."""
    assert isinstance(state.command, click.Group)
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    texts += [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "CHANGELOG.md", "DIAGNOSTICS.md")]
    joined = [re.sub(r'"\n\s*f?"', "", text) for text in texts]
    named = {found for text in joined for found in re.findall(r"(?:batchform|`) ?state\s+([a-z]+)\b", text)}
    assert {"recover", "push", "migrate", "unlock"} <= named
    assert named <= set(state.command.commands)
