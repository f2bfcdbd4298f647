"""Removes definitions of central tools, which a response repeats from the request. Sans-io."""

from aibridge_addon.raw_json import JSON, mapping, sequence, text


def without_tools(response: JSON, names: frozenset[str]) -> JSON:
    """Return a response without tools of these names; the same object if it has none of them."""
    given = sequence(mapping(response).get("tools"))
    kept = [tool for tool in given if text(mapping(tool).get("name")) not in names]
    return response if len(kept) == len(given) else {**response, "tools": kept}
