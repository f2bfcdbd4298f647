"""Reads the usage of a response, and of the provider's own tools in it. Sans-io."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aibridge_addon.facts import Usage
from aibridge_addon.formats.openai_usage import RESPONSES_NAMES, read_usage
from aibridge_addon.formats.usage import Extra, Places, counts_at, labels_at
from aibridge_addon.raw_json import JSON, mapping, sequence, text

_IMAGES = ("tool_usage", "image_gen")
_TOOL_COUNTS: Places = (
    ("web_search_requests", ("tool_usage", "web_search", "num_requests")),
    ("image_gen_input_tokens", (*_IMAGES, "input_tokens")),
    ("image_gen_output_tokens", (*_IMAGES, "output_tokens")),
    ("image_gen_cached_tokens", (*_IMAGES, "cached_tokens")),
    *(
        (f"image_gen_{kind}_{part}_tokens", (*_IMAGES, f"{part}_tokens_details", f"{kind}_tokens"))
        for part in ("input", "output")
        for kind in ("image", "text")
    ),
    *(
        (
            f"image_gen_cached_{kind}_tokens",
            (*_IMAGES, "cached_tokens_details", f"cached_{kind}_tokens"),
        )
        for kind in ("image", "text")
    ),
)


def read_response_usage(response: dict[str, JSON]) -> Usage | None:
    """Read the usage of a response; None if it counts no tokens."""
    outside = _tool_calls(response) | counts_at(response, _TOOL_COUNTS)
    outside |= labels_at(response, (("service_tier", ("service_tier",)),))
    return read_usage(mapping(response.get("usage")), RESPONSES_NAMES, outside=outside)


_BILLED_CALLS: Mapping[str, str] = {
    "web_search_call": "web_search_requests",
    "file_search_call": "file_search_requests",
    "code_interpreter_call": "code_interpreter_requests",
    "image_generation_call": "image_gen_requests",
    "shell_call": "hosted_shell_requests",
}
"""Names of counts by the type of items: calls of the provider's tools that have a price."""


def _tool_calls(response: dict[str, JSON]) -> Extra:
    """Count the calls of the provider's tools, for responses that do not report their number."""
    items = [mapping(item) for item in sequence(response.get("output"))]
    billed = [item for item in items if item.get("status") != "failed" and _is_billed(item)]
    return dict(Counter(_BILLED_CALLS[str(item["type"])] for item in billed))


def _is_billed(item: dict[str, JSON]) -> bool:
    """Return True for a call that is billed.

    Of web searches, the opening of found pages is not, and of shells those of the client.
    """
    action, kind = mapping(item.get("action")).get("type"), str(item.get("type"))
    if kind == "shell_call":
        return mapping(item.get("environment")).get("type") == "container_reference"
    return kind in _BILLED_CALLS and action in (None, "search")


def read_tool_usages(items: Sequence[dict[str, JSON]]) -> tuple[Usage, ...]:
    """Read the usage of other models by the provider's tools, from a response's items."""
    found = []
    for item in items:
        given = mapping(item.get("svg_usage"))
        if usage := read_usage(given, RESPONSES_NAMES):
            kind = text(item.get("type")) or "unknown"
            found.append(replace(usage, call=kind, model=text(given.get("model"))))
    return tuple(found)
