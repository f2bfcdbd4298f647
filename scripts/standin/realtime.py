"""OpenAI Realtime as the provider speaks it: a response to each request, and transcripts.

A response takes its usage from the user's text, as in the other APIs. `STOP_SHORT` makes it
incomplete, `ERROR_EVENT` makes it fail, and `response.cancel` ends one that goes on for long
(`LONG:n PACE:ms`).
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from standin.asked import plan_of
from standin.messages import Part, Pause
from standin.openai_calls import SECONDS
from standin.plan import Plan, Script, read_script
from standin.rendering import encode, mapping


class RealtimeSession:
    """One connection."""

    def __init__(self, model: str, number: int) -> None:
        self._model = model
        self._number = number
        self._responses = 0
        self._said = ""
        """The last text of the user."""
        self._transcriber: str | None = None
        self._is_cancelled = False

    def greeting(self) -> bytes:
        """Return the message that begins a session."""
        return _event("session.created", session=self._session({}))

    async def answer(self, message: bytes) -> AsyncIterator[Part]:
        """Answer a message."""
        asked = msgspec.json.decode(message, type=dict[str, Any])
        match asked.get("type"):
            case "session.update":
                yield _event("session.updated", session=self._session(mapping(asked["session"])))
            case "conversation.item.create":
                item = mapping(asked["item"])
                self._said = _text_of(item) or self._said
                yield _event("conversation.item.added", item=item)
            case "input_audio_buffer.commit":
                for event in self._heard():
                    yield event
            case "response.cancel":
                self._is_cancelled = True
            case "response.create":
                async for part in self._respond(len(message)):
                    yield part

    def _session(self, given: dict[str, Any]) -> dict[str, Any]:
        transcription = mapping(mapping(mapping(given.get("audio")).get("input")))
        chosen = mapping(transcription.get("transcription")).get("model")
        self._transcriber = chosen or self._transcriber
        return {"type": "realtime", "object": "realtime.session", "model": self._model, **given}

    def _heard(self) -> list[bytes]:
        item = {"item_id": f"item_{self._number}", "content_index": 0}
        events = [_event("input_audio_buffer.committed", item_id=item["item_id"])]
        if self._transcriber:
            seconds = {"type": "duration", "seconds": SECONDS}
            tokens = {"type": "tokens", "input_tokens": 25, "output_tokens": 6, "total_tokens": 31}
            tokens["input_token_details"] = {"text_tokens": 0, "audio_tokens": 25}
            usage = seconds if self._transcriber.startswith("whisper") else tokens
            told = {**item, "transcript": "Turn on the light.", "usage": usage}
            events.append(_event("conversation.item.input_audio_transcription.completed", **told))
        return events

    async def _respond(self, size: int) -> AsyncIterator[Part]:
        self._is_cancelled = False
        self._responses += 1
        plan, script = plan_of(self._said, self._model, size), read_script(self._said)
        response = {"object": "realtime.response", "id": f"resp_{self._number}_{self._responses}"}
        begun = response | {"status": "in_progress", "output": []}
        yield _event("response.created", response=begun)
        said: list[str] = []
        for delta in plan.deltas:
            if self._is_cancelled:
                break
            said.append(delta)
            yield _event("response.output_text.delta", response_id=response["id"], delta=delta)
            if "PACE" in script:
                yield Pause(script.number("PACE", 0) / 1000)
        ended = response | self._status(script) | {"usage": _usage(plan)}
        content = [{"type": "output_text", "text": "".join(said)}]
        item = {"id": "item_out", "type": "message", "role": "assistant", "content": content}
        yield _event("response.done", response=ended | {"output": [item]})

    def _status(self, script: Script) -> dict[str, Any]:
        if self._is_cancelled:
            why = {"type": "cancelled", "reason": "client_cancelled"}
            return {"status": "cancelled", "status_details": why}
        if "STOP_SHORT" in script:
            why = {"type": "incomplete", "reason": "max_output_tokens"}
            return {"status": "incomplete", "status_details": why}
        if "ERROR_EVENT" in script:
            error = {"type": "server_error", "code": "server_error", "message": "It failed."}
            return {"status": "failed", "status_details": {"type": "failed", "error": error}}
        return {"status": "completed"}


def _usage(plan: Plan) -> dict[str, Any]:
    """Return the usage, of which a half of each count is audio."""
    usage = plan.usage
    given, cached, output = usage.input_total, usage.cache_read, usage.output
    return {
        "total_tokens": given + output,
        "input_tokens": given,
        "output_tokens": output,
        "input_token_details": {
            **_halves(given),
            "image_tokens": 0,
            "cached_tokens": cached,
            "cached_tokens_details": {**_halves(cached), "image_tokens": 0},
        },
        "output_token_details": _halves(output),
    }


def _halves(whole: int) -> dict[str, int]:
    return {"text_tokens": whole - whole // 2, "audio_tokens": whole // 2}


def _text_of(item: dict[str, Any]) -> str:
    parts = item.get("content") or []
    return "\n".join(part["text"] for part in parts if part.get("type") == "input_text")


def _event(kind: str, **members: Any) -> bytes:
    return encode({"type": kind, "event_id": "event_1", **members})
