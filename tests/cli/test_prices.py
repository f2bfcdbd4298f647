"""`aibridge prices check` and `aibridge reprice`."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from store.doubles import ended, record, rows, started, tokens

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.checks.prices import check_prices
from aibridge_addon.config.settings import default_settings
from aibridge_addon.facts import TokenUsage
from aibridge_addon.prices import price_list
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.prices.sellers import Seller
from aibridge_addon.providers.instance import Provider
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.sqlite.recorder import SQLiteRecorder
from cli.command import Home

BOOK = PriceBook(sellers={"anthropic": Seller(id="anthropic")})
PLAIN = tokens(started(), model="claude-opus-4-5", extra={})
UNKNOWN = tokens(started(), model="unheard-of")


def store_usages(path: Path, *usages: TokenUsage, book: PriceBook | None = BOOK) -> None:
    recorder = SQLiteRecorder(path, preparation=Preparation(book))
    recorder.start()
    for usage in usages:
        record(recorder, usage, ended(usage.interception))
    recorder.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "some.sqlite3"


def shown(home: Home, *args: str) -> str:
    result = home.invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_check_lists_models_with_source_reason_and_age(home: Home, database: Path) -> None:
    store_usages(database, PLAIN, UNKNOWN)

    text = shown(home, "prices", "check", "--db", str(database))

    label = price_list.data_label()
    known = ["anthropic", "claude-opus-4-5", "1", "$0.0008", "anthropic/claude-opus-4-5,"]
    lines = [line[:5] for line in cells(text)]
    assert known in lines
    assert ["anthropic", "unheard-of", "1", "—", "none:"] in lines
    assert f"The price data is of {label}," in text


def test_check_shows_list_prices_of_subscriptions_apart_from_costs(
    home: Home, database: Path
) -> None:
    subscribed = tokens(started(credential_kind="subscription"), model="claude-opus-4-5", extra={})
    store_usages(database, PLAIN, subscribed)

    options = ("prices", "check", "--db", str(database))
    [found] = json.loads(shown(home, *options, "--json"))

    assert (found["cost_nano_usd"], found["list_price_nano_usd"]) == (815_000, 815_000)
    text = shown(home, *options)
    assert "$0.0008 " in text
    assert "($0.0008)" in text


def test_check_fits_into_80_columns(home: Home, database: Path) -> None:
    store_usages(database, PLAIN, UNKNOWN)
    result = home.invoke("prices", "check", "--db", str(database), env={"COLUMNS": "80"})
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_check_as_json(home: Home, database: Path) -> None:
    store_usages(database, UNKNOWN)

    [found] = json.loads(shown(home, "prices", "check", "--db", str(database), "--json"))

    assert (found["model"], found["cost_nano_usd"]) == ("unheard-of", None)
    assert "no model 'unheard-of'" in found["reason"]


def test_check_says_what_to_do_about_old_data(
    home: Home, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_list, "is_old", lambda today: True)
    store_usages(database)
    text = shown(home, "prices", "check", "--db", str(database))
    assert "pip install --upgrade genai-prices" in text
    assert "aibridge reprice --since" in text


def test_price_data_is_old_after_sixty_days() -> None:
    known = price_list.data_date()
    assert known
    assert not price_list.is_old(known + timedelta(days=60))
    assert price_list.is_old(known + timedelta(days=61))


def test_reprice_shows_and_writes_what_changed(home: Home, database: Path, tmp_path: Path) -> None:
    store_usages(database, PLAIN, UNKNOWN)
    config = tmp_path / "aibridge.toml"
    config.write_text('[[prices]]\nmatch = "unheard-of"\ninput = 1\noutput = 2\n')
    config.write_text(config.read_text() + "cache_read = 0\ncache_write = 0\nweb_search = 0\n")
    command = ("reprice", "--since", "all", "--db", str(database), "--config", str(config))

    would = shown(home, *command, "--dry-run")
    did = shown(home, *command)
    again = shown(home, *command)

    change = ["anthropic", "unheard-of", "1", "—", "$0.0001"]
    assert change in cells(would)
    assert "2 calls: the cost of 1 would change." in would
    assert change in cells(did)
    assert "2 calls: the cost of 1 changed." in did
    assert again.strip() == "2 calls: the cost of 0 changed."
    assert [row["cost_nano_usd"] for row in rows(database, "token_usages")] == [815_000, 50_000]


def test_calls_to_a_provider_that_was_removed_keep_their_prices(home: Home, database: Path) -> None:
    book = PriceBook(sellers={"removed": Seller(id="anthropic")})
    call = tokens(started(provider_name="removed"), model="claude-opus-4-5", extra={})
    store_usages(database, call, book=book)

    text = shown(home, "reprice", "--since", "all", "--db", str(database))

    assert "1 call: the cost of 0 changed." in text
    assert "Calls to removed keep their prices" in text
    assert rows(database, "token_usages")[0]["cost_nano_usd"] == 815_000


def test_reprice_reports_mistakes_in_the_config_file(
    home: Home, database: Path, tmp_path: Path
) -> None:
    config = tmp_path / "aibridge.toml"
    config.write_text('[[prices]]\nmatch = "x"\n')
    store_usages(database, PLAIN)

    options = ("--since", "all", "--db", str(database), "--config", str(config))
    result = home.invoke("reprice", *options)

    assert result.exit_code == 1
    assert "prices[0].input is missing" in result.output


def test_reprice_needs_nothing_that_only_the_proxy_has(
    home: Home, database: Path, tmp_path: Path
) -> None:
    config = tmp_path / "aibridge.toml"
    config.write_text(
        '[guardrails]\npolicies = ["module_of_the_proxy:Policy"]\n'
        '[[alerts]]\nurl_env = "WEBHOOK_OF_THE_PROXY"\n'
        '[[mcp_servers]]\nname = "files"\nurl = "https://${HOST_OF_THE_PROXY}/mcp"\n'
    )
    store_usages(database, PLAIN)

    options = ("--since", "all", "--db", str(database), "--config", str(config))

    assert "1 call: the cost of 0 changed." in shown(home, "reprice", *options)


def test_reprice_without_records_is_reported(home: Home, database: Path) -> None:
    result = home.invoke("reprice", "--since", "7d", "--db", str(database))
    assert result.exit_code == 1
    assert "nothing was recorded yet" in result.output


def test_doctor_names_providers_whose_calls_have_no_price() -> None:
    local = Provider(
        name="local", type="openai", base_url="http://127.0.0.1:1/v1", hosts=frozenset()
    )
    settings = default_settings(providers=(local,), prices=PriceBook(sellers={"local": None}))

    data, found = check_prices(Installation(settings=settings))

    assert data.level == "ok"
    assert (found.level, "calls to local have no price" in found.what) == ("note", True)
    assert "price_as" in found.to_do


def test_doctor_reports_old_price_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_list, "is_old", lambda today: today > date(2000, 1, 1))

    [found] = check_prices(Installation())

    assert found.level == "note"
    assert "aibridge reprice" in found.to_do
