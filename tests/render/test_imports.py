"""Rendering stays light: a command imports only the renderers it needs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from batchform import render

HEAVY = ("click", "yaml", "jsonschema", "urllib3")
EVERY_MODULE = [module.name for module in pkgutil.walk_packages(render.__path__, "batchform.render.")]


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (["text.plan", "text.problems", "documents.plan", "documents.saved"], (*HEAVY, "batchform.engine")),
        (["documents.report", "documents.stream"], (*HEAVY, "batchform.render.text")),
        ([name.removeprefix("batchform.render.") for name in EVERY_MODULE], HEAVY),
    ],
    ids=["a-plan", "JSON-without-text", "everything"],
)
def test_nothing_heavy_is_imported(modules: list[str], without: tuple[str, ...]) -> None:
    """In a fresh interpreter."""
    imports = "\n".join(f"import batchform.render.{module}" for module in modules)
    code = f"import sys\n{imports}\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert f"batchform.render.{modules[0]}" in found
    assert set(found).isdisjoint(without)
