"""Commands state in one line why they cannot use a database, and create none."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cli.command import Home

BUDGETS = '[[budgets]]\nname = "daily"\nusd = 1\n'
COMMANDS = (
    *(["usage"], ["usage", "--by", "host"], ["sessions"], ["show", "abc"], ["search", "word"]),
    *(["export"], ["limits"], ["status"], ["prices", "check"], ["reprice", "--since", "7d"]),
    *(["budget", "list"], ["budget", "show", "daily", "total"], ["budget", "rebuild"]),
    ["budget", "reset", "daily"],
)


def nothing(path: Path) -> str:
    """Create no file."""
    return f"nothing was recorded yet: there is no {path}"


def text(path: Path) -> str:
    """Create a file with other content than a database."""
    path.write_text("nonsense" * 100)
    return f"{path}: file is not a database"


def empty(path: Path) -> str:
    """Create an empty file, which is a database without tables."""
    path.touch()
    return f"nothing was recorded yet: {path} has no tables of aibridge"


def foreign(path: Path) -> str:
    """Create a database of another program."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (id)")
    return f"nothing was recorded yet: {path} has no tables of aibridge"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("make", [nothing, text, empty, foreign])
def test_unusable_database_is_named_in_one_line_and_not_changed(
    home: Home, tmp_path: Path, command: list[str], make: Callable[[Path], str]
) -> None:
    path = tmp_path / "other.sqlite3"
    message = make(path)
    before = path.read_bytes() if path.exists() else None
    home.config.write_text(BUDGETS)
    takes_config = command[0] == "budget" and command[1] != "rebuild"
    options = ["--config", str(home.config)] if takes_config else []
    result = home.invoke(*command, *options, "--db", str(path))
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"Error: {message}")
    assert (path.read_bytes() if path.exists() else None) == before
