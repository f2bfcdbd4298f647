"""Converse as the provider speaks it: requests in, events or a message out."""

import json
from typing import Any

from standin.plan import Ask, Plan, Tool
from standin.rendering import ID, encode, fragments, mapping, words

EVENTS = (
    *("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop"),
    *("messageStop", "metadata"),
)
"""Names of events, in the order in which they begin."""


def read(body: dict[str, Any], size: int, *, model: str, stream: bool) -> Ask:
    """Read a request."""
    said, turns = "", 0
    results: tuple[str, ...] = ()
    for message in reversed(body.get("messages") or []):
        if message.get("role") != "user":
            continue
        blocks = message["content"]
        found = tuple(_result(block["toolResult"]) for block in blocks if "toolResult" in block)
        if not found:
            said = "\n".join(block["text"] for block in blocks if "text" in block)
            break
        results = results or found
        turns += 1
    config = mapping(body.get("toolConfig"))
    choice = mapping(config.get("toolChoice"))
    forced = "" if "any" in choice else mapping(choice.get("tool")).get("name")
    specs = (mapping(tool.get("toolSpec")) for tool in config.get("tools") or [])
    tools = tuple(Tool(spec["name"], spec["inputSchema"]["json"]) for spec in specs if spec)
    return Ask(
        model=model,
        stream=stream,
        said=said,
        results=results,
        turns=turns,
        tools=tools,
        forced=forced,
        size=size,
    )


def events(plan: Plan) -> tuple[bytes, ...]:
    """Render the events of a message, each with its name."""
    found: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(_blocks(plan)):
        at = {"contentBlockIndex": index}
        if call := block.get("toolUse"):
            start = {"toolUse": {k: v for k, v in call.items() if k != "input"}}
            found.append(("contentBlockStart", at | {"start": start}))
        found += (("contentBlockDelta", at | {"delta": delta}) for delta in _deltas(block))
        found.append(("contentBlockStop", at))
    found.append(("messageStop", {"stopReason": _stop_reason(plan)}))
    found.append(("metadata", {"usage": _usage(plan), "metrics": {"latencyMs": 7}}))
    return tuple(b"event: %b\ndata: %b\n\n" % (k.encode(), encode(v)) for k, v in found)


def document(plan: Plan) -> dict[str, Any]:
    """Return a message."""
    return {
        "output": {"message": {"role": "assistant", "content": _blocks(plan)}},
        "stopReason": _stop_reason(plan),
        "usage": _usage(plan),
        "metrics": {"latencyMs": 7},
    }


def _result(result: dict[str, Any]) -> str:
    said = "\n".join(
        part.get("text") or json.dumps(part.get("json", "")) for part in result["content"]
    )
    return ("error: " if result.get("status") == "error" else "") + said


def _blocks(plan: Plan) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if plan.thinking:
        thought = {"text": plan.thinking, "signature": "c2lnbmF0dXJl"}
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    if plan.deltas:
        blocks.append({"text": plan.text})
    for number, call in enumerate(plan.calls):
        given = json.loads(call.arguments)
        blocks.append(
            {"toolUse": {"toolUseId": f"tooluse_{ID}_{number}", "name": call.name, "input": given}}
        )
    return blocks


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    if call := block.get("toolUse"):
        return [{"toolUse": {"input": piece}} for piece in fragments(json.dumps(call["input"]))]
    if reasoning := block.get("reasoningContent"):
        thought = reasoning["reasoningText"]
        pieces = [{"text": piece} for piece in fragments(thought["text"], 16)]
        return [{"reasoningContent": d} for d in (*pieces, {"signature": thought["signature"]})]
    return [{"text": piece} for piece in words(block["text"])]


def _stop_reason(plan: Plan) -> str:
    if plan.stop_short:
        return "max_tokens"
    return "tool_use" if plan.calls else "end_turn"


def _usage(plan: Plan) -> dict[str, Any]:
    usage = plan.usage
    return {
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "totalTokens": usage.input_total + usage.output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }
