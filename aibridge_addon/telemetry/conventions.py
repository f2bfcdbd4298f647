"""Attributes by the GenAI semantic conventions of OpenTelemetry. Pure.

Usage and cost are attributes of upstream requests only: back ends add up parents and children.
What is unknown has no attribute.
"""

from collections.abc import Mapping

from aibridge_addon.facts import Interception, InterceptionEnded, Price, TokenUsage, ToolUsage
from aibridge_addon.telemetry.span import Value

_NANO = 1_000_000_000
_PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Values of `gen_ai.provider.name` by the name of a provider instance."""
_WELL_KNOWN = frozenset({"anthropic", "cohere", "deepseek", "groq", "openai", "perplexity"})

type Values = dict[str, Value]


def provider_of(interception: Interception) -> str:
    """Return the value of `gen_ai.provider.name`."""
    name = interception.provider_name
    if name in _WELL_KNOWN:
        return name
    return _PROVIDERS.get(name, interception.provider)


def interception_attributes(interception: Interception, end: InterceptionEnded) -> Values:
    """Return the attributes of a client's request; it has no operation, so that it is not billed.

    `session.id` and `user.id` are what Langfuse and Phoenix group by.
    """
    return _known(
        {
            "openinference.span.kind": "CHAIN",
            "gen_ai.provider.name": provider_of(interception),
            "gen_ai.conversation.id": interception.client_session_id,
            "session.id": interception.client_session_id,
            "user.id": interception.initiator_id,
            "user_agent.original": interception.user_agent,
            "http.request.method": interception.method,
            "http.route": interception.route,
            "http.response.status_code": end.http_status,
            "error.type": end.error_type,
            "aibridge.interception.id": interception.id,
            "aibridge.client": interception.client,
            "aibridge.provider": interception.provider_name,
            "aibridge.api": interception.api,
            "aibridge.model": interception.model,
            "aibridge.request_kind": interception.request_kind,
            "aibridge.status": end.status.value,
            "aibridge.credential_kind": interception.credential_kind,
        }
    )


def request_attributes(interception: Interception) -> Values:
    """Return the attributes of an upstream request that the interception decides."""
    return _known(
        {
            "openinference.span.kind": "LLM",
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider_of(interception),
            "gen_ai.request.model": interception.model,
            "gen_ai.request.stream": interception.streaming,
            "gen_ai.conversation.id": interception.client_session_id,
        }
    )


def usage_attributes(usage: TokenUsage, *, latest: bool) -> Values:
    """Return the attributes of a billed model call; input includes what caches hold.

    Args:
        usage: The tokens.
        latest: Names of the experimental conventions in place of those most back ends read.
    """
    read, write = usage.cache_read_input_tokens, usage.cache_write_input_tokens
    written = "cache_write" if latest else "cache_creation"
    return _known(
        {
            "gen_ai.response.id": usage.provider_response_id,
            "gen_ai.response.model": usage.model,
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": read,
            f"gen_ai.usage.{written}.input_tokens": write,
            "gen_ai.usage.reasoning.output_tokens": _reasoning(usage) if latest else None,
            "gen_ai.response.time_to_first_chunk": _seconds(usage.ttft_ms),
            "aibridge.upstream": usage.upstream,
            "aibridge.call": usage.call,
        }
    )


def price_attributes(price: Price, interception: Interception) -> Values:
    """Return the price; the list price of a subscription is not billed, and has its own name."""
    is_billed = interception.credential_kind != "subscription"
    cost = None if price.cost_nano_usd is None else price.cost_nano_usd / _NANO
    return _known(
        {
            "gen_ai.usage.cost": cost if is_billed else None,
            "aibridge.list_price_usd": None if is_billed else cost,
            "aibridge.cost_nano_usd": price.cost_nano_usd if is_billed else None,
            "aibridge.price_source": price.price_source,
            "aibridge.unpriced_reason": price.unpriced_reason,
        }
    )


def tool_attributes(tool: ToolUsage) -> Values:
    """Return the attributes of a tool call."""
    return _known(
        {
            "openinference.span.kind": "TOOL",
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.tool,
            "gen_ai.tool.call.id": tool.tool_call_id,
            "gen_ai.tool.type": "function",
            "mcp.method.name": "tools/call" if tool.injected else None,
            "error.type": "tool_error" if tool.invocation_error is not None else None,
            "aibridge.tool.runs_at": "proxy" if tool.injected else "client",
            "aibridge.tool.server": tool.metadata.get("server"),
            "aibridge.tool.result_bytes": tool.result_bytes,
        }
    )


def _known(values: Mapping[str, Value | None]) -> Values:
    return {name: value for name, value in values.items() if value is not None}


def _reasoning(usage: TokenUsage) -> int | None:
    count = usage.extra.get("reasoning_tokens")
    return count if isinstance(count, int) else None


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
