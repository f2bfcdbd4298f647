"""Restores the members that a response repeats from the request that was edited. Sans-io."""

from aibridge_addon.raw_json import JSON, mapping, sequence, text


def without_tools(response: JSON, names: frozenset[str]) -> JSON:
    """Return a response without tools of these names; the same object if it has none of them."""
    given = sequence(mapping(response).get("tools"))
    kept = [tool for tool in given if text(mapping(tool).get("name")) not in names]
    return response if len(kept) == len(given) else {**response, "tools": kept}


def with_choice_of(first: JSON, response: JSON) -> JSON:
    """Return a response with the `tool_choice` of the first one, which the client asked for.

    The last request of a loop that reached its limit forbids calls.
    """
    if "tool_choice" not in response:
        return response
    return {**response, "tool_choice": mapping(first).get("tool_choice")}
