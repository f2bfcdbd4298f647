"""What the two APIs of OpenAI have in common where central tools take part. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import JSON, count, mapping, member
from aibridge_addon.tools.model import ToolResult


def allows_all_tools(request: Members) -> bool:
    """Whether the client lets the model choose among all tools, not none or only some."""
    choice = member(request, "tool_choice")
    return choice != "none" and mapping(choice).get("type") != "allowed_tools"


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
