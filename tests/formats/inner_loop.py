"""Runs the tool formats as the inner loop does: splices, merges, restores, and asks the SDKs."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import anthropic
import httpx2
import openai
import pytest

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult
from aibridge_addon.formats.tool_protocol import (
    Members,
    Restoration,
    Splicer,
    Turn,
    run_key,
)
from aibridge_addon.raw_json import JSON, body, decode, members
from formats.helpers import (
    APIS_WITH_TOOLS,
    OWN_TOOLS,
    Scenario,
    parse,
    tools_of,
)

apis = pytest.mark.parametrize("api", [api for api in APIS_WITH_TOOLS if api not in OWN_TOOLS])
"""The wire formats whose requests have `tools` and `messages` or `input`, and whose streams are
server-sent events."""
offering = pytest.mark.parametrize(
    "api", [api for api in APIS_WITH_TOOLS if api not in OWN_TOOLS or api == "ollama_chat"]
)
"""The wire formats whose requests have `tools`."""
NAMES = frozenset({"bmcp_s_look", "bmcp_s_find"})
"""The injected names of scenarios that are made here."""


class Spliced(NamedTuple):
    """Output of a splicer for several streams."""

    stream: bytes
    turns: list[Turn]


def splice(
    api: str, upstream: Sequence[bytes | list[bytes]], names: frozenset[str] = NAMES
) -> Spliced:
    """Splice streams as the inner loop does."""
    splicer = tools_of(api).splicer(names)
    out: list[bytes] = []
    turns = []
    for number, stream in enumerate(upstream):
        if number:
            splicer.resume()
        out += feed(api, splicer, stream)
        turns.append(splicer.turn())
    return Spliced(b"".join(out) + splicer.finish(), turns)


def feed(api: str, splicer: Splicer, stream: bytes | list[bytes]) -> list[bytes]:
    """Feed one answer as the tap does; return what the client gets of each event."""
    reader = FORMATS[api].reader()
    events = parse([stream] if isinstance(stream, bytes) else stream)
    return [splicer.feed(event, reader.feed(event)) for event in events]


def merge(
    api: str, answers: Sequence[JSON], names: frozenset[str] = NAMES
) -> tuple[JSON, list[Turn]]:
    """Merge buffered responses as the inner loop does."""
    merger = tools_of(api).merger(names)
    turns = [merger.add(decode(json.dumps(answer).encode())) for answer in answers]
    return decode(merger.finish()), turns


def values(stream: bytes) -> list[JSON]:
    """The JSON of a stream's events, in order."""
    return [
        json.loads(event.data) for event in parse([stream]) if event.data not in (None, b"[DONE]")
    ]


def tool(name: str, **schema: Any) -> CentralTool:
    return CentralTool(
        name=name,
        server="s",
        server_url="https://mcp.example/",
        original_name=name.removeprefix("bmcp_s_"),
        description=f"Does {name}.",
        input_schema={"type": "object", **schema},
    )


TOOLS = tuple(tool(name) for name in sorted(NAMES))


def request(value: Any) -> Members:
    """A request's members, written as people write JSON."""
    parts = members(json.dumps(value, indent=1, ensure_ascii=False).encode())
    assert parts is not None
    return parts


def result(text: str = "found", *, is_error: bool = False) -> ToolResult:
    return ToolResult(parts=(ResultPart(kind="text", text=text),), is_error=is_error)


IMAGE = ToolResult(
    parts=(
        ResultPart(kind="text", text="A map:"),
        ResultPart(kind="image", data="aW1n", media_type="image/png"),
        ResultPart(kind="other", text='{"uri":"file:///x"}'),
    )
)


class Loop(NamedTuple):
    """Outcome of an inner loop that works like the real loop."""

    asked: list[Members]
    """The requests upstream."""
    found: dict[str, Restoration]
    """Entries for the ledger."""


def loop(
    api: str, asked: Any, turns: Sequence[Turn], ids: Sequence[str] = ("r1", "r2", "r3")
) -> Loop:
    """Go through turns; every call gets a result that names it."""
    tool_format = tools_of(api)
    requests = [request(asked)]
    hidden: list[JSON] = []
    results: list[JSON] = []
    for turn in turns:
        answers = [(call, result(f"result of {call.call_id}")) for call in turn.calls]
        items = tool_format.result_items(answers)
        if not turn.calls or turn.client_calls:
            results = items
            break
        hidden += [*tool_format.turn_items(turn), *tool_format.result_messages(items)]
        requests.append(tool_format.continue_request(requests[-1], turn, items, last=False))
    sequence = (*hidden, *tool_format.turn_items(turns[-1]))
    shown = "".join(turn.text for turn in turns)
    key = run_key(turns[-1].client_calls, tool_format.transcript(request(asked)).text_since, shown)
    found = {key: Restoration(sequence=sequence, results=tuple(results))}
    if len(turns) > 1 and (alias := tool_format.alias_key(ids[0])):
        found[alias] = Restoration(sequence=(ids[len(turns) - 1],))
    return Loop(requests, found)


def restored(api: str, asked: Any, found: dict[str, Restoration]) -> Any:
    """The request with what was hidden put back; the same members if nothing was."""
    given = request(asked)
    before = dict(given)
    tool_format = tools_of(api)
    known = {
        run.key: found[run.key] for run in tool_format.transcript(given).runs if run.key in found
    }
    was_restored = tool_format.restore(given, known)
    assert was_restored is bool(known)
    if not was_restored:
        assert given == before
    return json.loads(body(given))


def sequence_of(asked: Members) -> Any:
    """The conversation that a request upstream carries."""
    return json.loads(bytes(asked["messages" if "messages" in asked else "input"]))


_body = b""


def _answer(_: httpx2.Request) -> httpx2.Response:
    kind = "text/event-stream" if b"data:" in _body else "application/json"
    return httpx2.Response(200, headers={"content-type": kind}, content=_body)


@cache
def _transport() -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(_answer))


@cache
def _clients() -> tuple[anthropic.Anthropic, openai.OpenAI]:
    return (
        anthropic.Anthropic(api_key="k", base_url="http://a", http_client=_transport()),
        openai.OpenAI(api_key="k", base_url="http://o", http_client=_transport()),
    )


def sdk_sees(api: str, stream: bytes) -> Any:
    """Return the message that the official SDK accumulates from a stream."""
    global _body
    _body = stream
    of_anthropic, of_openai = _clients()
    if api == "anthropic_messages":
        with of_anthropic.messages.stream(model="m", max_tokens=1, messages=[]) as message:
            return message.get_final_message().to_dict(mode="json")
    if api == "openai_chat":
        with of_openai.chat.completions.stream(model="m", messages=[]) as completion:
            return completion.get_final_completion().to_dict(mode="json")
    with of_openai.responses.stream(model="m", input="") as response:
        return response.get_final_response().to_dict(mode="json")


# Streams in which nothing is injected


def called(scenario: Scenario) -> list[str]:
    """The names of the client tools that a scenario calls."""
    calls = scenario.response_facts().tool_calls
    return sorted({call.tool for call in calls if not call.server_side})
