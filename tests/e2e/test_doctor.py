"""`batchform doctor` as a person runs it: what it finds, what it sends, and what it never shows."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from batchform.api.route import DIRECT, Route, parse_proxy
from batchform.cli.doctor import proxy_check
from batchform.doctor import Grade
from tests.e2e.harness import site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.harness import Ended, Site

WORLD: dict[str, Any] = {"batches": {"b1": {"records": 100}, "b2": {"status": "processing"}}}


def found(ended: Ended) -> dict[str, dict[str, str]]:
    """The checks of `--json` by name."""
    document = json.loads(ended.out)
    assert document["format_version"] == "1.0"
    return {check["name"]: check for check in document["checks"]}


def declared(place: Site) -> Site:
    """The same place, with a configuration."""
    place.declare({"one": {"batch_id": "b1"}})
    return place


def test_all_is_well(tmp_path: Path) -> None:
    """One list call, exit 0, nothing written, no token shown."""
    with site(tmp_path, WORLD) as place:
        before = sorted(path.name for path in declared(place).folder.iterdir())
        ended = place.run("doctor")
        assert ended.code == 0, ended
        assert ended.out.rstrip().endswith("Everything is in order.")
        assert "200, 2 batches" in ended.out
        assert "a token from BATCHFORM_AUTH_TOKEN" in ended.out
        assert [entry.operation for entry in place.log.entries] == ["list"]
        assert sorted(path.name for path in place.folder.iterdir()) == before
        place.token_stayed_home()


@pytest.mark.parametrize(
    ("environment", "name", "said"),
    [
        ({"BATCHFORM_AUTH_TOKEN": "another-token-4711"}, "list", "401 Unauthorized"),
        ({"BATCHFORM_AUTH_TOKEN": ""}, "credentials", "No credentials"),
        ({"BATCHFORM_CLIENT_ID": "x"}, "credentials", "Two kinds of credentials"),
        ({"BATCHFORM_ENDPOINT": "http://elsewhere.example"}, "endpoint", "not usable"),
        (
            {"BATCHFORM_PROXY": "socks5://u:p4ssw0rd@p:1", "BATCHFORM_ENDPOINT": "https://e.test"},
            "proxy",
            "not usable",
        ),
        ({"SSL_CERT_FILE": "/absent", "BATCHFORM_ENDPOINT": "https://127.0.0.1:1"}, "certificates", "CA file"),
    ],
)
def test_a_problem_is_exit_1(tmp_path: Path, environment: dict[str, Any], name: str, said: str) -> None:
    """And everything else is still checked, or named as not checked."""
    with site(tmp_path, WORLD) as place:
        ended = declared(place).run("doctor", "--json", **environment)
    assert ended.code == 1, ended
    checks = found(ended)
    assert checks[name]["status"] == "problem"
    assert said in checks[name]["summary"]
    assert {"version", "configuration", "state", "endpoint", "list", "clock", "limit"} <= checks.keys()
    assert "p4ssw0rd" not in ended.out + ended.err


def test_without_a_network(tmp_path: Path) -> None:
    """It checks what it can and says what it could not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with site(tmp_path, WORLD) as place:
        ended = declared(place).run("doctor", "--json", BATCHFORM_ENDPOINT=f"http://127.0.0.1:{port}")
    checks = found(ended)
    assert ended.code == 1
    assert checks["connect"]["status"] == "problem"
    assert "Connection refused" in checks["connect"]["detail"]
    assert (checks["list"]["status"], checks["list"]["summary"]) == ("warning", "not checked: no connection")
    assert checks["configuration"]["status"] == checks["lock"]["status"] == "ok"


def test_without_credentials_the_connection_is_tried(tmp_path: Path) -> None:
    """Nothing is sent over it."""
    with site(tmp_path, WORLD) as place:
        ended = declared(place).run("doctor", "--json", BATCHFORM_AUTH_TOKEN="")
        assert found(ended)["connect"]["status"] == "ok"
        assert place.log.entries == []


def test_broken_files_are_problems(tmp_path: Path) -> None:
    """The configuration with its place; the state with its way out."""
    with site(tmp_path, WORLD) as place:
        (tmp_path / "batchform.yaml").write_text("version: 1\nbatches: {one: {batch_id: 7}}\n")
        (tmp_path / "batchform.state.json").write_text("{}")
        checks = found(place.run("doctor", "--json"))
    assert checks["configuration"]["status"] == checks["state"]["status"] == "problem"
    assert "batchform.yaml:2:" in checks["configuration"]["summary"]
    assert checks["journal"]["status"] == "warning"
    assert checks["list"]["status"] == "ok"


def test_a_run_at_work_is_a_warning(tmp_path: Path) -> None:
    """The lock names its holder; the journal holds events."""
    world = {**WORLD, "faults": [{"operation": "start", "fault": "hang"}]}
    with site(tmp_path, world) as place:
        running = declared(place).begin("apply", "--auto-approve")
        place.log.wait_for_operation("start")
        ended = place.run("doctor", "--json")
        running.terminate()
        place.end(running)
    checks = found(ended)
    assert ended.code == 0, ended
    assert checks["lock"]["status"] == "warning"
    assert "apply by " in checks["lock"]["summary"]
    assert checks["journal"]["status"] == "warning"


def test_an_old_schema_for_editors_is_a_warning(tmp_path: Path) -> None:
    """It underlines what is right, or nothing."""
    with site(tmp_path, WORLD) as place:
        declared(place).run("init")
        assert found(place.run("doctor", "--json")).get("schema", {}).get("status") in {"ok", None}
        (tmp_path / "batchform.schema.json").write_text("{}")
        checks = found(place.run("doctor", "--json"))
    assert checks["schema"]["status"] == "warning"
    assert "batchform schema config" in checks["schema"]["detail"]


def test_a_hosted_runner_needs_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address changes; the vendor's list does not."""
    monkeypatch.delenv("BATCHFORM_ENDPOINT", raising=False)
    monkeypatch.setenv("RUNNER_ENVIRONMENT", "github-hosted")
    proxy = Route(proxy=parse_proxy("http://u:p4ssw0rd@proxy.example:3128", "HTTPS_PROXY"), reason="HTTPS_PROXY")
    assert proxy_check(DIRECT).grade is Grade.WARNING
    assert proxy_check(proxy).summary == "http://proxy.example:3128 (HTTPS_PROXY), with a user"
    monkeypatch.setenv("RUNNER_ENVIRONMENT", "self-hosted")
    assert proxy_check(DIRECT).grade is Grade.OK
