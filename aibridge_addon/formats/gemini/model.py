"""Replaces the model in requests of the Gemini API. Sans-io.

The path names the model; some bodies repeat it, and are refused if they name another.
"""

from collections.abc import Mapping

import msgspec

from aibridge_addon.facts.model_names import plain_model
from aibridge_addon.formats.gemini.envelope import request_member
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, elements, joined, members, read, text, with_values

_MODEL, _REQUESTS = "model", "requests"


def with_model(request: Members, model: str) -> Mapping[str, JSON]:
    """Return the members that name the model, with another model; other bytes stay as they are."""
    changed: dict[str, JSON] = {}
    if _MODEL in request:
        changed[_MODEL] = _renamed(read(request[_MODEL]), model)
    if (envelope := request_member(request)) is not None:
        changed[envelope] = _with_model(request[envelope], model)
    if _REQUESTS in request:  # of embeddings
        changed[_REQUESTS] = joined(
            [_with_model(one, model) for one in elements(request[_REQUESTS])]
        )
    return changed


def renamed(request: bytes, model: str) -> bytes:
    """Return the JSON of a request in a batch with another model, if it names one."""
    given = (members(request) or {}).get(_MODEL)
    return (
        request if given is None else with_values(request, {_MODEL: _renamed(read(given), model)})
    )


def _with_model(request: msgspec.Raw, model: str) -> msgspec.Raw:
    return msgspec.Raw(renamed(bytes(request), model))


def _renamed(given: JSON, model: str) -> str:
    name = text(given) or ""
    return name.removesuffix(plain_model(name)) + model
