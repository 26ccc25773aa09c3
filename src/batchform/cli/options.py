"""Options that several commands share. Each command names the parameter that the option sets."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from batchform.cli.environment import DEFAULT_CONFIG
from batchform.errors import UsageError
from batchform.model import GuardName

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WAIT: Final = 1800.0
"""The default of `--timeout` in seconds."""


class Duration(click.ParamType[float]):
    """A duration such as `30s`, `5m` or `7d`. The value is in seconds."""

    name = "duration"

    def convert(  # noqa: D102  # click's own
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)", str(value), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not a duration; write it as 30s, 5m or 7d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


def _guards(_ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> tuple[GuardName, ...]:
    return tuple(GuardName(name) for name in names)


config_option: Final = click.option(
    "-f",
    "--file",
    "configs",
    multiple=True,
    default=(DEFAULT_CONFIG,),
    metavar="PATH",
    help="A YAML file, or a folder of YAML files. Repeatable. Default: batchform.yaml.",
)
"""Sets `configs`, never empty."""

state_option: Final = click.option(
    "--state",
    envvar="BATCHFORM_STATE",
    metavar="FILE",
    help="The state file. Default: batchform.state.json beside the configuration.",
)
"""Sets `state`, None for the default."""

target_option: Final = click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="PATTERN",
    help="Select only these batches: a name, a glob such as 'uk-*', label:key=value, or a batch_id. Repeatable.",
)
exclude_option: Final = click.option(
    "--exclude", "excludes", multiple=True, metavar="PATTERN", help="Leave out these batches. Repeatable."
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
refresh_option: Final = click.option(
    "--refresh", is_flag=True, help="Read current statuses from the server. Needs the token; writes nothing."
)
override_option: Final = click.option(
    "--override-guard",
    "overridden",
    multiple=True,
    type=click.Choice([name.value for name in GuardName]),
    callback=_guards,
    help="Override this guard once. Repeatable.",
)
_LOCK_TIMEOUT: Final = "How long to wait for a lock that another run holds."

lock_timeout_option: Final = click.option(
    "--lock-timeout",
    type=Duration(),
    metavar="DURATION",
    help=f"{_LOCK_TIMEOUT} Default: 0s, or in a store until that run shows that it works; in CI 10m.",
)
"""Sets `lock_timeout` in seconds, None for the default."""

repair_lock_timeout_option: Final = click.option(
    "--lock-timeout", type=Duration(), metavar="DURATION", help=f"{_LOCK_TIMEOUT} Default: 0s."
)
"""The same for a command that a person runs."""

store_timeout_option: Final = click.option(
    "--store-timeout",
    type=Duration(),
    default="60s",
    envvar="BATCHFORM_STORE_TIMEOUT",
    show_default=True,
    metavar="DURATION",
    help="How long to try a request to the store of a remote state.",
)
"""Sets `store_timeout` in seconds."""

proxy_option: Final = click.option(
    "--proxy",
    metavar="URL",
    help="The proxy to use; empty for none. Default: BATCHFORM_PROXY, else HTTPS_PROXY, ALL_PROXY and NO_PROXY.",
)
"""Sets `proxy`, None if it is not given."""

settle_option: Final = click.option(
    "--settle",
    type=Duration(),
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="How long a status may lag behind a start. An unknown start is repeated only after two reads this far apart."
    " Less than 10s is allowed only with a simulator.",
)
timeout_option: Final = click.option(
    "--timeout", type=Duration(), metavar="DURATION", help="How long --wait waits. Default: 30m."
)
"""Sets `timeout` in seconds, None for the default (see `wait_time`)."""


def wait_time(timeout: float | None, *, wait: bool) -> float:
    """The seconds that `--wait` waits.

    Raises:
        UsageError: A timeout is given without `--wait`.
    """
    if timeout is not None and not wait:
        raise UsageError("`--timeout` needs `--wait`", "Add `--wait`, or remove `--timeout`. Nothing was sent.")
    return _WAIT if timeout is None else timeout
