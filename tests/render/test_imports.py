"""Rendering stays light: what a command does not need is not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from batchform.render import documents, text

HEAVY = ("click", "yaml", "jsonschema", "urllib3")


@pytest.mark.parametrize(
    ("module", "names", "without"),
    [
        ("text", ["plan_text", "notices_text", "problems_text", "error_text"], (*HEAVY, "batchform.engine")),
        ("documents", ["plan_document", "plan_from_document"], (*HEAVY, "batchform.engine")),
        ("text", sorted(text.__all__), HEAVY),
        ("documents", sorted(documents.__all__), HEAVY),
    ],
    ids=["text-of-a-plan", "document-of-a-plan", "all-text", "all-documents"],
)
def test_nothing_heavy_is_imported(module: str, names: list[str], without: tuple[str, ...]) -> None:
    """In a fresh interpreter."""
    code = f"import sys; from batchform.render.{module} import {', '.join(names)}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert set(found).isdisjoint(without)


def test_a_name_that_is_not_there_is_missed() -> None:
    """As in any module."""
    for module in (text, documents):
        with pytest.raises(AttributeError, match="no_such_text"):
            _ = module.no_such_text
        assert all(callable(getattr(module, name)) for name in module.__all__)
