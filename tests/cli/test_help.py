"""Help texts, shell completion, and errors of all commands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import aibridge_addon
from aibridge_addon.cli import main
from cli.command import Home

COMMANDS = (
    *("proxy", "run", "env", "usage", "tail", "show", "search", "export", "limits", "doctor"),
    *("ca", "completion"),
)


def test_help_lists_all_commands_with_their_purpose(home: Home) -> None:
    shown = home.invoke("--help").output
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", shown, re.MULTILINE), name
    assert aibridge_addon.__version__ in home.invoke("--version").output


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), ("ca", "create")])
def test_every_option_has_a_help_text(home: Home, words: tuple[str, ...]) -> None:
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


def test_unknown_command_is_refused(home: Home) -> None:
    result = home.invoke("prox")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_click(home: Home, shell: str) -> None:
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
def test_completion_completes_commands_and_values(
    home: Home, typed: str, completed: list[str]
) -> None:
    env = {
        "_AIBRIDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
    }
    result = home.invoke(env=env)
    assert [line.partition(",")[2] for line in result.output.split()] == sorted(completed) or [
        line.partition(",")[2] for line in result.output.split()
    ] == completed


READ_ONLY = "/proc/1/nowhere"
"""A home folder in which nobody, root included, can create files."""


@pytest.mark.skipif(not Path("/proc/1").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "words",
    [
        ("run", "--", "true"),
        ("proxy", "--port", "0", "--metrics", "off"),
        ("usage",),
        ("env", "claude"),
        ("token", "create", "alice"),
        ("token", "list"),
        ("ca", "create"),
        ("ca", "bundle"),
    ],
    ids=" ".join,
)
@pytest.mark.e2e
def test_read_only_home_is_reported_without_a_traceback(words: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "aibridge_addon.cli", *words],
        env=os.environ | {"HOME": READ_ONLY, "XDG_DATA_HOME": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ended.stdout + ended.stderr
    if words != ("token", "list"):
        assert ended.returncode == 1
        assert READ_ONLY in ended.stderr + ended.stdout or words[0] == "env"
