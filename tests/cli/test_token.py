"""`aibridge token`: creates, lists and revokes access tokens, and clients that use one."""

import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from store.doubles import ended, started, tokens

from aibridge_addon.access.tokens import AccessToken, authenticate
from aibridge_addon.facts import Fact
from aibridge_addon.store import open_store
from aibridge_addon.store.recorder import fact_handlers
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from cli.command import Home

TOKEN = re.compile(r"aib_[a-z2-7]{10}_[A-Za-z0-9_-]{43}")


def create(home: Home, *arguments: str) -> str:
    """Create an access token; return its text."""
    result = home.invoke("token", "create", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def refused(home: Home, *arguments: str) -> str:
    """Return the error of a command that fails."""
    result = home.invoke("token", *arguments)
    assert result.exit_code not in (0, None), result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def test_token_create_prints_only_the_access_token_to_stdout(home: Home) -> None:
    result = home.invoke("token", "create", "alice", "--expires", "12h")
    text = result.stdout.removesuffix("\n")
    assert TOKEN.fullmatch(text)
    assert text not in result.stderr
    assert "not shown again" in result.stderr
    kept = open_store(home.database).access_tokens()
    assert authenticate(text, kept).initiator_id == "alice"
    assert text.encode() not in home.database.read_bytes()
    assert text.split("_", 2)[2] not in home.invoke("token", "list").output


def test_token_list_shows_state_and_limits(home: Home) -> None:
    assert "There are no access tokens" in home.invoke("token", "list").output
    create(home, "alice", "--expires", "never", "--providers", "anthropic, openai")
    revoked = create(home, "bob", "--models", "claude-haiku-*")
    home.invoke("token", "revoke", revoked.split("_")[1])
    listed = home.invoke("token", "list").output
    first, second = (line for line in listed.splitlines() if re.match(r" *[a-z2-7]{10} ", line))
    assert re.search(r"alice +valid +\d{4}-.* anthropic, openai +all", first)
    assert re.search(r"bob +revoked \d{4}-.* all +claude-haiku-\*", second)


def test_token_list_shows_admins(home: Home) -> None:
    create(home, "alice", "--admin")
    create(home, "bob")
    listed = home.invoke("token", "list").output
    assert re.search(r"alice .* admin *$", listed, re.MULTILINE)
    assert re.search(r"bob .* own *$", listed, re.MULTILINE)


def test_token_revoke_revokes_all_access_tokens_of_an_actor(home: Home) -> None:
    create(home, "alice")
    create(home, "alice")
    output = home.invoke("token", "revoke", "alice").output
    assert len(re.findall("revoked .* of alice", output)) == 2
    for name in ("alice", "nobody"):
        why = f"no access token of {name} can be revoked"
        assert why in refused(home, "revoke", name)


def test_first_access_token_prints_its_consequences(home: Home) -> None:
    everybody = "From now on, every client of this proxy needs an access token"
    first = home.invoke("token", "create", "alice").stderr
    assert everybody in first
    assert f"stored in {home.database}; no running proxy" in first
    assert "ANTHROPIC_AUTH_TOKEN=TOKEN" in first
    assert "HTTPS_PROXY=http://alice:TOKEN@HOST:8080\n" in first
    assert "ANTHROPIC_BASE_URL=http://HOST:8081/anthropic\n" in first
    assert re.search(r"valid until \S+ \S+ local time", first)
    assert everybody not in home.invoke("token", "create", "bob").stderr


def test_token_create_reports_the_running_proxy_and_unknown_providers(
    home: Home, shared: Home
) -> None:
    """The shared proxy is announced as one that reads access tokens in this home."""
    there = replace(shared.proxy(), database="", tokens_in=str(home.database))
    there.save(home.data / "proxy.json")
    output = home.invoke("token", "create", "alice", "--providers", "openai,opnai,any-*").stderr
    assert f"(process {there.pid}) accepts it" in output
    assert "no provider opnai, but " in output
    assert "Warning" not in home.invoke("token", "create", "bob", "--providers", "openai").stderr
    replace(there, token_rule="never").save(home.data / "proxy.json")
    assert "requires no access tokens" in home.invoke("token", "create", "carol").stderr
    made = home.invoke("token", "create", "erin").stderr
    assert there.forward_url
    assert f"HTTPS_PROXY=http://erin:TOKEN@{urlsplit(there.forward_url).netloc}\n" in made
    assert f"ANTHROPIC_BASE_URL={there.reverse_url}/anthropic\n" in made
    replace(there, open_on="10.0.0.7", reverse_url=None).save(home.data / "proxy.json")
    made = home.invoke("token", "create", "erin").stderr
    assert f"HTTPS_PROXY=http://erin:TOKEN@HOST:{urlsplit(there.forward_url).port}\n" in made
    assert "ANTHROPIC_BASE_URL" not in made
    elsewhere = ("--db", str(home.path / "other.sqlite3"))
    assert "no running proxy" in home.invoke("token", "create", "dora", *elsewhere).stderr


def test_revoking_the_last_valid_access_token_prints_a_warning(home: Home) -> None:
    warning = "No valid access token remains"
    create(home, "alice")
    create(home, "bob")
    assert warning not in home.invoke("token", "revoke", "alice").stderr
    assert warning in home.invoke("token", "revoke", "bob").stderr


def test_token_list_breaks_no_value_on_a_narrow_terminal(home: Home) -> None:
    models = ",".join(f"claude-model-{number}" for number in range(9))
    text = create(home, "somebody@a-long-name.example", "--models", models)
    listed = home.invoke("token", "list", env={"COLUMNS": "40"}).output
    [row] = (line for line in listed.splitlines() if text.split("_")[1] in line)
    assert "somebody@a-long-name.example" in row
    assert re.search(r"valid until \d{4}-\d\d-\d\d \d\d:\d\d ", row)
    assert "claude-model-8" in row
    assert "state (local time)" in listed


def test_token_list_prints_no_control_characters(home: Home) -> None:
    open_store(home.database).add_access_token(AccessToken.make("\x1b[2Jeve")[1])
    listed = home.invoke("token", "list").output
    assert "\x1b" not in listed
    assert "�[2Jeve" in listed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("create",), "Missing argument 'ACTOR'"),
        (("create", " "), "must be a name"),
        (("create", "al\x1b[2Jice"), "must be a name"),
        (("create", "alice", "--providers", "open\nai"), "cannot be printed"),
        (("create", "alice", "--models", "gpt\x1b*"), "cannot be printed"),
        (("create", "alice", "--expires", "soon"), "is not a span"),
        (("create", "alice", "--expires", "2020-01-01"), "is in the past"),
        (("create", "alice", "--expires", "0d"), "is in the past"),
        (("create", "alice", "--expires", "99999999999w"), "is not a span"),
    ],
)
def test_invalid_arguments_create_no_access_token(
    home: Home, arguments: tuple[str, ...], why: str
) -> None:
    assert why in refused(home, *arguments)
    assert open_store(home.database).access_tokens() == {}


def test_token_commands_report_an_unusable_database(home: Home) -> None:
    path = home.path / "no-database"
    path.write_text("something else " * 100)
    for words in (("create", "alice"), ("list",), ("revoke", "alice")):
        assert "no-database: file is not a database" in refused(home, *words, "--db", str(path))


def test_env_and_run_use_an_access_token_once_the_proxy_requires_one(home: Home) -> None:
    home.start_proxy(env={"ANTHROPIC_API_KEY": "sk-ant-central-0123456789"})
    assert home.run("env", "claude").returncode == 0
    text = create(home, "alice")
    without = home.run("env", "claude")
    assert without.returncode != 0
    assert "AIBRIDGE_LOGIN" in without.stderr
    login = {"AIBRIDGE_LOGIN": f"alice:{text}"}
    assert f"alice:{text}@127.0.0.1" in home.run("env", "claude", env=login).stdout
    program = (
        "import anthropic; print(anthropic.Anthropic(max_retries=0).messages.create("
        "model='standin-1', max_tokens=9,"
        " messages=[{'role': 'user', 'content': 'hi'}]).model_dump_json())"
    )
    words = ("run", "--reverse", "-q", "--", sys.executable, "-c", program)
    answer = home.run(*words, env=login)
    assert json.loads(answer.stdout)["type"] == "message", answer.stderr
    own = home.run(*words, env=login | {"ANTHROPIC_API_KEY": "sk-ant-own-0123456789"})
    assert json.loads(own.stdout)["type"] == "message", own.stderr
    used = home.invoke("usage", "--by", "actor").output
    assert re.search(r"^alice\b.* 2 +·", used, re.MULTILINE), used


def test_temporary_proxy_requires_no_access_token(home: Home) -> None:
    create(home, "alice")
    program = (
        "import openai; print(openai.OpenAI(api_key='sk-own', max_retries=0)"
        ".responses.create(model='gpt-5', input='hi').status)"
    )
    ended = home.run("run", "-q", *home.options, "--", sys.executable, "-c", program)
    assert (ended.returncode, ended.stdout) == (0, "completed\n"), ended.stderr


def record(home: Home, *facts: Fact) -> None:
    """Store facts as a proxy does."""
    recorder = SQLiteRecorder(home.database)
    recorder.start()
    for fact in facts:
        fact_handlers(recorder)[type(fact)](fact)
    recorder.close()


def price(home: Home, cost: int) -> None:
    """Set the price of all calls that report ten output tokens."""
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute(
            "UPDATE aibridge_token_usages SET cost_nano_usd = ? WHERE output_tokens = 10", [cost]
        )


def test_token_list_shows_last_use_and_spend(home: Home) -> None:
    used, unused = (create(home, name).split("_")[1] for name in ("alice", "bob"))
    one, two = started(access_token_id=used), started(access_token_id=used)
    record(
        home,
        *(one, tokens(one, output_tokens=10), ended(one)),
        *(two, tokens(two, output_tokens=20), ended(two)),
    )
    price(home, 12_300_000)

    listed = home.invoke("token", "list").output
    [row_of_used] = (line for line in listed.splitlines() if used in line)
    [row_of_unused] = (line for line in listed.splitlines() if unused in line)
    assert re.search(r" \d\d-\d\d \d\d:\d\d +2 +190 +\$0\.0123 \+ 1 unpriced +all", row_of_used)
    assert re.search(r" never +0 +0 +\$0\.00 +all", row_of_unused)

    first, second = json.loads(home.invoke("token", "list", "--json").output)
    assert (first["id"], first["requests"], first["tokens"]) == (used, 2, 190)
    assert (first["cost_nano_usd"], first["unpriced"]) == (12_300_000, 1)
    assert first["last_use"] == two.started_at
    assert (second["last_use"], second["requests"], second["cost_nano_usd"]) == (None, 0, 0)
    assert "digest" not in first


def test_token_list_shows_no_spend_that_it_cannot_know(home: Home) -> None:
    token = create(home, "alice").split("_")[1]
    one = started(access_token_id=token)
    record(home, one, ended(one, usage_reported=False))
    [row] = (line for line in home.invoke("token", "list").output.splitlines() if token in line)
    assert re.search(r" 1 +— +1 unpriced +all", row)

    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("ALTER TABLE aibridge_interceptions RENAME TO other")
    [row] = (line for line in home.invoke("token", "list").output.splitlines() if token in line)
    assert re.search(r" — +— +— +— +all", row)
    [found] = json.loads(home.invoke("token", "list", "--json").output)
    assert (found["requests"], found["cost_nano_usd"]) == (None, None)
