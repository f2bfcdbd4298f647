"""Models other than Claude in InvokeModel of Amazon Bedrock: each has a body of its own."""

from typing import Any

from standin.plan import Plan
from standin.rendering import Rendered, bare_event, encode, mapping, text_of

FAMILIES = ("nova", "llama", "titan-text", "titan-embed")


def family_of(model: str) -> str | None:
    """Return the family of a model by its id; None for Claude."""
    return next((family for family in FAMILIES if family in model), None)


def said_in(body: dict[str, Any]) -> str:
    """Return the text of a request, in any family's shape."""
    for name in ("prompt", "inputText"):
        if isinstance(body.get(name), str):
            return str(body[name])
    messages = body.get("messages") or [{}]
    return text_of(mapping(messages[-1]).get("content"))


def render_body(plan: Plan, family: str) -> Rendered:
    """Render a response."""
    usage, text = plan.usage, plan.text
    given = usage.input_total
    bodies: dict[str, Any] = {
        "nova": {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": usage.input,
                "outputTokens": usage.output,
                "totalTokens": given + usage.output,
                "cacheReadInputTokenCount": usage.cache_read,
                "cacheWriteInputTokenCount": usage.cache_write,
            },
        },
        "llama": {
            "generation": text,
            "prompt_token_count": given,
            "generation_token_count": usage.output,
            "stop_reason": "stop",
        },
        "titan-text": {
            "inputTextTokenCount": given,
            "results": [
                {"tokenCount": usage.output, "outputText": text, "completionReason": "FINISH"}
            ],
        },
        "titan-embed": {"embedding": [0.25, -0.5], "inputTextTokenCount": given},
    }
    return Rendered((encode(bodies[family]),))


def events(plan: Plan, family: str) -> tuple[bytes, ...]:
    """Render the events of a stream; the last event has the token counts, whatever the model."""
    name = {"llama": "generation", "titan-text": "outputText"}.get(family)
    pieces: list[dict[str, Any]] = [
        {name: delta} if name else {"contentBlockDelta": {"delta": {"text": delta}}}
        for delta in plan.deltas
    ]
    usage = plan.usage
    metrics = {"inputTokenCount": usage.input, "outputTokenCount": usage.output}
    metrics |= {"cacheReadInputTokenCount": usage.cache_read}
    metrics |= {"cacheWriteInputTokenCount": usage.cache_write, "invocationLatency": 7}
    return tuple(map(bare_event, [*pieces, {"amazon-bedrock-invocationMetrics": metrics}]))
