"""Help worth reading, and completion."""

import re

import click
import pytest

import aibridge_addon
from aibridge_addon.cli import main
from cli.command import Home

COMMANDS = ("proxy", "run", "env", "usage", "doctor", "ca", "completion")


def test_all_commands_are_listed_with_what_they_do(home: Home) -> None:
    shown = home.invoke("--help").output
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", shown, re.MULTILINE), name
    assert aibridge_addon.__version__ in home.invoke("--version").output


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), ("ca", "create")])
def test_every_option_is_explained(home: Home, words: tuple[str, ...]) -> None:
    result = home.invoke(*words, "--help")
    assert result.exit_code == 0, result.output
    assert "--private" not in result.output
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found
        command = found
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert all(option.help or option.hidden for option in options)


def test_an_unknown_command_is_refused(home: Home) -> None:
    result = home.invoke("prox")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_clicks(home: Home, shell: str) -> None:
    result = home.invoke("completion", shell)
    assert result.exit_code == 0
    assert f"_AIBRIDGE_COMPLETE={shell}_complete" in result.output


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("aibridge pro", ["proxy"]),
        ("aibridge env cl", ["claude"]),
        ("aibridge usage --by s", ["session"]),
        ("aibridge ca ", ["show", "create", "trust", "bundle"]),
    ],
)
def test_it_completes(home: Home, typed: str, completed: list[str]) -> None:
    env = {
        "_AIBRIDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
    }
    result = home.invoke(env=env)
    assert [line.partition(",")[2] for line in result.output.split()] == sorted(completed) or [
        line.partition(",")[2] for line in result.output.split()
    ] == completed
