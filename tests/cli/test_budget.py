"""`aibridge budget list` and `aibridge usage` for the owner of an access token."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.facts import now
from aibridge_addon.store import open_store
from cli.command import Home

BUDGETS = """
[[budgets]]
name = "total-life"
window = "total"
usd = 10

[[budgets]]
name = "team-life"
per = "team"
window = "total"
tokens = 1_000

[[actors]]
match = "alice"
id = "alice"
metadata = { team = "search" }

[[actors]]
match = "a.smith"
id = "alice"
metadata = { team = "search" }
"""


@pytest.fixture
def options(home: Home, tmp_path: Path) -> list[str]:
    """Options of a database in which two people have spent money."""
    database = tmp_path / "budgets.sqlite3"
    store = open_store(database)
    store.add_access_token(AccessToken.make("alice")[1])
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, scope in enumerate(("alice", "bob")):
            connection.execute(
                "INSERT INTO aibridge_budget_entries (id, interception_id, budget, scope, epoch,"
                " unit, bucket, charge, how, created_at)"
                " VALUES (?, ?, 'total-life', ?, 0, 'usd', '', 1000000000, 'told', ?)",
                (str(number), str(number), scope, now()),
            )
    home.config.write_text(BUDGETS)
    return ["--db", str(database), "--config", str(home.config)]


def token(options: list[str], actor: str) -> str:
    """Create an access token; return its text."""
    text, made = AccessToken.make(actor)
    open_store(options[1]).add_access_token(made)
    return text


@pytest.mark.parametrize("owner", ["alice", "a.smith"])
def test_owner_of_an_access_token_sees_only_own_budgets(
    home: Home, options: list[str], owner: str
) -> None:
    env = {"AIBRIDGE_LOGIN": token(options, owner)}
    result = home.invoke("budget", "list", "--mine", "--json", *options, env=env)
    assert result.exit_code == 0, result.output
    accounts = {(each["budget"], each["scope"]): each for each in json.loads(result.output)}
    assert accounts.keys() == {("total-life", "alice"), ("team-life", "search")}
    assert accounts["total-life", "alice"]["spent"] == 10**9
    table = home.invoke("budget", "list", "--mine", *options, env=env).output
    assert "alice" in table
    assert "bob" not in table


def test_mine_needs_a_valid_access_token(home: Home, options: list[str]) -> None:
    stranger = AccessToken.make("alice")[0]
    for command in (("budget", "list", *options), ("usage", *options[:2])):
        for login, words in (
            ("", "set AIBRIDGE_LOGIN"),
            (stranger, "not known"),
            ("alice:secret", "contains no access token"),
        ):
            env = {"AIBRIDGE_LOGIN": login}
            result = home.invoke(*command, "--mine", env=env)
            assert result.exit_code == 1
            assert words in result.output
            assert stranger not in result.output
