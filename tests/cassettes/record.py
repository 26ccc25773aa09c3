"""Records the cassettes: `python -m tests.cassettes.record [NAME...]`. cassettes/README.md tells more.

Against the simulator by default, whose clock stands still here, so that a recording made again is the same to the byte.
With BATCHFORM_ENDPOINT set it records the real service: only what was asked for by name and can be had there, after a
typed confirmation. Either way the client is batchform's own, on one thread, because vcrpy is not thread-safe.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import vcr  # type: ignore[import-untyped]  # it has no types
from urllib3 import connectionpool

from batchform import simulator
from batchform.api.client import Client
from batchform.api.credentials import AuthToken
from batchform.api.endpoint import Endpoint, parse_endpoint
from batchform.cli import environment, network
from batchform.errors import BatchformError, UsageError
from tests.cassettes.scenarios import ALL, BASE, BATCH, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batchform.api.contract import Reply

CASSETTES: Final = Path(__file__).parents[2] / "cassettes"
NOW: Final = 1_790_000_070.0
"""When all recordings against the simulator are made: UTC epoch seconds, the middle of a minute."""

SIMULATOR: Final = "http://simulator.invalid"
"""What stands in a cassette in the place of the simulator's address, whose port is another one each time."""

_NOT_SAID: Final = frozenset({"auth-token", "user-agent"})
"""Request headers that no cassette holds: the secret, and what changes with each version."""

_HEARD: Final = frozenset(
    {"age", "content-type", "content-length", "content-encoding", "transfer-encoding", "date", "reference-id"}
)
"""Response headers that are kept, beside those of the rate limit. A gateway's cookies and ids are nobody's business."""


def recorder(origin: str, batch_id: str = BATCH) -> vcr.VCR:
    """A vcrpy that keeps no token, and `BATCH` in the place of `batch_id`. Replays by method and path.

    Args:
        origin: What the cassette says of where it was recorded.
        batch_id: The id that was really asked about.
    """

    def request(given: Any) -> Any:
        kept = copy.copy(given)
        path = given.path.replace(batch_id, BATCH)
        kept.uri = f"{origin}{path}"
        kept.headers = {name: value for name, value in given.headers.items() if name.lower() not in _NOT_SAID}
        return kept

    def response(given: dict[str, Any]) -> dict[str, Any]:
        kept = copy.deepcopy(given)
        kept["headers"] = {
            name: value
            for name, value in given["headers"].items()
            if name.lower() in _HEARD or name.lower().startswith("x-rate-limit-")
        }
        kept["body"]["string"] = kept["body"]["string"].replace(batch_id.encode(), BATCH.encode())
        return kept

    return vcr.VCR(
        match_on=("method", "path"), before_record_request=request, before_record_response=response, record_mode="none"
    )


@contextlib.contextmanager
def tampering(scenario: Scenario) -> Iterator[None]:
    """Change what leaves over the wire. Inside of a cassette, so that the cassette keeps what really left."""
    kinds = {
        pool: pool.ConnectionCls for pool in (connectionpool.HTTPConnectionPool, connectionpool.HTTPSConnectionPool)
    }
    change = scenario.tampered
    for pool, kind in kinds.items():

        class Changed(kind):  # type: ignore[misc,valid-type]  # vcrpy's, made at run time
            def request(
                self, method: str, url: str, body: bytes | None = None, *, headers: dict[str, str], **options: Any
            ) -> Any:
                if change.without_token:
                    headers = {name: value for name, value in headers.items() if name != "Auth-Token"}
                return super().request(method, url, body=change.body or body, headers=headers, **options)

        pool.ConnectionCls = Changed
    try:
        yield
    finally:
        for pool, kind in kinds.items():
            pool.ConnectionCls = kind


def record(
    scenario: Scenario, folder: Path, *, endpoint: Endpoint, token: str, origin: str, batch_id: str = BATCH
) -> Reply:
    """Send the scenario's request, once, and keep what came back."""
    file = folder / f"{scenario.name}.yaml"
    file.unlink(missing_ok=True)
    request = dataclasses.replace(scenario.request, path=scenario.request.path.replace(BATCH, batch_id))
    recording = recorder(origin, batch_id).use_cassette(str(file), record_mode="once")
    with recording, tampering(scenario), Client(endpoint, token) as client:
        return client.send(request)


def from_simulator(scenario: Scenario, folder: Path) -> Reply:
    """Record against the simulator, and make sure that it did what the scenario claims."""
    world = simulator.from_values({**BASE, **scenario.world})
    log = simulator.Log()
    with simulator.serve(world, log=log, clock=lambda: NOW) as url:
        reply = record(scenario, folder, endpoint=parse_endpoint(url), token=scenario.token, origin=SIMULATOR)
    done = [entry.did for entry in log.entries]
    if done != [scenario.did]:
        raise BatchformError(f"{scenario.name} is not what it claims", f"The simulator says {done}.")
    return reply


def from_service(scenarios: Sequence[Scenario], endpoint: Endpoint, batch_id: str | None) -> None:
    """Record the real service, after a typed confirmation.

    Raises:
        UsageError: Something was asked for that cannot be had there, or nobody confirmed. Nothing was sent.
    """
    credentials, _ = network.find_credentials()
    if not isinstance(credentials, AuthToken):
        raise UsageError("Recording needs a token", "Set BATCHFORM_AUTH_TOKEN instead of OAuth2. Nothing was sent.")
    for scenario in scenarios:
        if scenario.needs is None:
            raise UsageError(f"{scenario.name} cannot be had from the real service on purpose", "Nothing was sent.")
        if bool(scenario.needs) is not bool(batch_id):
            needs = scenario.needs or "no batch, and gets one that does not exist"
            raise UsageError(f"{scenario.name} needs {needs}", "See --batch. Nothing was sent.")
    print(f"This sends to {endpoint}:")  # noqa: T201  # a program for developers
    for scenario in scenarios:
        print(f"  {scenario.request.method} {scenario.name}: {scenario.needs or 'needs nothing, costs nothing'}")  # noqa: T201
    if not sys.stdin.isatty() or input("Only 'yes' sends it: ") != "yes":
        raise UsageError("Not confirmed", "Nothing was sent.")
    for scenario in scenarios:
        given = scenario.token if scenario.row[0] == 401 else credentials.token  # a made-up one, to be refused
        record(scenario, CASSETTES, endpoint=endpoint, token=given, origin=str(endpoint), batch_id=batch_id or BATCH)


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    names = [scenario.name for scenario in ALL]
    parser = argparse.ArgumentParser(prog="python -m tests.cassettes.record", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to record; default: all. {', '.join(names)}")
    parser.add_argument("--batch", metavar="ID", help="the batch of the real account that the scenario needs")
    asked = parser.parse_args(words)
    if unknown := set(asked.names) - set(names):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    chosen = [scenario for scenario in ALL if scenario.name in asked.names or not asked.names]
    endpoint = environment.endpoint()
    try:
        if os.environ.get("BATCHFORM_ENDPOINT"):
            from_service(chosen, endpoint, asked.batch)
        else:
            for scenario in chosen:
                from_simulator(scenario, CASSETTES)
    except BatchformError as error:
        parser.exit(1, f"{error.summary}. {error.detail}\n")


if __name__ == "__main__":
    main()
