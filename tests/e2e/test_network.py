"""Plan, apply and status through proxies, with company certificates, and with OAuth2."""

from __future__ import annotations

import re
import shutil
import subprocess
from base64 import b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.proxies import SENT, Cut, Relay
from tests.api.servers import RawServer
from tests.e2e.harness import FAST, Site, Warm, site, warmed
from tests.e2e.routes import Front, behind_tls, real_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCHES = {f"b{number}": {"records": 10} for number in range(1, 6)}
PASSWORD = "p@ss/w0rd-of-the-proxy"
USER_INFO = f"ann:{PASSWORD.replace('@', '%40').replace('/', '%2F')}@"
BASIC = b64encode(f"ann:{PASSWORD}".encode()).decode()
CLIENT = {"client_id": "client-4711", "client_secret": "s3cret/of+the-client"}
PAIR = b64encode(f"{CLIENT['client_id']}:{CLIENT['client_secret']}".encode()).decode()


@contextmanager
def fronted(tmp_path: Path, batches: dict[str, Any] | None = None, **world: Any) -> Iterator[tuple[Site, Front]]:
    """The simulator behind TLS, and a configuration that declares all of its batches."""
    folder = tmp_path / "work"
    folder.mkdir()
    batches = BATCHES if batches is None else batches
    with site(folder, {"batches": batches, "rate": {"limit": 100_000}, **world}) as place, behind_tls(place) as front:
        place.declare({name: {"batch_id": name} for name in batches})
        place.secrets += [PASSWORD, PASSWORD.replace("/", "%2F"), BASIC, CLIENT["client_secret"], PAIR]
        yield place, front


# --- a proxy that others wrote ----------------------------------------------------------------------------------------


def test_all_commands_work_through_a_proxy(tmp_path: Path) -> None:
    """Its log has CONNECT lines only, and no secret."""
    with (
        fronted(tmp_path) as (place, front),
        real_proxy(tmp_path / "proxy", "--basic-auth", f"ann:{PASSWORD}") as proxy,
    ):
        url = f"http://{USER_INFO}localhost:{proxy.port}"
        through = front.environment(HTTPS_PROXY=url, BATCHFORM_LOG="debug")
        doctor = place.run("doctor", **through)
        plan = place.run("plan", "--refresh", "--out", "plan.json", **through)
        applied = place.run("apply", "plan.json", "--report", "report.json", **through)
        status = place.run("status", **through)
        again = place.run("apply", "--auto-approve", **through)
        assert [ended.code for ended in (doctor, plan, applied, status, again)] == [0] * 5, (doctor, plan, applied)
        assert f"http://localhost:{proxy.port} (HTTPS_PROXY), with a user" in doctor.out
        place.paid_once(list(BATCHES))
        place.token_stayed_home()
    log = proxy.log.read_text(encoding="utf-8")
    assert set(proxy.requests()) == {f"CONNECT localhost:{front.port}"}
    assert not [secret for secret in place.secrets if secret in log]


def test_a_proxy_that_wants_a_password_says_407(tmp_path: Path) -> None:
    """The message names the proxy and what to set; nothing was sent."""
    with (
        fronted(tmp_path) as (place, front),
        real_proxy(tmp_path / "proxy", "--basic-auth", f"ann:{PASSWORD}") as proxy,
    ):
        url = f"http://localhost:{proxy.port}"
        without = place.run("apply", "--auto-approve", fast=True, **front.environment(HTTPS_PROXY=url))
        wrong = place.run(
            "plan",
            "--refresh",
            fast=True,
            **front.environment(ALL_PROXY=f"http://ann:wr0ng-one@localhost:{proxy.port}"),
        )
        assert (without.code, wrong.code) == (1, 1), (without, wrong)
        assert f"the proxy {url} answered 407" in " ".join(without.err.split())
        assert f"Set HTTPS_PROXY with a user and password: http://USER:PASSWORD@localhost:{proxy.port}" in " ".join(
            without.err.split()
        )
        assert "Check the user and password in ALL_PROXY" in " ".join(wrong.err.split())
        assert "wr0ng-one" not in wrong.out + wrong.err
        assert place.log.entries == []


@pytest.mark.parametrize(
    "environment",
    [{"NO_PROXY": "localhost"}, {"no_proxy": ".test, localhost:{port}"}, {"NO_PROXY": "*"}, {"BATCHFORM_PROXY": ""}],
    ids=["host", "host-and-port", "all", "override"],
)
def test_a_proxy_is_bypassed(tmp_path: Path, environment: dict[str, str]) -> None:
    """By NO_PROXY, and by an empty override. The proxy is not even there."""
    with fronted(tmp_path) as (place, front):
        more = {name: value.replace("{port}", str(front.port)) for name, value in environment.items()}
        ended = place.run("plan", "--refresh", **front.environment(HTTPS_PROXY="http://127.0.0.1:9", **more))
        assert ended.code == 0, ended
        assert len(place.requests("list")) == 1


def test_the_option_overrides_the_variables(tmp_path: Path) -> None:
    """In either direction."""
    with fronted(tmp_path) as (place, front), real_proxy(tmp_path / "proxy") as proxy:
        dead = front.environment(HTTPS_PROXY="http://127.0.0.1:9")
        codes = [place.run("status", "--proxy", url, **dead).code for url in ("", f"localhost:{proxy.port}")]
        codes += [place.run("status", "--proxy", "", NO_PROXY="*", **dead).code]
    assert codes == [0, 0, 0]
    assert len(proxy.requests()) == 1


def test_the_simulator_is_never_proxied(tmp_path: Path) -> None:
    """A loopback address means this machine."""
    with site(tmp_path, {"batches": BATCHES}) as place:
        place.declare({"one": {"batch_id": "b1"}})
        ended = place.run(
            "apply", "--auto-approve", HTTPS_PROXY="http://127.0.0.1:9", BATCHFORM_PROXY="http://127.0.0.1:9"
        )
        assert ended.code == 0, ended
        place.paid_once(["b1"])


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["BATCHFORM_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_is_named_by_a_variable(tmp_path: Path, setting: str) -> None:
    """Each of the four works alone."""
    with fronted(tmp_path) as (place, front):
        ended = place.run("status", **dict[str, Any]({"BATCHFORM_ENDPOINT": front.url, setting: front.ca_file}))
    assert ended.code == 0, ended


def test_an_unknown_authority_is_named(tmp_path: Path) -> None:
    """With the variable that helps; nothing is sent."""
    with fronted(tmp_path) as (place, front):
        ended = place.run("apply", "--auto-approve", fast=True, BATCHFORM_ENDPOINT=front.url)
        said = " ".join(ended.err.split())
        assert ended.code == 1, ended
        assert f"TLS: the certificate of localhost:{front.port} is not accepted" in said
        assert "The Right One" in said
        assert "set BATCHFORM_CA_BUNDLE to a file with its certificate" in said
        assert place.log.entries == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="proxy.py makes its certificates with openssl")
def test_a_proxy_that_inspects(tmp_path: Path) -> None:
    """proxy.py decrypts with an authority of its own: it works with that, and names it without."""
    keys = tmp_path / "keys"
    keys.mkdir()
    openssl = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/O=Example/CN=Inspector",
    ]
    files = ["-keyout", str(keys / "ca.key"), "-out", str(keys / "ca.pem")]
    subprocess.run([*openssl, *files], check=True, capture_output=True)
    subprocess.run(["openssl", "genrsa", "-out", str(keys / "sign.key"), "2048"], check=True, capture_output=True)
    with (
        fronted(tmp_path) as (place, front),
        real_proxy(
            tmp_path / "proxy",
            *("--ca-key-file", str(keys / "ca.key"), "--ca-cert-file", str(keys / "ca.pem")),
            *("--ca-signing-key-file", str(keys / "sign.key"), "--ca-cert-dir", str(keys)),
            *("--ca-file", front.ca_file),
        ) as proxy,
    ):
        url = f"http://localhost:{proxy.port}"
        through = front.environment(HTTPS_PROXY=url)
        without = place.run("plan", "--refresh", fast=True, **through)
        trusted = place.run("plan", "--refresh", **{**through, "BATCHFORM_CA_BUNDLE": str(keys / "ca.pem")})
        said = " ".join(without.err.split())
        assert without.code == 1, without
        assert f"through the proxy {url} (HTTPS_PROXY) is not accepted" in said
        assert "It was issued by `Inspector (Example)`" in said
        assert trusted.code == 0, trusted
        assert len(place.requests("list")) == 1


# --- a proxy that ends its tunnels ------------------------------------------------------------------------------------

APPLY = ("apply", "--auto-approve")
STEPS = [cut for cut in Cut if cut not in {Cut.NEVER, Cut.AFTER_ANSWER}]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One warm process for all of these tests."""
    with warmed("tests.e2e.warm", FAST, tmp_path_factory.mktemp("warm")) as ready:
        yield ready


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("cut", STEPS, ids=str)
def test_a_proxy_that_is_cut_at_any_step_of_a_start(tmp_path: Path, warm: Warm, cut: Cut, *, for_good: bool) -> None:
    """Never a second accepted start, and every outcome right, in this run and after the next."""
    batches = {"b1": {"records": 10}}
    cuts = (Cut.AFTER_ANSWER, *(cut,) * (1000 if for_good else 1))  # the list has a tunnel of its own
    with fronted(tmp_path, batches) as (place, front):
        relay = Relay(("localhost", front.port), cuts=cuts)
        with RawServer(relay) as proxy:
            through = front.environment(HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
            ended = warm.run(place, *APPLY, environment=place.environment(**through))
            first = place.accepted()
        expected = (4 if cut in SENT else 3) if for_good else 0
        assert ended.code == expected, ended
        assert relay.tunnels >= 3
        assert first == ({} if for_good and cut not in {Cut.AFTER_REQUEST, Cut.WITHIN_ANSWER} else {"b1": 1})
        if cut not in SENT:
            assert len(place.requests("start")) == (0 if for_good else 1)
        direct = place.environment(**front.environment())
        healed = warm.run(place, *APPLY, environment=direct)
        assert healed.code == 0, healed
        place.paid_once(["b1"])
        place.all_is_well(lambda: warm.run(place, *APPLY, environment=direct))


# --- OAuth2 -----------------------------------------------------------------------------------------------------------


def oauth(place: Site, **more: str) -> dict[str, Any]:
    """A client's credentials in the place of the token."""
    given = {f"BATCHFORM_{name.upper()}": value for name, value in CLIENT.items()}
    url = f"{place.url}/oauth2/aust0wkxjeKyT3HRO4x7/v1/token"
    return {"BATCHFORM_AUTH_TOKEN": "", "BATCHFORM_TOKEN_URL": url, **given, **more}


@contextmanager
def sold(folder: Path, batches: dict[str, Any], *, lifetime: str = "30m", **world: Any) -> Iterator[Site]:
    """A simulator that sells access tokens."""
    latency = world.pop("latency", 0.0)
    values = {"batches": batches, "oauth": {**CLIENT, "lifetime": lifetime}, "rate": {"limit": 100_000}, **world}
    with site(folder, values, latency=latency) as place:
        place.declare({name: {"batch_id": name} for name in batches})
        place.secrets += [CLIENT["client_secret"], PAIR]
        yield place


def test_400_starts_with_tokens_that_live_3_seconds(tmp_path: Path) -> None:
    """Every batch once; no 401 ends the run; the token endpoint is down and throttled for a moment as well."""
    batches: dict[str, Any] = {f"b{number}": {} for number in range(400)}
    faults = [{"operation": "token", "fault": "answer", "status": status} for status in (500, 429)]
    with sold(tmp_path, batches, lifetime="3s", faults=faults, latency=0.15) as place:
        ended = place.run("apply", "--auto-approve", **oauth(place))
        assert ended.code == 0, ended
        assert len(place.world.granted) >= 3
        place.paid_once(list(batches))
        assert {entry.headers.get("Authorization") for entry in place.requests("start")} == {"[token]"}
        assert not any("Auth-Token" in entry.headers for entry in place.log.entries)
        place.all_is_well(lambda: place.run("apply", "--auto-approve", **oauth(place)))


@pytest.mark.parametrize("act", [False, True], ids=["not started", "started all the same"])
def test_an_access_token_that_ends_in_mid_run(tmp_path: Path, *, act: bool) -> None:
    """The 401 on a start renews, and the status decides: no run is refused, and nothing is started twice."""
    faults = [{"operation": "start", "fault": "answer", "status": 401, "times": 3, "act": act}]
    with sold(tmp_path, BATCHES, faults=faults) as place:
        ended = place.run("apply", "--auto-approve", "--parallelism", "1", fast=True, **oauth(place))
        assert ended.code == 0, ended
        assert len(place.world.granted) >= 2
        place.paid_once(list(BATCHES))
        place.all_is_well(lambda: place.run("apply", "--auto-approve", **oauth(place)))


def test_a_secret_that_is_wrong(tmp_path: Path) -> None:
    """One request to the token endpoint, none to the service; the message says what to check."""
    with sold(tmp_path, BATCHES) as place:
        place.secrets.append("wr0ng-s3cret")
        more = oauth(place, BATCHFORM_CLIENT_SECRET="wr0ng-s3cret")
        for words in (("apply", "--auto-approve"), ("status",), ("plan", "--refresh"), ("refresh",)):
            before = len(place.log.entries)
            ended = place.run(*words, **more)
            assert ended.code == 1, ended
            assert "401 invalid_client" in ended.out + ended.err
            assert "BATCHFORM_CLIENT_SECRET" in ended.out + ended.err
            assert [entry.operation for entry in place.log.entries[before:]] == ["token"]
        place.token_stayed_home()


def test_a_client_that_is_revoked_in_mid_run(tmp_path: Path) -> None:
    """The run ends; a start that was answered 401 is unknown until the next run reads it."""
    faults: list[dict[str, Any]] = [
        {"operation": "start", "fault": "answer", "status": 401, "forever": True},
        {"operation": "status", "fault": "answer", "status": 401, "times": 3},
    ]
    with sold(tmp_path, {"b1": {}}, faults=faults) as place:
        ended = place.run("apply", "--auto-approve", fast=True, **oauth(place))
        assert ended.code == 4, ended
        assert place.accepted() == {}
    place.token_stayed_home()


def test_the_log_has_each_request_and_no_secret(tmp_path: Path) -> None:
    """Also the request for the access token. Each line has its time and its address."""
    with sold(tmp_path, BATCHES) as place:
        ended = place.run("plan", "--refresh", **oauth(place, BATCHFORM_LOG="debug"))
        lines = [line for line in ended.err.splitlines() if line.startswith("debug: ")]
        token, listed = (
            re.fullmatch(rf"debug: \d\d:\d\d:\d\d\.\d{{6}} (\w+) {place.url}(\S+) -> 200 in \d+ ms", line)
            for line in lines
        )
        assert token is not None
        assert token[1] == "POST"
        assert token[2].endswith("/v1/token")
        assert listed is not None
        assert listed[1] == "GET"
        secrets = [*place.secrets, *place.world.granted, CLIENT["client_secret"], PAIR]
        assert [secret for secret in secrets if secret in ended.err] == []


def test_secrets_in_files(tmp_path: Path) -> None:
    """As CI systems mount them."""
    work = tmp_path / "work"
    work.mkdir()
    with sold(work, BATCHES) as place:
        files: dict[str, str] = {}
        for name, value in CLIENT.items():
            file = tmp_path / name
            file.write_text(f"{value}\n")
            files |= {f"BATCHFORM_{name.upper()}": "", f"BATCHFORM_{name.upper()}_FILE": str(file)}
        ended = place.run("doctor", **oauth(place, **files))
        assert ended.code == 0, ended
        assert "from BATCHFORM_CLIENT_ID_FILE and BATCHFORM_CLIENT_SECRET_FILE" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    ("environment", "summary"),
    [
        ({"BATCHFORM_AUTH_TOKEN": "t0ken-1234"}, "Two kinds of credentials are given"),
        ({"BATCHFORM_CLIENT_SECRET": ""}, "The OAuth2 credentials are incomplete"),
        ({"BATCHFORM_CLIENT_ID": "a:b"}, "The OAuth2 credentials are not valid"),
        ({"BATCHFORM_CLIENT_SECRET": "two words"}, "The OAuth2 credentials are not valid"),
        ({"BATCHFORM_CLIENT_SECRET_FILE": "/dev/null"}, "BATCHFORM_CLIENT_SECRET is given twice"),
        ({"BATCHFORM_TOKEN_URL": "http://sso.example/token"}, "The token endpoint is not usable"),
        ({"BATCHFORM_CLIENT_ID": "", "BATCHFORM_CLIENT_SECRET": ""}, "No credentials are given"),
    ],
)
def test_credentials_that_do_not_fit(tmp_path: Path, environment: dict[str, Any], summary: str) -> None:
    """An error that says so; nothing was sent."""
    with sold(tmp_path, BATCHES) as place:
        ended = place.run("status", **oauth(place, **environment))
        assert (ended.code, place.log.entries) == (1, []), ended
        assert summary in ended.err


@pytest.mark.parametrize("file", ["s3cret-in-the-wrong-place", "dir/s3cret-in-the-wrong-place"])
def test_a_secret_in_the_place_of_a_file_is_not_shown(tmp_path: Path, file: str) -> None:
    """A path is named only if it can be one."""
    with sold(tmp_path, BATCHES) as place:
        ended = place.run("status", **oauth(place, BATCHFORM_CLIENT_SECRET="", BATCHFORM_CLIENT_SECRET_FILE=file))
        assert ended.code == 1
        assert "s3cret-in-the-wrong-place" not in ended.out + ended.err
        assert "BATCHFORM_CLIENT_SECRET_FILE" in ended.err


def test_the_token_endpoint_goes_through_the_proxy(tmp_path: Path) -> None:
    """It is outside, too; and its certificate is verified."""
    with fronted(tmp_path, BATCHES, oauth=CLIENT) as (place, front), real_proxy(tmp_path / "proxy") as proxy:
        more = oauth(place, BATCHFORM_TOKEN_URL=f"{front.url}/oauth2/x/v1/token")
        ended = place.run("status", **front.environment(HTTPS_PROXY=f"localhost:{proxy.port}", **more))
        assert ended.code == 0, ended
        place.token_stayed_home()
    assert len(proxy.requests()) == 2
