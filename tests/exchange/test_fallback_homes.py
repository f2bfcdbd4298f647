"""Conversations that a fallback serves are found by the state that their requests carry."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from store.doubles import ended, started

from aibridge_addon.exchange.fallback_homes import FallbackHomes
from aibridge_addon.facts import HiddenTurns, Interception, Status, new_id
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import members
from aibridge_addon.store.errors import StoreError

FIRST, OTHER = "first", "other"


def request(**values: Any) -> Members:
    found = members(json.dumps(values).encode())
    assert found is not None
    return found


def begun(session: str | None = "s", actor: str = "alice") -> Interception:
    return started(id=new_id(), provider_name=FIRST, client_session_id=session, initiator_id=actor)


def serve(
    homes: FallbackHomes,
    asked: Members,
    served_by: str = OTHER,
    *,
    response_id: str | None = "r-1",
    status: Status = Status.COMPLETED,
    **values: Any,
) -> None:
    interception = begun(**values)
    homes.note(interception, asked)
    served = replace(interception, provider_name=served_by)
    homes.on_end(ended(served, provider_response_id=response_id, status=status))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


async def home(homes: FallbackHomes, asked: Members, **values: Any) -> str | None:
    """Return the fallback that a further request returns to."""
    mark = homes.note(begun(**values), asked)
    return await homes.find(mark) if mark else None


async def home_of(homes: FallbackHomes, response_id: str, first: str = FIRST) -> str | None:
    return await homes.find((first, response_id))


@pytest.mark.parametrize(
    ("asked", "further"),
    [
        (
            {"messages": [user("a")]},
            {"messages": [{**user("a"), "cache_control": {}}, user("b")]},
        ),
        ({"input": "a"}, {"input": "a"}),
        ({"input": "a"}, {"input": [{"role": "user", "content": "a"}, {"type": "reasoning"}]}),
        (
            {"input": [{"role": "developer", "content": "d"}, user("a")]},
            {"input": [{"role": "developer", "content": "e"}, user("a")]},
        ),
        (
            {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
            {"contents": [{"parts": [{"text": "a"}]}, {"role": "model"}]},
        ),
        ({"input": "a"}, {"input": "b", "previous_response_id": "r-1"}),
        ({"input": "a"}, {"input": "b", "previous_interaction_id": "r-1"}),
    ],
)
async def test_conversation_is_found_by_its_beginning_or_its_last_response(
    asked: dict[str, Any], further: dict[str, Any]
) -> None:
    homes = FallbackHomes()
    serve(homes, request(**asked))
    assert await home(homes, request(**further)) == OTHER
    assert await home_of(homes, "r-1") == OTHER


async def test_other_conversation_is_not_found() -> None:
    homes = FallbackHomes()
    asked = request(messages=[user("a")])
    serve(homes, asked)
    assert await home(homes, request(messages=[user("b")])) is None
    assert await home(homes, asked, session="t") is None
    assert await home(homes, asked, actor="bob") is None
    assert await home(homes, request(input="a", previous_response_id="r-2")) is None
    assert await home_of(homes, "r-1", OTHER) is None


async def test_conversation_that_the_first_instance_serves_again_is_at_home_there() -> None:
    homes = FallbackHomes()
    asked = request(messages=[user("a")])
    serve(homes, asked)
    serve(homes, asked, OTHER, status=Status.FAILED)
    serve(homes, asked, FIRST, status=Status.FAILED)
    assert await home(homes, asked) == OTHER
    serve(homes, asked, FIRST, response_id="r-2")
    assert await home(homes, asked) is None
    assert await home_of(homes, "r-1") == OTHER, "it is stored there"


async def test_memory_is_bounded() -> None:
    homes = FallbackHomes(most=4)
    for number in range(20):
        serve(homes, request(messages=[user(str(number))]), response_id=f"r-{number}")
        await home(homes, request(messages=[user("open")]))
    assert await home_of(homes, "r-19") == OTHER
    assert await home_of(homes, "r-1") is None


class Store:
    """The memory that processes share; counts the lookups."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.lookups = 0
        self.is_away = False
        self.seconds = 0.0

    def remember(self, turns: HiddenTurns) -> None:
        self.kept[turns.scope, turns.key] = turns.content

    async def find(self, scope: str, keys: Collection[str]) -> Mapping[str, str]:
        self.lookups += 1
        if self.is_away:
            raise StoreError("away")
        return {key: self.kept[scope, key] for key in keys if (scope, key) in self.kept}

    def process(self) -> FallbackHomes:
        made = FallbackHomes(clock=lambda: self.seconds)
        made.share(remember=self.remember, find=self.find)
        return made


async def test_other_process_finds_a_conversation_and_asks_the_store_once() -> None:
    store = Store()
    one, two = store.process(), store.process()
    asked = request(messages=[user("a")])
    serve(one, asked)
    for _ in range(3):
        assert await home(two, asked) == OTHER
        assert await home_of(two, "r-1") == OTHER
        assert await home(two, request(messages=[user("b")])) is None
    assert store.lookups == 3


async def test_conversation_of_the_first_instance_is_neither_stored_nor_looked_up() -> None:
    store = Store()
    homes = store.process()
    asked = request(messages=[user("a")])
    serve(homes, asked, FIRST)
    assert await home(homes, asked) is None
    assert await home_of(homes, "r-1") is None
    assert (store.kept, store.lookups) == ({}, 0)


async def test_conversation_that_the_first_instance_serves_again_is_stored_as_its_own() -> None:
    store = Store()
    one, two = store.process(), store.process()
    asked = request(messages=[user("a")])
    serve(one, asked)
    serve(one, asked, FIRST, response_id="r-2")
    assert await home(two, asked) is None


async def test_store_that_is_away_leads_to_the_first_instance_until_it_is_back() -> None:
    store = Store()
    one, two = store.process(), store.process()
    asked = request(messages=[user("a")])
    serve(one, asked)
    store.is_away = True
    assert await home(two, asked) is None
    store.is_away = False
    assert await home(two, asked) == OTHER


async def test_conversation_that_another_process_moves_to_a_fallback_is_found_there() -> None:
    store = Store()
    one, two = store.process(), store.process()
    asked = request(messages=[user("a")])
    serve(one, asked, FIRST)
    serve(two, asked, OTHER)
    assert await home(one, asked) is None, "it has just served it"
    store.seconds += 3
    assert await home(one, asked) == OTHER
    store.is_away = True
    store.seconds += 3
    assert await home(one, asked) == OTHER


async def test_newer_home_is_kept_and_told_to_the_others() -> None:
    store = Store()
    one, two = store.process(), store.process()
    asked = request(messages=[user("a")])
    serve(two, asked, OTHER)
    serve(one, asked, FIRST)  # which does not know of the other one
    store.seconds += 3
    assert await home(two, asked) == OTHER
    assert await home(one, asked) is None
    store.seconds += 3
    assert await home(two, asked) is None
