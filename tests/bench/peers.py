"""What we are measured against: the same work, done with what people use today. None where it is not there."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batchform.config import schema
from tests.bench.measure import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_BY_HAND: Final = """
import json, jsonschema, yaml
with open("batchform.yaml") as file:
    values = yaml.load(file, Loader=yaml.CSafeLoader)
with open("schema.json") as file:
    validator = jsonschema.Draft202012Validator(json.load(file))
for error in validator.iter_errors(values):
    raise SystemExit(error.message)
"""
"""The least that reads the same file and validates it."""


def by_hand(folder: Path) -> tuple[str, ...]:
    """Load `batchform.yaml` and validate it by our schema, in one process."""
    folder.joinpath("schema.json").write_text(schema.text("config-1"), encoding="utf-8")
    return sys.executable, "-c", _BY_HAND


TERRAFORM_PLAN: Final = ("terraform", "plan", "-no-color", "-input=false", "-detailed-exitcode")
"""Exits 0 when there is nothing to do, 2 when there is: a peer that does other work than ours stops the bench."""


def there_is(program: str) -> bool:
    """Whether this machine has it."""
    return shutil.which(program) is not None


def has(module: str) -> bool:
    """Whether this environment has it."""
    return importlib.util.find_spec(module) is not None


# --- batchform's own -------------------------------------------------------------------------------------------------


def batch_id(number: int) -> str:
    """As the vendor's are."""
    return f"3f0c1f6e-2a55-4d0e-9a7e-{number:012}"


def declare(folder: Path, count: int) -> None:
    """A configuration of so many batches, with a few keys each."""
    lines = ["version: 1", "batches:"]
    for number in range(count):
        lines += [
            f"  batch-{number:06}:",
            f"    batch_id: {batch_id(number)}",
            f"    description: November refresh, part {number}",
            "    labels: {region: uk, team: crm}",
            "    records: 9800",
        ]
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("batchform.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- Terraform -------------------------------------------------------------------------------------------------------


def _terraform(*words: str, folder: Path) -> None:
    subprocess.run(["terraform", *words], cwd=folder, env=environment(), check=True, capture_output=True)


def _fields(number: int) -> dict[str, Any]:
    return {"batch_id": batch_id(number), "description": f"part {number}", "region": "uk", "records": 9800}


def _block(number: int) -> str:
    fields = "\n".join(f"    {key} = {json.dumps(value)}" for key, value in _fields(number).items())
    return f'resource "terraform_data" "batch_{number:06}" {{\n  input = {{\n{fields}\n  }}\n}}\n'


def terraform_blocks(folder: Path, count: int) -> None:
    """A block for each batch, applied already: a plan finds nothing to do.

    Applying ten thousand takes Terraform many minutes, so one is applied, and its state repeated.
    """
    folder.mkdir(parents=True)
    main = folder / "main.tf"
    main.write_text(_block(0), encoding="utf-8")
    _terraform("init", "-input=false", folder=folder)
    _terraform("apply", "-auto-approve", "-input=false", folder=folder)
    main.write_text("".join(map(_block, range(count))), encoding="utf-8")
    state = _state(folder)
    (one,) = state["resources"]
    state["resources"] = [
        {**one, "name": f"batch_{number:06}", "instances": [_instance(one["instances"][0], number)]}
        for number in range(count)
    ]
    _write(folder, state)


def terraform_for_each(folder: Path, count: int) -> None:
    """One resource with for_each over a YAML file, applied already."""
    folder.mkdir(parents=True)
    main = (
        'locals {\n  batches = yamldecode(file("batches.yaml"))\n}\n\n'
        'resource "terraform_data" "batch" {\n  for_each = local.batches\n  input    = each.value\n}\n'
    )
    folder.joinpath("main.tf").write_text(main, encoding="utf-8")

    def batches(many: int) -> None:
        values = {f"batch-{number:06}": _fields(number) for number in range(many)}
        folder.joinpath("batches.yaml").write_text(json.dumps(values, indent=1), encoding="utf-8")

    batches(1)
    _terraform("init", "-input=false", folder=folder)
    _terraform("apply", "-auto-approve", "-input=false", folder=folder)
    batches(count)
    state = _state(folder)
    (one,) = state["resources"]
    (instance,) = one["instances"]
    one["instances"] = [{**_instance(instance, number), "index_key": f"batch-{number:06}"} for number in range(count)]
    _write(folder, state)


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(folder.joinpath("terraform.tfstate").read_text(encoding="utf-8"))
    return state


def _write(folder: Path, state: dict[str, Any]) -> None:
    folder.joinpath("terraform.tfstate").write_text(json.dumps(state, indent=2), encoding="utf-8")


def _instance(one: dict[str, Any], number: int) -> dict[str, Any]:
    """The applied instance as that of another batch."""
    held = {
        key: {**side, "value": _fields(number)} if isinstance(side, dict) and "value" in side else side
        for key, side in one["attributes"].items()
    }
    return {**one, "attributes": {**held, "id": f"00000000-0000-4000-8000-{number:012}"}}


def terraform_with_curl(folder: Path, count: int, url: str) -> None:
    """A block for each batch whose making starts it; `terraform apply` then does what we do, less the promise."""
    folder.mkdir(parents=True)
    blocks = [
        f'resource "terraform_data" "batch_{number:06}" {{\n  provisioner "local-exec" {{\n'
        f"    command = {json.dumps(' '.join(curl(url, number)))}\n  }}\n}}\n"
        for number in range(count)
    ]
    folder.joinpath("main.tf").write_text("".join(blocks), encoding="utf-8")
    _terraform("init", "-input=false", folder=folder)


# --- octoDNS ---------------------------------------------------------------------------------------------------------


def octodns(folder: Path, count: int) -> tuple[str, ...]:
    """A zone of so many records, the same in the source and the target; the command that finds nothing to do."""
    folder.mkdir(parents=True)
    zone = "---\n" + "".join(
        f"batch-{number:06}:\n  type: TXT\n  ttl: 300\n  value: {batch_id(number)}\n" for number in range(count)
    )
    for side in ("source", "target"):
        folder.joinpath(side).mkdir()
        folder.joinpath(side, "example.test.yaml").write_text(zone, encoding="utf-8")
    provider = "    class: octodns.provider.yaml.YamlProvider\n    default_ttl: 300\n    enforce_order: false\n"
    config = "---\nproviders:\n" + "".join(
        f"  {side}:\n{provider}    directory: {folder / side}\n" for side in ("source", "target")
    )
    config += "zones:\n  example.test.:\n    sources: [source]\n    targets: [target]\n"
    folder.joinpath("config.yaml").write_text(config, encoding="utf-8")
    return str(Path(sys.executable).with_name("octodns-sync")), "--config-file", str(folder / "config.yaml")


# --- HTTP ------------------------------------------------------------------------------------------------------------


def path_of(number: int) -> str:
    """Where a batch is started."""
    return f"/phone/bulk/v1/batches/{batch_id(number)}/start"


def curl(url: str, number: int) -> tuple[str, ...]:
    """One start."""
    return (
        "curl",
        "-sSf",
        "-o",
        "/dev/null",
        "-X",
        "POST",
        "-H",
        "Auth-Token:$BATCHFORM_AUTH_TOKEN",
        url + path_of(number),
    )


REQUESTS: Final = """
import os, requests
url, count = os.environ["URL"], int(os.environ["COUNT"])
with requests.Session() as session:
    session.headers["Auth-Token"] = os.environ["BATCHFORM_AUTH_TOKEN"]
    for number in range(count):
        batch = f"3f0c1f6e-2a55-4d0e-9a7e-{number:012}"
        session.post(f"{url}/phone/bulk/v1/batches/{batch}/start", timeout=20).raise_for_status()
"""
"""The loop that people write first."""

_WRK: Final = """
local number = -1
request = function()
  number = (number + 1) % 1000
  local id = string.format("3f0c1f6e-2a55-4d0e-9a7e-%012d", number)
  local headers = {["Auth-Token"] = os.getenv("BATCHFORM_AUTH_TOKEN")}
  return wrk.format("POST", "/phone/bulk/v1/batches/" .. id .. "/start", headers)
end
"""


def wrk(folder: Path, url: str, seconds: int) -> float:
    """Requests per second that 64 connections reach."""
    script = folder / "start.lua"
    script.write_text(_WRK, encoding="utf-8")
    words: Sequence[str] = ("wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), url)
    said = subprocess.run(words, env=environment(), check=True, capture_output=True, text=True).stdout
    (rate,) = (line.split()[1] for line in said.splitlines() if line.startswith("Requests/sec"))
    return float(rate)
