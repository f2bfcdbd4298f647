"""Rules for central tools that both APIs of OpenAI share. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.central_tool import ToolResult
from aibridge_addon.formats.offer_limits import OfferLimits
from aibridge_addon.formats.openai_usage import Names
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member

LIMITS = OfferLimits(tools=128, description=1024)
"""The APIs refuse more tools, or a longer description, with status 400."""


def leaves_choice(request: Members) -> bool:
    """Return whether the model may choose freely among all tools, or call none.

    If a call is forced, or only some tools are allowed, central tools must not be offered: a forced
    choice would be forced again in each request of the inner loop.
    """
    return member(request, "tool_choice") in (None, "auto", {"type": "auto"})


def result_text(result: ToolResult) -> str:
    """Return a result as text, which also states that it is an error."""
    return f"Error: {result.as_text}" if result.is_error else result.as_text


def summed_usage(
    usage: dict[str, JSON], before: Sequence[dict[str, JSON]], names: Names
) -> dict[str, JSON]:
    """Return the last response's usage with the output of all responses.

    Input and cache counts stay those of the last response, which describe the client's context.
    """
    output = sum(count(used.get(names.output)) or 0 for used in (*before, usage))
    summed = {**usage, names.output: output}
    if (total := count(usage.get("total_tokens"))) is not None:
        summed["total_tokens"] = total + sum(_output_in_total(used, names) for used in before)
    if details := mapping(usage.get(names.output_details)):
        earlier = [mapping(used.get(names.output_details)) for used in before]
        summed[names.output_details] = {
            name: value
            if (own := count(value)) is None
            else own + sum(count(used.get(name)) or 0 for used in earlier)
            for name, value in details.items()
        }
    return summed


def _output_in_total(usage: dict[str, JSON], names: Names) -> int:
    """Return the output in the total; some hosts count reasoning there but not in the output."""
    total, given = count(usage.get("total_tokens")), count(usage.get(names.input))
    output = count(usage.get(names.output)) or 0
    return output if total is None or given is None else max(output, total - given)
