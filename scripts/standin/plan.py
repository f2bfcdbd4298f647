"""Decides the model's response by words in the user's text, so that any client can drive it.

Directives, searched in the last 4,000 characters of the user's last text:

===================  ===============================================================================
`USE_TOOL[:name]`    calls the first (or the named) tool; may stand several times; once the results
                     are there, answers with a text that contains them
`ARGS:{…}`           the arguments of the call (of the nth call, for the nth time); else made from
                     the tool's schema
`PARALLEL`           calls two tools at once
`TURNS:n`            goes on calling for n turns before it answers
`NEXT`               what stands after it is for the next turn, once the results are there; every
                     stretch between two of them is a script of its own
`SAY[:word]`         when it calls, says that word or nothing; else it names the tools
`AFTER:word`         says that word after its calls
`THINK`              thinks first
`LONG:n`             answers with n text deltas
`TOKENS:i,o,r,w`     usage: input (without caches), output, cache read, cache write
`STOP_SHORT`         ends for want of tokens
`STATUS:code`        answers with that HTTP error
`PACE:ms`            waits between events
`GATE:name`          withholds each event after the first until `provider.gate(name).release()`
`CODING:c`           compresses the answer: identity, gzip, br, zstd
`MEDIA:type`         gives the answer that content type: none, events, plain, octets, json
`OTHER_SHAPE`        streams what was to come whole, and the reverse
`PIECES:how`         writes a stream as one piece, or byte by byte (one, bytes), or as one piece
                     whose length is announced (sized)
`BOM`                begins a stream with a byte order mark
`ERROR_EVENT`        an error event in the middle of the stream (not streaming: 500)
`END_EARLY`          the connection closes in the middle
`CUT`                the same, and only where the answer streams
`RESET`              the connection or HTTP/2 stream is reset in the middle
`DROP`               the connection is reset before any answer
===================  ===============================================================================

Without a `TOKENS`, usage derives from lengths: see `tokens` and `Usage`.
"""

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from standin.rendering import words

_SCANNED = 4000

_DIRECTIVE = re.compile(
    r"(?<!\w)(USE_TOOL|PARALLEL|TURNS|SAY|AFTER|THINK|LONG|TOKENS|STOP_SHORT|STATUS|PACE|GATE"
    r"|CODING|MEDIA|OTHER_SHAPE|PIECES|BOM|ERROR_EVENT|END_EARLY|CUT|RESET|DROP)(?::([\w,.-]*[\w]))?(?!\w)"
)

_NEXT = re.compile(r"(?<!\w)NEXT(?!\w)")

ANSWER = "Hello from the stand-in."
THOUGHT = "The user wants something. Let me think about it."


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the client offers."""

    name: str
    schema: Any = field(hash=False)
    custom: bool = False
    """OpenAI's free-form tools, whose input is text."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, independent of its API."""

    model: str
    stream: bool
    said: str
    """The user's last text."""
    results: tuple[str, ...]
    """Tool results that stand at the end of the conversation."""
    turns: int
    """Number of turns of tool calls since `said`."""
    tools: tuple[Tool, ...]
    """Tools that the model may call."""
    forced: str | None
    """Tool that the model must call; empty for any."""
    size: int
    """Bytes of the request's body."""
    include_usage: bool = True
    """Chat Completions: whether a stream ends with its usage."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the model."""

    name: str
    arguments: str
    custom: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, each counted once: `input` is without what a cache gave or took."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int = 0
    """Part of `output`."""

    @property
    def input_total(self) -> int:
        """Input with caches, which is what OpenAI calls input."""
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer of the model."""

    model: str
    deltas: tuple[str, ...]
    """The text, as it streams."""
    thinking: str
    calls: tuple[Call, ...]
    usage: Usage
    stop_short: bool = False
    after: str = ""
    """Text after the calls."""

    @property
    def text(self) -> str:
        """The text as a whole."""
        return "".join(self.deltas)


@dataclass(frozen=True, slots=True)
class Script:
    """The directives of a text."""

    values: dict[str, list[str]]
    arguments: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def number(self, name: str, default: int) -> int:
        """Return the number that a directive names."""
        value = self.values.get(name, [""])[0]
        return int(value) if value.isdigit() else default

    def word(self, name: str) -> str | None:
        """Return the word that a directive names."""
        return next((value for value in self.values.get(name, []) if value), None)


def script_of(ask: Ask) -> tuple[Ask, Script]:
    """Return the script of this turn and the request from that script's view."""
    turns = _NEXT.split(ask.said[-_SCANNED:])
    number = min(ask.turns, len(turns) - 1)
    return replace(ask, turns=ask.turns - number), read_script(turns[number])


def read_script(said: str) -> Script:
    """Find the directives in a text."""
    said = said[-_SCANNED:]
    values: dict[str, list[str]] = {}
    for match in _DIRECTIVE.finditer(said):
        values.setdefault(match[1], []).append(match[2] or "")
    arguments = []
    decoder = json.JSONDecoder()
    for match in re.finditer(r"(?<!\w)ARGS:(?=\{)", said) if "ARGS:" in said else ():
        value, _ = decoder.raw_decode(said, match.end())
        arguments.append(json.dumps(value))
    return Script(values, tuple(arguments))


def tokens(text: str) -> int:
    """Count the tokens of a text: one for every four characters begun."""
    return (len(text) + 3) // 4


def make_plan(ask: Ask, script: Script) -> Plan:
    """Decide what the model says."""
    thinking = THOUGHT if "THINK" in script and not ask.turns else ""
    calls = _calls(ask, script)
    if calls and "SAY" in script:
        text = script.word("SAY") or ""
    elif calls:
        text = f"I will use {' and '.join(call.name for call in calls)}."
    elif ask.results:
        text = f"The tool returned: {' | '.join(ask.results)}"
    else:
        text = ANSWER
    if "LONG" in script and not calls:
        deltas = tuple(f"word{number:04} " for number in range(script.number("LONG", 100)))
    else:
        deltas = tuple(words(text))
    usage = _usage(ask, script, deltas, thinking, calls)
    after = (script.word("AFTER") or "") if calls else ""
    return Plan(ask.model, deltas, thinking, calls, usage, "STOP_SHORT" in script, after)


def _calls(ask: Ask, script: Script) -> tuple[Call, ...]:
    if not ask.tools or ask.turns >= script.number("TURNS", 1):
        return ()
    wanted = [ask.forced] if ask.forced is not None else script.values.get("USE_TOOL", [])
    if "PARALLEL" in script and len(wanted) < 2:
        wanted = [*wanted, *[""] * (2 - len(wanted))]
    tools = [tool for name in wanted if (tool := _find(name, ask.tools))]
    if len(tools) == 2 and not all(wanted) and len(ask.tools) > 1:
        # Two calls, one of them of any tool: let it be another one.
        tools[1] = next(tool for tool in ask.tools if tool.name != tools[0].name)
    return tuple(_call(tool, script, number) for number, tool in enumerate(tools))


def _find(name: str, tools: tuple[Tool, ...]) -> Tool | None:
    if not name:
        return tools[0]
    return next((tool for tool in tools if tool.name == name), None)


def _call(tool: Tool, script: Script, number: int) -> Call:
    if number < len(script.arguments):
        arguments = script.arguments[number]
    else:
        arguments = "some text" if tool.custom else json.dumps(sample(tool.schema))
    return Call(tool.name, arguments, tool.custom)


def sample(schema: Any) -> Any:
    """Make a value that a JSON schema allows, in the simple cases."""
    if not isinstance(schema, dict):
        return {}
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return "text"
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "array":
            return [sample(schema["items"])] if schema.get("items") else []
        case "null":
            return None
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    return {name: sample(properties.get(name, {"type": "string"})) for name in required}


def _usage(
    ask: Ask, script: Script, deltas: tuple[str, ...], thinking: str, calls: tuple[Call, ...]
) -> Usage:
    reasoning = tokens(thinking)
    if given := script.word("TOKENS"):
        fresh, output, read, write = (*map(int, given.split(",")), 0, 0, 0)[:4]
        return Usage(fresh, output, read, write, min(reasoning, output))
    total = (ask.size + 3) // 4
    read, write = total // 2, total // 4
    output = tokens("".join(deltas)) + reasoning + sum(tokens(call.arguments) for call in calls)
    return Usage(total - read - write, output, read, write, reasoning)
