"""What a command imports for the network: nothing, unless it uses it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import site

if TYPE_CHECKING:
    from pathlib import Path

NETWORK = {"urllib3", "ssl", "truststore", "batchform.api.client", "batchform.api.route", "batchform.api.credentials"}
OPTIONAL = {"batchform.api.oauth", "batchform.doctor"}


def imported(folder: Path, *words: str, **environment: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = (
        "import sys\nfrom batchform.cli.main import main\n"
        f"sys.argv = ['batchform', *{words!r}]\n"
        "try:\n    main()\nfinally:\n    print('imported:', *sys.modules, file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.partition("imported:")[2].split())


@pytest.mark.parametrize("words", [("--version",), ("version",), ("validate",), ("plan",)])
def test_an_offline_command_imports_no_network(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Even where proxies, certificates and OAuth2 are set up."""
    (tmp_path / "batchform.yaml").write_text("version: 1\nbatches: {one: {batch_id: b1}}\n")
    found = imported(
        tmp_path,
        *words,
        HTTPS_PROXY="http://proxy.example:1",
        BATCHFORM_CLIENT_ID="a",
        BATCHFORM_CLIENT_SECRET="b",
        BATCHFORM_CA_BUNDLE="/absent",
    )
    assert "batchform.cli.main" in found
    assert found & (NETWORK | OPTIONAL) == set()


def test_a_run_imports_only_what_it_uses(tmp_path: Path) -> None:
    """A token and no proxy need no OAuth2 client."""
    with site(tmp_path, {"batches": {"b1": {}}}) as place:
        place.declare({"one": {"batch_id": "b1"}})
        found = imported(tmp_path, "status", **place.environment())
    assert "batchform.api.client" in found
    assert found & {"batchform.api.oauth", "truststore"} == set()
