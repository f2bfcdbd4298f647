"""Which models a request names, in every place for one: for tokens that are for some only. Pure.

It says nothing of who may use them. What could be read in two ways is refused rather than guessed:
a provider might read it the other way.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl

import msgspec

from aibridge_addon.raw_json import elements, pairs, read

_MODEL = frozenset({"model"})
_PARAMS = frozenset({"params"})
_REQUEST = frozenset(
    {
        "model",
        "models",  # OpenRouter: what to ask if the first does not answer
        "fallbacks",  # Anthropic: likewise
        "tools",  # some are models themselves, as Anthropic's `advisor`
    }
)
_BODY = _REQUEST | {"requests"}  # Anthropic: a batch
_MESSAGE = _REQUEST | {"type", "response"}

type _Object = bytes | msgspec.Raw
type _Members = dict[str, msgspec.Raw]


class UnclearError(Exception):
    """It cannot be told which models a request names; the message says why."""


def models_of_query(path: str) -> Iterator[str]:
    """Give the models that the query of a path names."""
    for name, value in parse_qsl(path.partition("?")[2], keep_blank_values=True):
        if name.casefold() in ("model", "models"):
            yield value


def models_of_body(body: bytes) -> Iterator[str]:
    """Give the models that the body of a request names.

    Raises:
        UnclearError: it is not a JSON object, or one of its members could be read in two ways.
    """
    found = _members(body, _BODY)
    yield from _models_of_request(found)
    for request in elements(found.get("requests")):
        if params := _members(request, _PARAMS).get("params"):
            yield from _models_of_request(_members(params, _REQUEST))


def models_of_message(message: bytes) -> Iterator[str]:
    """Give the models that a client's message over a WebSocket names.

    Raises:
        UnclearError: as with a body; its `type` too must be clear.
    """
    found = _members(message, _MESSAGE)
    yield from _models_of_request(found)
    response = found.get("response")
    if response is not None and isinstance(read(response), dict):
        yield from _models_of_request(_members(response, _REQUEST))


def _models_of_request(request: _Members) -> Iterator[str]:
    yield from _names([request.get("model")])
    yield from _names(elements(request.get("models")))
    for name in ("fallbacks", "tools"):
        for element in elements(request.get(name)):
            if isinstance(read(element), dict):
                yield from _names([_members(element, _MODEL).get("model")])


def _names(values: Iterable[msgspec.Raw | None]) -> Iterator[str]:
    for value in values:
        name = None if value is None else read(value)
        if isinstance(name, str):
            yield name
        elif name is not None:
            raise UnclearError("names a model by something else than a text")


def _members(data: _Object, asked: frozenset[str]) -> _Members:
    """Return the members of an object that are asked for, each of which must stand there once.

    Of two members of one name some readers take the first, others the last, and some do not care
    for upper and lower case.
    """
    found = pairs(data)
    if found is None:
        raise UnclearError("names no model that could be seen")
    members: _Members = {}
    for name, value in found:
        if (plain := name.casefold()) not in asked:
            continue
        if name != plain or name in members:
            raise UnclearError(f"can be read in two ways: name {plain!r} once, in lower case")
        members[name] = value
    return members
