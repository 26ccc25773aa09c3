"""`batchform doctor`: gathers what a run depends on. One list call, nothing else; nothing is written."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchform import __version__
from batchform.api.contract import list_request, traced
from batchform.api.credentials import ClientCredentials
from batchform.api.route import choose_route
from batchform.api.trust import choose_trust, is_empty, tls_context
from batchform.cli import environment, network, session
from batchform.cli.options import config_option, json_option, proxy_option, state_option
from batchform.config import schema
from batchform.config.loader import load
from batchform.doctor import (
    ANSWER_NAMES,
    Check,
    Grade,
    answer_checks,
    connection_checks,
    ok,
    problem,
    skipped,
    warning,
    worst,
)
from batchform.errors import BatchformError, ConfigError, Exit, Severity
from batchform.model import Service
from batchform.render.documents.doctor import doctor_document
from batchform.render.text.doctor import doctor_text
from batchform.render.words import count
from batchform.state.known import check_belongs
from batchform.state.lock import holder_of
from batchform.state.store import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchform.api.endpoint import Endpoint
    from batchform.api.route import Route
    from batchform.api.trust import Trust
    from batchform.cli.terminal import Terminal
    from batchform.model import Config
    from batchform.state.store import Place

_AFTER_PROXY = ("certificates", "credentials", "connect", "tls", *ANSWER_NAMES)


@click.command()
@config_option
@state_option
@proxy_option
@json_option
@click.pass_obj
def command(
    terminal: Terminal, /, *, configs: tuple[str, ...], state: str | None, proxy: str | None, as_json: bool
) -> int:
    """Check everything that a run depends on.

    Checks the files, the credentials, the proxy, the certificates and the server. Sends one list call, which costs
    nothing. Writes nothing and shows no secret. Exits 1 if there is a problem.
    """
    config, found = _config_checks(configs)
    try:
        endpoint: Endpoint | BatchformError = environment.endpoint()
    except BatchformError as error:
        endpoint = error
    checks = [_version_check(), *found, *_state_checks(environment.state_file(state, configs), config, endpoint)]
    checks += _network_checks(config.service if config is not None else Service.PHONE, endpoint, proxy)
    if as_json:
        terminal.data(json.dumps(doctor_document(checks), indent=2))
    else:
        terminal.data(doctor_text(checks, terminal.style))
    return Exit.ERROR if worst(checks) is Grade.PROBLEM else Exit.DONE


def _failed(name: str, error: BatchformError) -> Check:
    return problem(name, error.summary, error.detail)


def _version_check() -> Check:
    system = f"{platform.system()} {platform.machine()}".strip()
    return ok("version", f"batchform {__version__}, Python {platform.python_version()}, {system}")


# --- files ------------------------------------------------------------------------------------------------------------


def _config_checks(configs: Sequence[str]) -> tuple[Config | None, list[Check]]:
    try:
        config = load(configs)
    except ConfigError as error:
        errors = sum(found.severity is Severity.ERROR for found in error.problems)
        first = error.problems[0]
        where = f"{first.place}: " if first.place is not None else ""
        summary = f"{count(errors, 'problem')}, the first: {where}{first.detail}"
        return None, [problem("configuration", summary, "Run `batchform validate`; `batchform init` writes a new one.")]
    except BatchformError as error:
        return None, [_failed("configuration", error)]
    said = f"{count(len(config.batches), 'batch', 'batches')}, service {config.service.value}"
    if config.warnings:
        summary = f"{said}, {count(len(config.warnings), 'warning')}"
        return config, [warning("configuration", summary, "Run `batchform validate`."), *_schema_checks(configs)]
    return config, [ok("configuration", said), *_schema_checks(configs)]


def _schema_checks(configs: Sequence[str]) -> list[Check]:
    """Whether the copy that editors use, if there is one, is the one of this version."""
    first = Path(configs[0])
    copy = (first if first.is_dir() else first.parent) / environment.SCHEMA_NAME
    if not copy.is_file():
        return []
    try:
        same = json.loads(copy.read_bytes()) == schema.load("config-1")
    except (OSError, ValueError, RecursionError):
        same = False
    if same:
        return [ok("schema", f"{copy} is the one of this version")]
    return [
        warning(
            "schema", f"{copy} is not the one of this version", f"Run `batchform schema config > {copy}` for editors."
        )
    ]


def _state_checks(path: Place, config: Config | None, endpoint: Endpoint | BatchformError) -> list[Check]:
    try:
        known = read(path)
        if known.state is not None and config is not None and not isinstance(endpoint, BatchformError):
            check_belongs(known.state, config.service, str(endpoint))
    except (BatchformError, OSError) as error:
        failed = error if isinstance(error, BatchformError) else BatchformError(f"{path}: {error.strerror}")
        return [_failed("state", failed), *skipped(["journal"], "state"), _lock_check(path)]
    if known.state is None:
        state = ok("state", f"{path} does not exist: no apply has recorded anything yet")
    else:
        entries = count(len(known.state.entries), "batch", "batches")
        state = ok("state", f"{path}: {entries}, serial {known.state.serial}")
    journal = ok("journal", "no run was interrupted")
    if known.leftover:
        summary = f"{count(known.leftover, 'event')} of a run that is at work or was interrupted"
        journal = warning("journal", summary, "The next `batchform apply` recovers them. Nothing has to be done.")
    return [state, journal, _lock_check(path)]


def _lock_check(path: Place) -> Check:
    if not isinstance(path, Path):
        return ok("lock", "`batchform state lock` says who holds a state in a store")
    try:
        holder = holder_of(path)
    except BatchformError as error:
        return _failed("lock", error)
    if holder is None:
        return ok("lock", "free")
    return warning("lock", f"held: {holder}", "It is freed when that run ends, however it ends.")


# --- the network ------------------------------------------------------------------------------------------------------


def _network_checks(service: Service, endpoint: Endpoint | BatchformError, option: str | None) -> list[Check]:
    if isinstance(endpoint, BatchformError):
        return [_failed("endpoint", endpoint), *skipped(("proxy", *_AFTER_PROXY), "endpoint")]
    named = "BATCHFORM_ENDPOINT" if os.environ.get("BATCHFORM_ENDPOINT") else "the vendor's"
    checks = [ok("endpoint", f"{endpoint} ({named})")]
    try:
        route = choose_route(endpoint, os.environ, option)
    except BatchformError as error:
        return [*checks, _failed("proxy", error), *skipped(_AFTER_PROXY, "proxy")]
    trust = choose_trust(os.environ)
    checks += [proxy_check(route), *_trust_checks(endpoint, trust)]
    access: network.Access | None = None
    try:
        access = network.access(option)
        checks.append(ok("credentials", _shown(access)))
    except BatchformError as error:
        checks.append(_failed("credentials", error))
    return [*checks, *_service_checks(service, endpoint, route, trust, access)]


def proxy_check(route: Route) -> Check:
    """Which proxy is used; a warning on a hosted runner without one."""
    if route.proxy is not None:
        signed = ", with a user" if route.proxy.authorization else ""
        return ok("proxy", f"{route.proxy} ({route.reason}){signed}")
    summary = f"none: {route.reason}"
    if not os.environ.get("BATCHFORM_ENDPOINT") and os.environ.get("RUNNER_ENVIRONMENT") == "github-hosted":
        return warning(
            "proxy",
            summary,
            "A hosted runner has no fixed address, and the vendor may refuse it. Set HTTPS_PROXY to a proxy whose"
            " address is on the vendor's list.",
        )
    return ok("proxy", summary)


def _trust_checks(endpoint: Endpoint, trust: Trust) -> list[Check]:
    if endpoint.scheme != "https":
        return []
    try:
        context = tls_context(trust)
    except BatchformError as error:
        return [_failed("certificates", error)]
    if is_empty(context, trust):
        return [
            problem(
                "certificates",
                "this machine's store holds no authority",
                "Install the system's CA certificates (package `ca-certificates`), or set SSL_CERT_FILE.",
            )
        ]
    return [ok("certificates", f"{trust}")]


def _shown(access: network.Access) -> str:
    if not isinstance(access.credentials, ClientCredentials):
        return f"a token from {access.sources}"
    url, route = access.credentials.token_url, access.token_route
    through = "" if route is None or route.proxy is None else f" through {route.proxy}"
    return f"OAuth2 client {access.credentials.client_id} from {access.sources}; tokens from {url}{through}"


def _service_checks(
    service: Service, endpoint: Endpoint, route: Route, trust: Trust, access: network.Access | None
) -> list[Check]:
    """The steps of the connection and the list call. Without credentials the connection alone is tried."""
    from batchform.api.client import Client  # noqa: PLC0415  # after the checks that need no network
    from batchform.api.reach import Failure  # noqa: PLC0415  # the same

    try:
        client = access.client() if access is not None else Client(endpoint, "none", proxy=route.proxy, trust=trust)
    except BatchformError as error:
        return [_failed("connect", error), *skipped(ANSWER_NAMES, "connect")]
    with client:
        nearest = endpoint.host if route.proxy is None else route.proxy.host
        reached = client.open()
        checks = connection_checks(
            reached, endpoint.host, route, tls=endpoint.scheme == "https", names=not network.is_address(nearest)
        )
        if isinstance(reached, Failure):
            return [*checks, *skipped(ANSWER_NAMES, "no connection")]
        if access is None:
            return [*checks, *skipped(ANSWER_NAMES, "no credentials")]
        request = traced(list_request(service), f"{access.run}-read")
        return [*checks, *answer_checks(client.send(request), session.clock.now())]
