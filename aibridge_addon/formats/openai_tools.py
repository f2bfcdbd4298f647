"""What the two APIs of OpenAI have in common where central tools take part. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, member
from aibridge_addon.tools.legal import OfferLimits
from aibridge_addon.tools.model import ToolResult

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
    usage: dict[str, JSON], before: Sequence[dict[str, JSON]], *, input_name: str, output_name: str
) -> dict[str, JSON]:
    """Return the last answer's usage with the output of all: what the client's context holds."""
    output = count(usage.get(output_name)) or 0
    output += sum(count(used.get(output_name)) or 0 for used in before)
    summed = {**usage, output_name: output}
    if "total_tokens" in usage:
        summed["total_tokens"] = output + (count(usage.get(input_name)) or 0)
    return summed
