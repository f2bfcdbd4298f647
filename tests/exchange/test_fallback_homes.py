"""Conversations that a fallback serves are found by the state that their requests carry."""

import json
from dataclasses import replace
from typing import Any

import pytest
from store.doubles import ended, started

from aibridge_addon.exchange.fallback_homes import FallbackHomes
from aibridge_addon.facts import Interception, Status, new_id
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import members

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
    homes.of_request(interception, asked)
    served = replace(interception, provider_name=served_by)
    homes.on_end(ended(served, provider_response_id=response_id, status=status))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


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
def test_conversation_is_found_by_its_beginning_or_its_last_response(
    asked: dict[str, Any], further: dict[str, Any]
) -> None:
    homes = FallbackHomes()
    serve(homes, request(**asked))
    assert homes.of_request(begun(), request(**further)) == OTHER
    assert homes.of_response(FIRST, "r-1") == OTHER


def test_other_conversation_is_not_found() -> None:
    homes = FallbackHomes()
    asked = request(messages=[user("a")])
    serve(homes, asked)
    assert homes.of_request(begun(), request(messages=[user("b")])) is None
    assert homes.of_request(begun("t"), asked) is None
    assert homes.of_request(begun(actor="bob"), asked) is None
    assert homes.of_request(begun(), request(input="a", previous_response_id="r-2")) is None
    assert homes.of_response(OTHER, "r-1") is None
    assert homes.of_response(FIRST, None) is None


def test_conversation_that_the_first_instance_serves_again_is_at_home_there() -> None:
    homes = FallbackHomes()
    asked = request(messages=[user("a")])
    serve(homes, asked)
    serve(homes, asked, OTHER, status=Status.FAILED)
    serve(homes, asked, FIRST, status=Status.FAILED)
    assert homes.of_request(begun(), asked) == OTHER
    serve(homes, asked, FIRST, response_id="r-2")
    assert homes.of_request(begun(), asked) is None
    assert homes.of_response(FIRST, "r-1") == OTHER, "it is stored there"


def test_memory_is_bounded() -> None:
    homes = FallbackHomes(most=4)
    for number in range(20):
        serve(homes, request(messages=[user(str(number))]), response_id=f"r-{number}")
        homes.of_request(begun(), request(messages=[user("open")]))
    assert homes.of_response(FIRST, "r-19") == OTHER
    assert homes.of_response(FIRST, "r-1") is None
