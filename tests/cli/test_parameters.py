"""Parameter types of several subcommands, and names of subcommands."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from aibridge_addon.cli.parameters import DatabaseLocation, Since
from cli.command import Home


@pytest.mark.parametrize(("word", "days"), [("today", 0), ("yesterday", 1), (" Today ", 0)])
def test_day_by_its_word_begins_at_local_midnight(word: str, days: int) -> None:
    before = datetime.now().astimezone()
    begin = Since().convert(word, None, None)
    assert begin
    assert begin.tzinfo is UTC
    local = begin.astimezone()
    assert (local.hour, local.minute, local.second) == (0, 0, 0)
    assert (before.date() - local.date()) in (timedelta(days), timedelta(days - 1))


def test_database_in_a_folder_that_does_not_exist_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made = tmp_path / "new.sqlite3"
    assert DatabaseLocation().convert(str(made), None, None) == str(made)
    with pytest.raises(click.BadParameter, match="there is no folder"):
        DatabaseLocation().convert(str(tmp_path / "no" / "new.sqlite3"), None, None)


@pytest.mark.parametrize(
    "words",
    [
        ("usage",),
        ("proxy",),
        ("doctor",),
        ("token", "list"),
        ("token", "create", "alice"),
        ("run", "--", "true"),
    ],
)
def test_every_command_refuses_a_database_in_a_missing_folder(
    home: Home, words: tuple[str, ...]
) -> None:
    database = home.path / "no" / "such.sqlite3"
    name, *rest = words
    place = (name, rest[0], "--db", str(database), *rest[1:]) if name == "token" else ()
    result = home.invoke(*(place or (name, "--db", str(database), *rest)))
    assert result.exit_code == 2, result.output
    assert f"there is no folder {database.parent}" in result.stderr
    assert not database.parent.exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("usgae",), "Did you mean 'usage'?"),
        (("prox",), "Did you mean 'proxy'?"),
        (("xyz",), "Commands: proxy, run"),
        (("token", "lst"), "list"),
        (("ca", "shwo"), "show"),
    ],
)
def test_mistyped_command_gets_a_suggestion(home: Home, words: tuple[str, ...], hint: str) -> None:
    result = home.invoke(*words)
    assert result.exit_code == 2
    assert "No such command" in result.stderr
    assert hint in result.stderr
