"""Reads the usage of Anthropic Messages: of the response, and of hidden model calls. Sans-io.

`usage.iterations` lists every model call of a request. The top level leaves some of them out: calls
for compaction, of an advisor, and of models that declined before a fallback served the request.
"""

import re
from collections.abc import Sequence

from aibridge_addon.facts import Usage
from aibridge_addon.formats.usage import (
    Extra,
    Places,
    costs_of,
    counts_at,
    labels_at,
    optional_count,
)
from aibridge_addon.raw_json import JSON, count, mapping, sequence, text

_COUNTS: Places = (("thinking_tokens", ("output_tokens_details", "thinking_tokens")),)
_WRITTEN = re.compile(r"ephemeral_(\d{1,4}[a-z])_input_tokens")
"""Tokens written to a cache, by the time for which they are stored."""
_TOOL_REQUESTS = re.compile(r"[a-z_]{1,64}_requests")
"""Calls of the provider's tools, also of tools that are not known here: those have no price."""
_LABELS: Places = (
    ("service_tier", ("service_tier",)),
    ("inference_geo", ("inference_geo",)),
    ("speed", ("speed",)),
    ("fallback_credit", ("fallback_credit", "status", "type")),
)
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_OUTPUT_MEMBERS = ("output_tokens", "output_tokens_details", "server_tool_use")
_RESPONSE_TYPES = frozenset({"message", "fallback_message"})
"""Types of iterations that produce the response."""
_DATE = re.compile(r"-(?:\d{8}|latest)$")


def read_usage(usage: dict[str, JSON]) -> Usage | None:
    """Read the usage of the response; None if it counts no tokens."""
    return _usage(usage) if _counts(usage) else None


def read_hidden_usages(usage: dict[str, JSON], model: str | None) -> tuple[Usage, ...]:
    """Read the iterations that the top level leaves out, given the model of the response."""
    iterations = [one for one in map(mapping, sequence(usage.get("iterations"))) if _counts(one)]
    of_response = [one for one in iterations if text(one.get("type")) in _RESPONSE_TYPES]
    left_out = [one for one in iterations if not _is_by(model, one)]
    if _is_sum_of(iterations, usage):
        return ()
    if _is_sum_of(of_response, usage):
        left_out = [one for one in iterations if text(one.get("type")) not in _RESPONSE_TYPES]
    return tuple(_usage(one, call=_kind(one), model=_model_of(one, model)) for one in left_out)


def serving_model(usage: JSON) -> str | None:
    """Return the fallback model that served the request; None if usage names none."""
    for iteration in sequence(mapping(usage).get("iterations")):
        if mapping(iteration).get("type") == "fallback_message":
            return text(mapping(iteration).get("model"))
    return None


def _usage(given: dict[str, JSON], *, call: str | None = None, model: str | None = None) -> Usage:
    """Read counts: those of caches are null or missing where no cache was used."""
    return Usage(
        input_tokens=count(given.get("input_tokens")),
        output_tokens=count(given.get("output_tokens")),
        cache_read_input_tokens=optional_count(given, ("cache_read_input_tokens",)),
        cache_write_input_tokens=optional_count(given, ("cache_creation_input_tokens",)),
        extra=_details(given) | labels_at(given, _LABELS) | costs_of(given),
        raw=given,
        call=call,
        model=model,
    )


def _details(given: dict[str, JSON]) -> Extra:
    found = counts_at(given, _COUNTS)
    for name, value in mapping(given.get("cache_creation")).items():
        if (written := _WRITTEN.fullmatch(name)) and (tokens := count(value)):
            found[f"cache_write_{written[1]}_input_tokens"] = tokens
    for name, value in mapping(given.get("server_tool_use")).items():
        if _TOOL_REQUESTS.fullmatch(name) and (requests := count(value)):
            found[name] = requests
    return found


def _counts(given: dict[str, JSON]) -> bool:
    """Return whether a usage object or an iteration counts its input or its output."""
    return any(count(given.get(name)) is not None for name in ("input_tokens", "output_tokens"))


def _is_by(model: str | None, iteration: dict[str, JSON]) -> bool:
    """Return whether an iteration produces the response, by the response's own model."""
    own = text(iteration.get("model"))
    is_of_response = text(iteration.get("type")) in _RESPONSE_TYPES
    return is_of_response and (own is None or model is None or _undated(own) == _undated(model))


def _undated(model: str) -> str:
    """Return a model's name without its date, which an alias leaves out."""
    return _DATE.sub("", model)


def _is_sum_of(iterations: Sequence[dict[str, JSON]], usage: dict[str, JSON]) -> bool:
    """Return whether the top level counts all of these iterations already."""
    return all(
        sum(count(one.get(name)) or 0 for one in iterations) == (count(usage.get(name)) or 0)
        for name in _TOKENS
    )


def _kind(iteration: dict[str, JSON]) -> str:
    return text(iteration.get("type")) or "unknown"


def _model_of(iteration: dict[str, JSON], model: str | None) -> str | None:
    """Return an iteration's model; a compaction names none and uses the response's model."""
    return text(iteration.get("model")) or (
        model if iteration.get("type") == "compaction" else None
    )


def summed_usage(usage: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last response's usage with the output of all: the client sees one response.

    Input and cache counts stay those of the last response, which describe the client's context.
    """
    summed = dict(usage)
    for name in _OUTPUT_MEMBERS:
        if name in usage or any(name in one for one in before):
            summed[name] = _added([one.get(name) for one in (*before, usage)])
    iterations = [entry for one in (*before, usage) for entry in sequence(one.get("iterations"))]
    if iterations:
        summed["iterations"] = iterations
    return summed


def _added(values: Sequence[JSON]) -> JSON:
    """Add counts, or objects of counts member by member."""
    objects = [value for value in values if isinstance(value, dict)]
    if not objects:
        return sum(count(value) or 0 for value in values)
    names = dict.fromkeys(name for one in objects for name in one)
    return {name: _added([one.get(name) for one in objects]) for name in names}
