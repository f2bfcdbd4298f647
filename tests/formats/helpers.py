"""Scenarios from `tests/fixtures`, and streams fed in every way."""

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import settings

from aibridge_addon.facts import (
    ProviderError,
    RequestFacts,
    ResponseFacts,
    Thought,
    ToolCall,
    Usage,
)
from aibridge_addon.formats import FORMATS, Format, RequestView
from aibridge_addon.formats.decoders.sse import Event, SSEParser
from aibridge_addon.formats.tool_protocol import ToolFormat
from aibridge_addon.providers.request_kind import purpose_of
from aibridge_addon.raw_json import members

FIXTURES = Path(__file__).parents[1] / "fixtures"
LINE_ENDS = {"LF": b"\n", "CR": b"\r", "CRLF": b"\r\n"}
TRAILING = b"\n\n: trailing"
"""Ends the event before it and brings no data of its own."""

IN_PATH = frozenset({"gemini"})
"""Formats whose requests name the model and ask for a stream in the path."""
OWN_TOOLS = IN_PATH | {"bedrock_converse", "ollama_chat"}
"""Formats whose requests do not hold tools in `tools`, or whose streams are not server-sent events;
their central tools have tests of their own."""
ENDS_WITH_BODY = frozenset({"gemini", "gemini_live", "openai_images"})
"""Formats whose streams have no event that marks their end."""

thorough = settings(max_examples=examples(12) * settings().max_examples)
"""For properties that are not checked once for every fixture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A folder of fixtures: one exchange, as seen streamed and not streamed."""

    api: str
    name: str

    def __str__(self) -> str:
        return f"{self.api}/{self.name}"

    @property
    def wire_format(self) -> Format:
        return FORMATS[self.api]

    def has(self, file: str) -> bool:
        return self._path(file).exists()

    def read(self, file: str) -> bytes:
        return self._path(file).read_bytes()

    def stream(self, line_end: str = "LF") -> bytes:
        return self.read("stream.sse").replace(b"\n", LINE_ENDS[line_end])

    def request_facts(self) -> dict[str, Any]:
        """Return the expected facts of the request; `prompt` is the typed text."""
        named: dict[str, Any] = json.loads(self.read("facts.json"))["request"]
        return dict.fromkeys(("model", "correlating_tool_call_id", "session_hint", "prompt")) | {
            "streaming": False,
            **named,
        }

    def request_view(self) -> RequestView:
        """Return the request; `path` and `path_values` are those of the format's route."""
        named = json.loads(self.read("facts.json"))
        return RequestView(
            members=members(self.read("request.json")) or {},
            path=named.get("path", ""),
            path_values=named.get("path_values", {}),
        )

    def response_facts(self) -> ResponseFacts:
        return response_facts(**json.loads(self.read("facts.json"))["response"])

    def _path(self, file: str) -> Path:
        return FIXTURES / self.api / self.name / file


def response_facts(
    *,
    usage: dict[str, Any] | None = None,
    hidden_usages: Iterable[dict[str, Any]] = (),
    tool_calls: Iterable[dict[str, Any]] = (),
    thoughts: Iterable[dict[str, Any]] = (),
    error: dict[str, Any] | None = None,
    unknown: Iterable[str] = (),
    **rest: Any,
) -> ResponseFacts:
    return ResponseFacts(
        usage=Usage(**usage) if usage else None,
        hidden_usages=tuple(Usage(**one) for one in hidden_usages),
        tool_calls=tuple(ToolCall(**call) for call in tool_calls),
        thoughts=tuple(Thought(**thought) for thought in thoughts),
        error=ProviderError(**error) if error else None,
        unknown=tuple(unknown),
        **rest,
    )


SCENARIOS = sorted(
    (Scenario(api=path.parent.name, name=path.name) for path in FIXTURES.glob("*/*/")), key=str
)
STREAMS = [scenario for scenario in SCENARIOS if scenario.has("stream.sse")]
ANSWERS = [scenario for scenario in SCENARIOS if scenario.has("answer.json")]
REQUESTS = [scenario for scenario in SCENARIOS if scenario.has("request.json")]


def read_request(wire_format: Format, body: Any) -> RequestFacts:
    """Read a request given as a value, as bytes of JSON or as its members' JSON."""
    parts = members(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert parts is not None
    return wire_format.read_request(RequestView(members=parts))


APIS_WITH_TOOLS = [
    name
    for name, wire_format in FORMATS.items()
    if wire_format.tools and name != "bedrock_invoke"  # in frames: see `test_bedrock`
]


def tools_of(api: str) -> ToolFormat:
    """Return a wire format's support for central tools."""
    tools = FORMATS[api].tools
    assert tools
    return tools


def sse(*values: Any) -> bytes:
    """Values as a stream of their JSON."""
    return b"".join(b"data: %s\n\n" % json.dumps(value).encode() for value in values)


def parse(chunks: Iterable[bytes]) -> list[Event]:
    """Every event of a stream, the unfinished one included."""
    parser = SSEParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    if rest := parser.close():
        events.append(rest)
    return events


def data_of(events: Iterable[Event]) -> list[tuple[bytes, bytes]]:
    """Return names and data of the events, as a client sees them."""
    return [(event.name, event.data) for event in events if event.data is not None]


def raw_of(events: Iterable[Event]) -> bytes:
    return b"".join(event.raw for event in events)


def read_stream(wire_format: Format, chunks: Iterable[bytes]) -> ResponseFacts:
    reader = wire_format.reader()
    for event in parse(chunks):
        reader.feed(event)
    return reader.facts()


def three_ways[T](run: Callable[[list[bytes]], T], data: bytes) -> T:
    """Run on the data whole, byte by byte and with trailing data; the result must not differ."""
    whole = run([data])
    assert run([data[i : i + 1] for i in range(len(data))]) == whole
    assert run([data + TRAILING]) == whole
    return whole


def prompt_of(facts: RequestFacts) -> str | None:
    """Return what was typed in the trailing messages of a request."""
    return "\n".join(purpose_of("Unknown", {}, facts).typed) or None


def named_facts(facts: RequestFacts, names: Iterable[str]) -> dict[str, Any]:
    """Return facts by name, and what was typed as `prompt`."""
    return {name: prompt_of(facts) if name == "prompt" else getattr(facts, name) for name in names}


def every(scenarios: Iterable[Scenario]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with each scenario: a test per API, whose error names the scenario.

    A test for each of thousands of cases would cost more than the cases.
    """
    grouped: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        grouped.setdefault(scenario.api, []).append(scenario)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def run(scenarios_of: str, **arguments: Any) -> None:
            for scenario in grouped[scenarios_of]:
                try:
                    test(scenario=scenario, **arguments)
                except BaseException as error:
                    error.add_note(f"scenario: {scenario}")
                    raise

        signature = inspect.signature(test)
        own = [p for name, p in signature.parameters.items() if name != "scenario"]
        kept = [p.replace(kind=p.KEYWORD_ONLY) for p in own]
        api = inspect.Parameter("scenarios_of", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = signature.replace(parameters=[api, *kept])  # type: ignore[attr-defined]
        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        run.pytestmark = list(getattr(test, "pytestmark", ()))  # type: ignore[attr-defined]
        decorated: Callable[..., None] = pytest.mark.parametrize("scenarios_of", list(grouped))(run)
        return decorated

    return decorate
