"""Ledger: stores hidden turns by scope and key, in memory and in the store."""

import json
import logging
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from aibridge_addon.facts import HiddenTurns
from aibridge_addon.formats.tool_protocol import Restoration
from aibridge_addon.tools import ledger as module
from aibridge_addon.tools.ledger import Ledger, scope_of

HIDDEN = Restoration(
    sequence=(
        {"role": "assistant", "content": [{"type": "thinking", "signature": "c2ln", "n": 2**64}]},
        {"role": "user", "content": "é \ud83d\ude00 \x00", "deep": [[{"a": None}], 1.5, True]},
    ),
    results=({"type": "tool_result", "tool_use_id": "t"},),
)
OTHER = Restoration(sequence=("resp_2",))


class Store:
    """A store in memory that can fail."""

    def __init__(self) -> None:
        self.turns: list[HiddenTurns] = []
        self.asked: list[tuple[str, list[str]]] = []
        self.error: Exception | None = None

    def remember(self, turns: HiddenTurns) -> None:
        self.turns.append(turns)

    async def find(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        self.asked.append((scope, list(keys)))
        if self.error:
            raise self.error
        return {t.key: t.content for t in self.turns if t.scope == scope and t.key in keys}


@pytest.fixture
def store() -> Store:
    return Store()


def ledger_on(store: Store) -> Ledger:
    return Ledger(remember=store.remember, find=store.find)


async def test_recent_entry_is_found_without_the_store(store: Store) -> None:
    ledger = ledger_on(store)
    ledger.add("me", "k", HIDDEN)
    assert await ledger.find("me", ["k"]) == {"k": HIDDEN}
    assert store.asked == []


async def test_entry_is_found_in_the_store_by_another_process(store: Store) -> None:
    ledger_on(store).add("me", "k", HIDDEN)
    other = ledger_on(store)
    found = await other.find("me", ["k", "unknown", "k"])
    assert found["k"].results == HIDDEN.results
    assert json.dumps(found["k"].sequence) == json.dumps(HIDDEN.sequence)
    assert store.asked == [("me", ["k", "unknown"])]
    assert await other.find("me", ["k"]) == found
    assert len(store.asked) == 1, "what was found is in memory from then on"


async def test_entry_is_not_found_in_another_scope(store: Store) -> None:
    ledger = ledger_on(store)
    ledger.add("me", "k", HIDDEN)
    ledger.add("you", "k", OTHER)
    assert await ledger.find("them", ["k"]) == {}
    assert await ledger_on(store).find("them", ["k"]) == {}
    assert await ledger.find("you", ["k"]) == {"k": OTHER}
    assert await ledger.find("me", ["k"]) == {"k": HIDDEN}


async def test_newest_entry_of_a_key_wins(store: Store) -> None:
    ledger = ledger_on(store)
    ledger.add("me", "k", OTHER)
    ledger.add("me", "k", HIDDEN)
    assert await ledger.find("me", ["k"]) == {"k": HIDDEN}


async def test_only_the_newest_entries_are_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IN_MEMORY", 3)
    ledger = ledger_on(store)
    for key in ("a", "b", "c", "a", "d"):
        ledger.add("me", key, OTHER)
    assert len(ledger._recent) == 3
    assert set(await ledger.find("me", ["c", "a", "d"])) == {"c", "a", "d"}
    assert store.asked == []
    assert await ledger.find("me", ["b"]) == {"b": OTHER}
    assert store.asked == [("me", ["b"])]
    assert len(ledger._recent) == 3


async def test_store_is_searched_once_for_an_unknown_key(store: Store) -> None:
    ledger = ledger_on(store)
    for _ in range(2):
        assert await ledger.find("me", ["k", "l"]) == {}
    assert store.asked == [("me", ["k", "l"])]
    assert await ledger.find("you", ["k"]) == {}
    assert store.asked[1:] == [("you", ["k"])]


async def test_store_is_not_searched_for_a_response_that_hid_nothing(store: Store) -> None:
    ledger = ledger_on(store)
    ledger.add_nothing("me", "k")
    assert await ledger.find("me", ["k", "new"]) == {}
    assert store.asked == [("me", ["new"])]


@pytest.mark.parametrize("order", [("add", "add_nothing"), ("add_nothing", "add")])
async def test_hidden_turns_win_over_nothing_hidden_for_the_same_key(
    store: Store, order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IN_MEMORY", 1)
    ledger = ledger_on(store)
    for name in order:
        if name == "add":
            ledger.add("me", "k", OTHER)
        else:
            ledger.add_nothing("me", "k")
    assert await ledger.find("me", ["k"]) == {"k": OTHER}
    ledger.add("me", "another", OTHER)
    assert await ledger.find("me", ["k"]) == {"k": OTHER}, "it is found in the store again"


async def test_turns_hidden_during_a_lookup_are_found_later(store: Store) -> None:
    ledger = ledger_on(store)

    async def find(scope: str, keys: Collection[str]) -> Mapping[str, str]:
        ledger.add(scope, "k", HIDDEN)
        return {}

    ledger._find = find
    assert await ledger.find("me", ["k"]) == {}
    assert await ledger.find("me", ["k"]) == {"k": HIDDEN}


async def test_only_the_newest_keys_that_hid_nothing_are_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_NOTHING_HIDDEN", 2)
    ledger = ledger_on(store)
    for key in ("a", "b", "c"):
        ledger.add_nothing("me", key)
    assert await ledger.find("me", ["a", "b", "c"]) == {}
    assert store.asked == [("me", ["a"])]


async def test_failing_store_finds_nothing_and_is_logged(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = ledger_on(store)
    ledger.add("me", "k", HIDDEN)
    store.error = OSError("gone")
    with caplog.at_level(logging.ERROR):
        assert await ledger.find("me", ["k", "other"]) == {"k": HIDDEN}
    assert "hidden turns cannot be read from the store" in caplog.text
    assert "gone" in caplog.text
    store.error = None
    await ledger.find("me", ["other"])
    assert store.asked[-1] == ("me", ["other"]), "it may well know"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"sequence":1,"results":[]}', "{}"])
async def test_unreadable_entry_of_the_store_is_not_found(
    store: Store, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.turns = [HiddenTurns(scope="me", key="k", content=content, created_at="")]
    assert await ledger_on(store).find("me", ["k"]) == {}
    assert "hidden turns cannot be read from the store" in caplog.text


async def test_lookup_of_no_keys_does_not_search_the_store(store: Store) -> None:
    assert await ledger_on(store).find("me", []) == {}
    assert store.asked == []


def test_store_receives_scope_key_and_json(store: Store) -> None:
    ledger_on(store).add("me", "k", HIDDEN)
    [turns] = store.turns
    assert (turns.scope, turns.key) == ("me", "k")
    content: Any = json.loads(turns.content)
    assert list(content) == ["sequence", "results"]
    assert turns.created_at > "2026"


def test_scope_is_one_actor_provider_format_and_credential() -> None:
    scopes = {
        scope_of("a", "p", "api", "c"),
        scope_of("b", "p", "api", "c"),
        scope_of("a", "q", "api", "c"),
        scope_of("a", "p", "other", "c"),
        scope_of("a", "p", "api", "d"),
        scope_of("ap", "", "api", "c"),
        scope_of("a", "papi", "", "c"),
        scope_of("", "", "", ""),
        scope_of("half \ud83d", "p", "api", "c"),
    }
    assert len(scopes) == 9
    assert scope_of("a", "p", "api", "c") in scopes
    assert all(len(scope) == 64 and scope != "a" * 2 for scope in scopes)
