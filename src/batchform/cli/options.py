"""Options that several commands share, and the values they are written in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchform.cli.environment import DEFAULT_CONFIG
from batchform.errors import UsageError
from batchform.model import GuardName

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """A duration such as `30s`, `5m` or `7d`; its value is in seconds."""

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


def config_option(command: F) -> F:
    """`-f FILE|FOLDER`, many times; hands `configs`, never empty."""
    return click.option(
        "-f",
        "--file",
        "configs",
        multiple=True,
        default=(DEFAULT_CONFIG,),
        metavar="PATH",
        help="A YAML file, or a folder of them. May be given many times. Default: batchform.yaml.",
    )(command)


def state_option(command: F) -> F:
    """`--state FILE`; hands `state`, None for the default."""
    return click.option(
        "--state",
        envvar="BATCHFORM_STATE",
        metavar="FILE",
        help="The state file. Default: batchform.state.json beside the first -f.",
    )(command)


def selection_options(command: F) -> F:
    """`--target` and `--exclude`."""
    command = click.option("--exclude", "excludes", multiple=True, metavar="PATTERN", help="Leave these batches out.")(
        command
    )
    return click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="PATTERN",
        help="Only these batches: a name, a glob such as 'uk-*', or label:key=value.",
    )(command)


def override_option(command: F) -> F:
    """`--override-guard NAME`."""
    return click.option(
        "--override-guard",
        "overridden",
        multiple=True,
        type=click.Choice([name.value for name in GuardName]),
        help="Pass this guard, this one time.",
    )(command)


def lock_timeout_option(command: F) -> F:
    """`--lock-timeout DURATION`; hands `lock_timeout`, None for the default of the place."""
    return click.option(
        "--lock-timeout",
        type=Duration(),
        metavar="DURATION",
        help="How long to wait for another run. Default: 0s on a terminal, 5m in CI.",
    )(command)


def check_timeout(timeout: float | None, *, wait: bool) -> float:
    """The seconds to wait.

    Raises:
        UsageError: A timeout is given, but no --wait.
    """
    if timeout is not None and not wait:
        raise UsageError("--timeout belongs to --wait", "Add --wait, or leave it out. Nothing was sent.")
    return _PATIENCE if timeout is None else timeout


_PATIENCE = 1800.0  # seconds


def timeout_option(command: F) -> F:
    """`--timeout DURATION`; hands `timeout`, None for the default (`check_timeout`)."""
    return click.option("--timeout", type=Duration(), metavar="DURATION", help="How long --wait waits. Default: 30m.")(
        command
    )


def settle_option(command: F) -> F:
    """`--settle DURATION`."""
    return click.option(
        "--settle",
        type=Duration(),
        default="10s",
        show_default=True,
        metavar="DURATION",
        help="How long a status may lag behind a start. An attempt without an outcome is repeated only after reads this"
        " far from it. Less than 10s only against a simulator.",
    )(command)
