"""What the two APIs of OpenAI have in common where central tools take part. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.central_tool import ToolResult
from aibridge_addon.formats.offer_limits import OfferLimits
from aibridge_addon.formats.openai_usage import Names
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member

LIMITS = OfferLimits(tools=128, description=1024)
"""More tools, or a longer description, are refused with 400."""


def leaves_choice(request: Members) -> bool:
    """Whether the client lets the model choose freely whether and which tool to call.

    Where a call is forced, or only some tools are allowed, ours must not be among them: a forced
    choice would be forced again in each request of the inner loop.
    """
    return member(request, "tool_choice") in (None, "auto", {"type": "auto"})


def result_text(result: ToolResult) -> str:
    """Return a result in words, which must also say that it is an error."""
    return f"Error: {result.as_text}" if result.is_error else result.as_text


def summed_usage(
    usage: dict[str, JSON], before: Sequence[dict[str, JSON]], names: Names
) -> dict[str, JSON]:
    """Return the last answer's usage with the output of all: what the client's context holds."""
    output = sum(count(used.get(names.output)) or 0 for used in (*before, usage))
    summed = {**usage, names.output: output}
    if (total := count(usage.get("total_tokens"))) is not None:
        summed["total_tokens"] = total + sum(_put_out(used, names) for used in before)
    if details := mapping(usage.get(names.output_details)):
        earlier = [mapping(used.get(names.output_details)) for used in before]
        summed[names.output_details] = {
            name: value
            if (own := count(value)) is None
            else own + sum(count(used.get(name)) or 0 for used in earlier)
            for name, value in details.items()
        }
    return summed


def _put_out(usage: dict[str, JSON], names: Names) -> int:
    """Return what an answer adds to the total: for some hosts, reasoning lies beside the output."""
    total, given = count(usage.get("total_tokens")), count(usage.get(names.input))
    output = count(usage.get(names.output)) or 0
    return output if total is None or given is None else max(output, total - given)
