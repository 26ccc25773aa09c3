"""The options of each command: click and the function agree, and `--help` explains each."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
import pytest

from batchform.cli.apply import _at_once
from batchform.cli.main import _COMMANDS, batchform
from batchform.state.address import Branch


def commands(group: click.Group, path: str = "") -> list[tuple[str, click.Command]]:
    """All commands below a group, by their words."""
    context, found = click.Context(group), []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = f"{path} {name}".strip()
        found += commands(command, words) if isinstance(command, click.Group) else [(words, command)]
    return found


ALL = [pytest.param(command, id=words) for words, command in commands(batchform)]


@pytest.mark.parametrize("command", ALL)
def test_each_option_has_its_parameter(command: click.Command) -> None:
    """A name that only one side has would cause a traceback."""
    assert command.callback is not None
    function = inspect.unwrap(command.callback)
    parameters = list(inspect.signature(function).parameters.values())[1:]  # the first is the terminal
    assert {parameter.name for parameter in parameters} == {one.name for one in command.params}
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)


@pytest.mark.parametrize("command", ALL)
def test_each_option_is_explained(command: click.Command) -> None:
    """`--help` also explains the command itself."""
    assert command.help
    assert [one.name for one in command.params if isinstance(one, click.Option) and not one.help] == []


def test_the_list_of_commands_has_their_first_sentence() -> None:
    """The list is separate, so that `--help` imports no command."""
    context = click.Context(batchform)
    for name, text in _COMMANDS.items():
        command = batchform.get_command(context, name)
        assert command is not None
        assert command.help is not None
        assert command.help.startswith(text.rstrip(".")), name


def test_more_requests_are_in_flight_for_a_state_on_a_branch() -> None:
    """A push has the intents of one group, and pushes are 10 s apart."""
    assert (_at_once(Path("batchform.state.json")), _at_once(Branch(name="batchform-state"))) == (8, 32)
