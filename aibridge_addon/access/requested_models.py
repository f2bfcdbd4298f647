"""Finds every model a request names, so that model-restricted access tokens can be enforced. Pure.

Providers and gateways accept models in more places than `model`: fallbacks, routers, server tools,
stored presets. All members are searched except those with the conversation, schemas or labels. A
member that chooses a model without naming it cannot be checked, nor can a body that parsers read in
different ways: such requests raise `UnclearError`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal
from urllib.parse import parse_qsl, unquote

import msgspec

from aibridge_addon.facts.model_names import plain_model
from aibridge_addon.raw_json import are_all_members, elements, members, pairs, read

_MODEL = "model"
_NAMING = re.compile(
    r"(.*[^a-z0-9])?(fallback)?(models?|fallbacks?|engine|deployment)"
    r"([_-]?(ids?|names?|list|group|alias(es)?|map|dict))*"
)
"""Names of members, headers and query parameters whose values name models."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CHOOSING = re.compile(r"(preset|agent|assistant|router?)s?([_-]?id)?")
"""Names of members and query parameters that choose a stored configuration, and its model."""
_CHOOSING_HEADER = re.compile(r"(.*-)?(config|preset)([_-]?id)?")
_PROMPT = "prompt"
"""A stored prompt (an object) may name the model; a text is a part of the conversation."""
_TOOLS = "tools"
_PLUGINS = "plugins"
_TYPE = "type"
_CLEARLY_NAMED = (_TYPE, "response")
"""Members that decide how a WebSocket message is read."""
_OPAQUE = frozenset(
    {
        *("messages", "input", "content", "system", "instructions", "variables", "arguments"),
        *("metadata", "client_metadata", "headers", "logit_bias", "prediction"),
        *("schema", "json_schema", "response_format", "format", "text", "output_format"),
        *("functions", "function", "function_call", "tool_choice", "parameters", "input_schema"),
        *("search_engine", "searchengine"),
        *("inputschema", "requestmetadata", "promptvariables"),  # of Bedrock, in lower case
        # Gemini
        *("contents", "systeminstruction", "system_instruction", "labels"),
        *("functiondeclarations", "function_declarations", "responseschema", "response_schema"),
        *("responsejsonschema", "response_json_schema", "instances"),
        *("turns", "functionresponses", "function_responses"),  # of its Live API
    }
)
"""Members with a conversation, a schema or labels: providers read no model from them."""
_PLUGIN_OPAQUE = _OPAQUE | {"engine"}
"""A plugin and a server tool have an engine that searches or reads files, such as `exa`."""
_SERVER_TOOL_OPAQUE = _PLUGIN_OPAQUE - {"parameters"}
_CLIENT_TOOLS = (None, "function", "custom", "namespace")
"""Types of tools that the client runs: `parameters` is a schema."""
_IN_PATH = re.compile(r"/(?:deployments|engines|models?)/([^/:]+)[/:]")
"""Azure, Gemini and Bedrock name the model in the path."""
_SEPARATOR = re.compile(r"[,;|\s]+")
_PRESET = "@preset"
_MOST_NESTED = 32
_LONGEST_CACHED = 64
"""Length of names above which their meaning is not cached: they come from clients."""
_MOST_CACHED = 64
"""Number of members of an object above which their meanings are not cached together."""
_LONGEST_CACHED_NAMES = 1024
_LONGEST_CACHED_PATH = 512
_LONGEST_CACHED_TOOLS = 256 * 1024

_HOLDING = frozenset({b"{", b"["})
"""First bytes of values that hold others."""

type _Object = bytes | msgspec.Raw
type _Pairs = list[tuple[str, msgspec.Raw]]
type _Meaning = Literal["naming", "choosing", "prompting", "other"]
"""The meaning of a name: its value names models, chooses a model by another name, does so if it is
a stored prompt, or neither."""
type _Telling = tuple[tuple[int, str, _Meaning], ...]
"""Names by their number in an object or a head, in lower case, with their meanings."""


class UnclearError(Exception):
    """The models of a request cannot be determined; the message continues "this request …"."""


def models_of_path(method: str, path: str, captured: str | None = None) -> Iterator[str]:
    """Return the models that a path and its query name.

    `captured` is the model that the route reads from the path, which may be an ARN with slashes.

    Raises:
        UnclearError: the query chooses a model without naming it.
    """
    if len(path) + len(captured or "") > _LONGEST_CACHED_PATH:
        return iter(_models_of_path.__wrapped__(method, path, captured))
    return iter(_models_of_path(method, path, captured))


@lru_cache(maxsize=256)
def _models_of_path(method: str, path: str, captured: str | None) -> tuple[str, ...]:
    return tuple(_read_path(method, path, captured))


def _read_path(method: str, path: str, captured: str | None) -> Iterator[str]:
    bare, _, query = path.partition("?")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if _NAMING.fullmatch(plain := name.casefold()):
            yield from _named(value)
        elif _CHOOSING.fullmatch(plain):
            raise _chosen_by(name)
    if captured is not None:
        yield from _named(captured)
    elif method not in ("GET", "HEAD"):  # these read the description of a model
        for name in _IN_PATH.findall(unquote(bare)):
            yield from _named(name)


def models_of_headers(fields: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
    """Yield the models that header fields name.

    Raises:
        UnclearError: a header chooses a model without naming it.
    """
    for number, name, meaning in _telling_headers(tuple([name for name, _ in fields])):
        if meaning == "choosing":
            raise _chosen_by(name)
        yield from _named(fields[number][1].decode("utf-8", "replace"))


@lru_cache(maxsize=64)
def _telling_headers(names: tuple[bytes, ...]) -> _Telling:
    """Return the headers that name or choose a model; clients repeat the names of their headers."""
    lowered = [name.decode("latin-1").lower() for name in names]
    found = [(n, name, _meaning(name, _CHOOSING_HEADER)) for n, name in enumerate(lowered)]
    return tuple(each for each in found if each[2] != "other")


def models_of_body(body: bytes, read_as: Mapping[str, msgspec.Raw] | None = None) -> Iterator[str]:
    """Yield the models that the body of a request names.

    `read_as` are its members, if it was parsed already.

    Raises:
        UnclearError: the body is not a JSON object, can be read in two ways, or chooses a model
            without naming it.
    """
    is_known = read_as is not None and are_all_members(body, read_as)
    found = list(read_as.items()) if read_as and is_known else pairs(body)
    yield from _models_among(found, _OPAQUE, 0)


def models_of_message(message: bytes) -> Iterator[str]:
    """Yield the models that a client's WebSocket message names.

    Raises:
        UnclearError: as for a body, or its `type` can be read in two ways.
    """
    for name, _ in pairs(message) or ():
        if (plain := name.casefold()) in _CLEARLY_NAMED and name != plain:
            raise _read_in_two_ways(plain)
    yield from _models_in(message, _OPAQUE, 0)


def _models_in(data: _Object, opaque: frozenset[str], depth: int) -> Iterator[str]:
    """Yield the models that an object names at any depth."""
    if depth > _MOST_NESTED:
        raise UnclearError("is nested too deeply")
    yield from _models_among(pairs(data), opaque, depth)


def _models_among(found: _Pairs | None, opaque: frozenset[str], depth: int) -> Iterator[str]:
    """Yield the models that the members of an object name; None: it is not an object."""
    if found is None:
        raise UnclearError("names no model that can be checked")
    for number, plain, meaning in _telling_members(tuple([name for name, _ in found]), opaque):
        name, value = found[number]
        if meaning == "naming":
            if name != plain:
                raise _read_in_two_ways(plain)
            yield from _models_of(plain, value, opaque, depth)
        elif meaning == "choosing" or (meaning == "prompting" and isinstance(read(value), dict)):
            yield from _models_of_choice(name, value, opaque, depth)
        elif plain == _TOOLS:
            yield from _models_of_tools(value, depth)
        elif _first_byte(value) in _HOLDING:
            yield from _models_below(value, _PLUGIN_OPAQUE if plain == _PLUGINS else opaque, depth)


def _models_of(name: str, value: msgspec.Raw, opaque: frozenset[str], depth: int) -> Iterator[str]:
    """Yield the models of a member whose name says that it names models."""
    found = read(value)
    if isinstance(found, str):
        yield from _named(found)
    elif isinstance(found, dict):
        yield from _at_least_one(_models_in(value, opaque, depth + 1))
    elif isinstance(found, list) and name != _MODEL:
        for element in elements(value):
            yield from _models_of(_MODEL, element, opaque, depth)
    elif found is not None:
        raise UnclearError("names a model by a value that is not a text")


def _models_of_choice(
    name: str, value: msgspec.Raw, opaque: frozenset[str], depth: int
) -> Iterator[str]:
    found = read(value)
    if isinstance(found, dict):
        yield from _at_least_one(_models_in(value, opaque, depth + 1), name)
    elif found is not None and name.casefold() != _PROMPT:
        raise _chosen_by(name)


def _models_of_tools(tools: msgspec.Raw, depth: int) -> Sequence[str]:
    """Return the models of server tools, such as an advisor model; sessions repeat their tools."""
    if memoryview(tools).nbytes > _LONGEST_CACHED_TOOLS:
        return _read_tools.__wrapped__(tools, depth)
    return _read_tools(bytes(tools), depth)


@lru_cache(maxsize=16)
def _read_tools(tools: _Object, depth: int) -> tuple[str, ...]:
    return tuple(_models_in_tools(tools, depth))


def _models_in_tools(tools: _Object, depth: int) -> Iterator[str]:
    if _first_byte(tools) != b"[":
        yield from _models_below(tools, _SERVER_TOOL_OPAQUE, depth)
    for tool in elements(tools):
        if (found := members(tool)) is not None:
            kind = read(found[_TYPE]) if _TYPE in found else None
            is_client_tool = kind in _CLIENT_TOOLS
            yield from _models_in(
                tool, _OPAQUE if is_client_tool else _SERVER_TOOL_OPAQUE, depth + 1
            )


def _models_below(value: _Object, opaque: frozenset[str], depth: int) -> Iterator[str]:
    start = _first_byte(value)
    if start == b"{":
        yield from _models_in(value, opaque, depth + 1)
    elif start == b"[" and depth <= _MOST_NESTED:
        for element in elements(value):
            yield from _models_below(element, opaque, depth + 1)


def _first_byte(value: _Object) -> bytes:
    return bytes(value[:1] if isinstance(value, bytes) else memoryview(value)[:1])


def _telling_members(names: tuple[str, ...], opaque: frozenset[str]) -> _Telling:
    """Return the members of an object that may name or choose a model; clients repeat the names.

    Raises:
        UnclearError: a name is repeated, regardless of case. Of two members with the same name some
            parsers use the first and others the last; some ignore case.
    """
    if len(names) > _MOST_CACHED or sum(map(len, names)) > _LONGEST_CACHED_NAMES:
        return _read_names.__wrapped__(names, opaque)
    return _read_names(names, opaque)


@lru_cache(maxsize=1024)
def _read_names(names: tuple[str, ...], opaque: frozenset[str]) -> _Telling:
    seen: set[str] = set()
    for name in names:
        if (plain := name.casefold()) in seen:
            raise _read_in_two_ways(plain)
        seen.add(plain)
    found: list[tuple[int, str, _Meaning]] = []
    for number, name in enumerate(names):
        if (plain := name.casefold()) not in opaque:
            meaning = _meaning(name, _CHOOSING)
            is_prompt = meaning == "other" and plain == _PROMPT and _MODEL not in seen
            found.append((number, plain, "prompting" if is_prompt else meaning))
    return tuple(found)


def _meaning(name: str, choosing: re.Pattern[str]) -> _Meaning:
    """Return the meaning of the name of a member or header."""
    if len(name) > _LONGEST_CACHED:
        return _meaning_of.__wrapped__(name, choosing)
    return _meaning_of(name, choosing)


@lru_cache(maxsize=4096)
def _meaning_of(name: str, choosing: re.Pattern[str]) -> _Meaning:
    plain = name.casefold()
    if _NAMING.fullmatch(plain) or _NAMING.fullmatch(_CAMEL.sub("_", name).casefold()):
        return "naming"
    return "choosing" if choosing.fullmatch(plain) else "other"


def _at_least_one(models: Iterable[str], name: str = "") -> Iterator[str]:
    found = list(models)
    if not found:
        raise _chosen_by(name) if name else UnclearError("names no model that can be checked")
    yield from found


def _named(value: str) -> tuple[str, ...]:
    """Return the models that a text names: some gateways accept several, or a stored preset."""
    return (_names_in if len(value) <= _LONGEST_CACHED else _names_in.__wrapped__)(value)


@lru_cache(maxsize=1024)
def _names_in(value: str) -> tuple[str, ...]:
    if _PRESET in value.casefold():
        raise _chosen_by("@preset")
    value = plain_model(value)
    return (value, *(part for part in _SEPARATOR.split(value) if part not in ("", value)))


def _chosen_by(name: str) -> UnclearError:
    return UnclearError(f"chooses a model by {name!r}, which cannot be checked")


def _read_in_two_ways(name: str) -> UnclearError:
    return UnclearError(f"can be read in two ways: name {name!r} once, in lower case")
