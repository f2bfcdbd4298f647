"""Google's Live API as the provider speaks it: a turn of the model for each turn of the client.

A client that speaks while a turn goes on for long (`LONG:n PACE:ms`) interrupts it.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from standin.asked import plan_of
from standin.messages import Part, Pause
from standin.plan import Plan, read_script
from standin.rendering import encode, mapping

PATH = "BidiGenerateContent"
"""End of the path of a session."""

_NAMES = (
    ("responseTokenCount", "responseTokensDetails"),
    ("candidatesTokenCount", "candidatesTokensDetails"),
)
"""Names of the output's counts in the Gemini API, and on Vertex AI."""


class LiveSession:
    """One connection."""

    def __init__(self) -> None:
        self._model = ""
        self._turns = 0
        """Number of turns of the client so far."""

    async def answer(self, message: bytes) -> AsyncIterator[Part]:
        """Answer a message."""
        asked = msgspec.json.decode(message, type=dict[str, Any])
        if "setup" in asked:
            self._model = mapping(asked["setup"]).get("model", "")
            yield encode({"setupComplete": {}})
        content = mapping(asked.get("clientContent", asked.get("client_content")))
        if content.get("turnComplete", content.get("turn_complete")):
            async for part in self._turn(_text_of(content), len(message)):
                yield part

    async def _turn(self, said: str, size: int) -> AsyncIterator[Part]:
        self._turns += 1
        own = self._turns
        plan, script = plan_of(said, self._model, size), read_script(said)
        for delta in plan.deltas:
            if self._turns != own:
                break
            parts = [{"text": delta}]
            yield encode({"serverContent": {"modelTurn": {"role": "model", "parts": parts}}})
            if "PACE" in script:
                yield Pause(script.number("PACE", 0) / 1000)
        was_interrupted = self._turns != own
        named = "interrupted" if was_interrupted else "generationComplete"
        yield encode({"serverContent": {named: True}})
        end = {"serverContent": {"turnComplete": True}, "usageMetadata": _usage(plan)}
        yield encode(end)


def _usage(plan: Plan) -> dict[str, Any]:
    usage = plan.usage
    given = usage.input_total
    name, details = _NAMES[plan.model.startswith("projects/")]
    return {
        "promptTokenCount": given,
        name: usage.output,
        "totalTokenCount": given + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}],
        details: [{"modality": "TEXT", "tokenCount": usage.output}],
    }


def _text_of(content: dict[str, Any]) -> str:
    turns = content.get("turns") or []
    return "\n".join(
        part["text"] for turn in turns for part in turn.get("parts") or () if "text" in part
    )
