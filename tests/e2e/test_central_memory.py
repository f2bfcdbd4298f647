"""Hidden turns are restored in later requests of a conversation, and in no others.

A client returns the results of its own calls; the central calls beside them, and their results, are
added upstream. Later requests of a conversation get all hidden turns again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from databases import PostgresDatabase
from standin import Server

from e2e.asking import API, APIS, Answer, user
from e2e.central import (
    ADD,
    FORWARD,
    FORWARD_H2,
    REVERSE,
    SUM,
    SUM_LINE,
    Central,
    key_headers,
    program,
)
from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy
from e2e.wire_formats import reader_of

MESSAGES, CHAT, RESPONSES = APIS

each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

OURS = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}}'
THEIRS = 'USE_TOOL:get_weather ARGS:{"city": "Oslo"}'
TOOLS = ["get_weather"]
WEATHER_LINE = 'calls get_weather {"city":"Oslo"}'


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


def ours_first() -> str:
    """Make the model call a central tool, then a client tool, in one turn."""
    return f'USE_TOOL:{ADD} USE_TOOL:get_weather ARGS:{{"a": 2, "b": 40}} ARGS:{{"city": "Oslo"}}'


def theirs_first() -> str:
    """Make the model call a client tool, then a central tool, in one turn."""
    return f'USE_TOOL:get_weather USE_TOOL:{ADD} ARGS:{{"city": "Oslo"}} ARGS:{{"a": 2, "b": 40}}'


def with_results(api: API, prompt: str, answer: Answer) -> list[Any]:
    """Return the conversation with which a client sends the results of its calls."""
    results = [api.result(call, "12 degrees") for call in answer.calls]
    return [user(prompt), *answer.turn, *results]


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
@each_api
@each_delivery
@pytest.mark.parametrize("script", [ours_first, theirs_first])
def test_client_sees_only_its_own_call_and_central_results_are_sent_beside_its_results(
    central: Central, way: Way, api: API, stream: bool, script: Callable[[], str]
) -> None:
    prompt = f"{script()} SAY:Moment"
    first = central.ask(api, way, prompt, stream=stream, tools=TOOLS)
    [call] = first.calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "Oslo"})
    assert len(central.requests) == 1
    conversation = with_results(api, prompt, first)
    second = central.ask(api, way, conversation, stream=stream, tools=TOOLS)
    assert second.text == "The tool returned: 42 | 12 degrees"
    calls = [SUM_LINE, WEATHER_LINE]
    assert central.transcripts(api)[1] == [
        f"user: {prompt}",
        "says Moment",
        *(calls if script is ours_first else reversed(calls)),
        "gets 42",
        "gets 12 degrees",
    ]


@each_api
@each_delivery
class TestMixedTurns:
    def test_response_ends_with_the_client_calls(
        self, central: Central, api: API, stream: bool
    ) -> None:
        story = central.see(api, FORWARD, f"{ours_first()} SAY", stream=stream, tools=TOOLS)
        assert story.lines == (WEATHER_LINE,)
        assert story.stop == reader_of(api).calls_stop

    def test_turns_hidden_before_a_client_call_are_restored(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = f"{SUM} NEXT {theirs_first()} SAY:Then"
        first = central.ask(api, FORWARD, prompt, stream=stream, tools=TOOLS)
        assert [call.name for call in first.calls] == ["get_weather"]
        central.ask(api, FORWARD, with_results(api, prompt, first), stream=stream, tools=TOOLS)
        assert central.transcripts(api)[-1] == [
            f"user: {prompt}",
            *("says Moment", SUM_LINE, "gets 42"),
            *("says Then", WEATHER_LINE, SUM_LINE, "gets 42", "gets 12 degrees"),
        ]

    def test_inner_loop_continues_after_the_clients_results(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = f"{ours_first()} SAY NEXT {SUM} NEXT LONG:2"
        first = central.ask(api, FORWARD, prompt, stream=stream, tools=TOOLS)
        second = central.ask(
            api, FORWARD, with_results(api, prompt, first), stream=stream, tools=TOOLS
        )
        assert second.calls == ()
        assert second.text.endswith("word0000 word0001 ")
        assert central.transcripts(api)[-1] == [
            f"user: {prompt}",
            *(SUM_LINE, WEATHER_LINE, "gets 42", "gets 12 degrees"),
            *("says Moment", SUM_LINE, "gets 42"),
        ]

    def test_unknown_conversation_is_sent_unchanged(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = "What is the weather?"
        answer = central.ask(api, FORWARD, f"{THEIRS} SAY", stream=stream, tools=TOOLS)
        conversation = _renamed(with_results(api, prompt, answer))
        central.ask(api, FORWARD, conversation, stream=stream, tools=TOOLS)
        field = "input" if api is RESPONSES else "messages"
        assert central.received[-1][field] == conversation


def _renamed(value: Any) -> Any:
    """Give the calls of a conversation unknown ids."""
    if isinstance(value, dict):
        return {key: _renamed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_renamed(member) for member in value]
    is_id = isinstance(value, str) and value.startswith(("toolu_", "call_"))
    return f"{value}_of_another" if is_id else value


@each_api
@each_delivery
class TestMemory:
    def test_hidden_turns_are_restored_in_later_requests(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = f"{SUM} THINK of_memory_{stream}"
        first = central.ask(api, FORWARD, prompt, stream=stream)
        hidden = central.transcripts(api)[-1]
        conversation = [user(prompt), *first.turn, user("And now?")]
        central.ask(api, FORWARD_H2, conversation, stream=stream)
        told = "says The tool returned: 42"
        assert central.transcripts(api)[-1] == [*hidden, told, "user: And now?"]

    def test_restored_conversation_starts_with_the_bytes_in_the_providers_cache(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = f"{SUM} of_the_cache_{stream}"
        first = central.ask(api, FORWARD, prompt, stream=stream)
        conversation = [user(prompt), *first.turn, user(f"{SUM} again")]
        central.ask(api, FORWARD, conversation, stream=stream)
        field = "input" if api is RESPONSES else "messages"
        earlier, later = central.received[1], central.received[2]
        assert later["tools"] == earlier["tools"]
        assert later[field][: len(earlier[field])] == earlier[field]

    def test_turns_with_a_client_call_are_restored_in_later_requests(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = f"{ours_first()} SAY"
        first = central.ask(api, FORWARD, prompt, stream=stream, tools=TOOLS)
        conversation = with_results(api, prompt, first)
        second = central.ask(api, FORWARD, conversation, stream=stream, tools=TOOLS)
        conversation += [*second.turn, user("And now?")]
        central.ask(api, FORWARD, conversation, stream=stream, tools=TOOLS)
        assert central.transcripts(api)[-1] == [
            f"user: {prompt}",
            *(SUM_LINE, WEATHER_LINE, "gets 42", "gets 12 degrees"),
            *("says The tool returned: 42 | 12 degrees", "user: And now?"),
        ]


@each_api
class TestWhoseMemory:
    def _first(self, central: Central, api: API, prompt: str) -> list[Any]:
        first = central.ask(
            api, FORWARD, prompt, client_options={"default_headers": {"X-AIBridge-Actor": "alice"}}
        )
        return [user(prompt), *first.turn, user("And now?")]

    def test_hidden_turns_are_restored_for_the_same_actor_and_key(
        self, central: Central, api: API
    ) -> None:
        conversation = self._first(central, api, f"{SUM} of_alice")
        central.see(api, REVERSE, conversation, headers={"x-aibridge-actor": "alice"})
        assert SUM_LINE in central.transcripts(api)[-1]

    def test_hidden_turns_are_not_restored_for_another_actor(
        self, central: Central, api: API
    ) -> None:
        conversation = self._first(central, api, f"{SUM} of_alice")
        central.see(api, REVERSE, conversation, headers={"x-aibridge-actor": "bob"})
        assert SUM_LINE not in central.transcripts(api)[-1]

    def test_hidden_turns_are_not_restored_for_another_key(
        self, central: Central, api: API
    ) -> None:
        conversation = self._first(central, api, f"{SUM} of_alice")
        other = key_headers(api, "sk-another-key-0123456789abcdef")
        central.see(api, REVERSE, conversation, headers={"x-aibridge-actor": "alice", **other})
        assert SUM_LINE not in central.transcripts(api)[-1]

    def test_hidden_turns_are_not_restored_for_another_wire_format(
        self, central: Central, api: API
    ) -> None:
        other = RESPONSES if api is CHAT else CHAT
        prompt = f"{SUM} of_another_api_than_{api}"
        told = "MomentThe tool returned: 42"
        central.ask(other, FORWARD, prompt)
        conversation = [user(prompt), {"role": "assistant", "content": told}, user("And now?")]
        central.see(api, FORWARD, conversation)
        last = reader_of(api).transcript(central.received[-1])
        assert last == [f"user: {prompt}", f"says {told}", "user: And now?"]


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the location of a database that several processes share."""
    if request.param == "sqlite":
        return str(tmp_path / "shared.sqlite3")
    return PostgresDatabase(request.getfixturevalue("postgres_server")).location


def test_conversation_goes_on_at_another_process_that_shares_the_database(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    central: Central,
    standin: Server,
    location: str,
) -> None:
    calc = {"calc": program() | {"allow": "^add$"}}
    one, other = (
        Central(proxy, clients_of(proxy), central.provider, standin)
        for proxy in [
            start_proxy(servers=calc, options={"aibridge_db": location}) for _ in range(2)
        ]
    )
    prompt = f"{SUM} NEXT {theirs_first()} SAY:Then"
    for api in APIS:
        first = one.ask(api, REVERSE, prompt, stream=True, tools=TOOLS)
        conversation = with_results(api, prompt, first)
        second = other.ask(api, REVERSE, conversation, tools=TOOLS)
        turns = [
            *("says Moment", SUM_LINE, "gets 42"),
            *("says Then", WEATHER_LINE, SUM_LINE, "gets 42", "gets 12 degrees"),
        ]
        assert reader_of(api).transcript(other.received[-1])[1:] == turns
        one.ask(api, REVERSE, [*conversation, *second.turn, user("And now?")], tools=TOOLS)
        assert reader_of(api).transcript(one.received[-1])[1 : 1 + len(turns)] == turns


@each_delivery
class TestStoredResponses:
    """OpenAI: the client names the earlier response, and sends only its results."""

    def test_central_results_are_sent_beside_those_of_the_client(
        self, central: Central, stream: bool
    ) -> None:
        first = central.ask(RESPONSES, FORWARD, f"{ours_first()} SAY", stream=stream, tools=TOOLS)
        results = [RESPONSES.result(call, "12 degrees") for call in first.calls]
        members = {"previous_response_id": first.id}
        central.see(RESPONSES, FORWARD, results, stream=stream, tools=TOOLS, members=members)
        assert central.received[-1]["previous_response_id"] == first.id
        assert central.transcripts(RESPONSES)[-1] == ["gets 42", "gets 12 degrees"]

    def test_central_results_are_sent_to_the_last_of_several_responses(
        self, central: Central, stream: bool
    ) -> None:
        prompt = f"{SUM} NEXT {ours_first()} SAY"
        first = central.ask(RESPONSES, FORWARD, prompt, stream=stream, tools=TOOLS)
        last = f"resp_{central.requests[-1].notes.response_id}"
        results = [RESPONSES.result(call, "12 degrees") for call in first.calls]
        members = {"previous_response_id": first.id}
        central.see(RESPONSES, FORWARD, results, stream=stream, tools=TOOLS, members=members)
        assert central.received[-1]["previous_response_id"] == last
        assert central.transcripts(RESPONSES)[-1] == ["gets 42", "gets 12 degrees"]
