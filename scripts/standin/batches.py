"""Batches of OpenAI, Anthropic and Google: they have ended once a client asks for their state.

The results are the answers that the requests would have got one by one.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from standin import anthropic_messages, gemini, openai_chat, openai_responses
from standin.asked import Asked
from standin.messages import Response
from standin.openai_calls import chat_usage
from standin.plan import Plan, make_plan, script_of
from standin.rendering import CREATED, encode, mapping

_OPENAI = {"/v1/chat/completions": openai_chat, "/v1/responses": openai_responses}
_TIME = "2026-11-28T10:00:00Z"
_RESULTS = re.compile(r"/v1/messages/batches/([^/]+)/results")
_ANTHROPIC = re.compile(r"/v1/messages/batches(?:/([^/]+))?")
_FILES = re.compile(r"/(?:v1|openai)/files(?:/([^/]+)/content)?")
_BATCHES = re.compile(r"/(?:v1|openai)/batches(?:/([^/]+))?")
_GOOGLE = re.compile(r"/v1\w*/(batches/[^/:]+)")


class Batches:
    """The batches and files of one provider."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._made: dict[str, dict[str, Any]] = {}
        """The final state of each batch by its id; of Anthropic's the results too."""

    def answer(self, asked: Asked, method: str) -> Response | None:
        """Answer a request to a batch or a file; None for any other."""
        path, given = asked.path, asked.members
        if path.endswith(":batchGenerateContent"):
            return asked.json(self._begin_google(asked))
        if (found := _GOOGLE.fullmatch(path)) and found[1] in self._made:
            return self._state(asked, found[1])
        if found := _RESULTS.fullmatch(path):
            lines = self._made[f"{found[1]}/results"]["lines"]
            return asked.body(_lines(lines), "application/x-jsonl")
        if found := _ANTHROPIC.fullmatch(path):
            begun = asked.json(self._begin_anthropic(asked)) if method == "POST" else None
            return begun or self._state(asked, found[1])
        if found := _FILES.fullmatch(path):
            if method == "POST":
                return asked.json(self._keep(f"file-{asked.number}", given.get("file") or b""))
            content = self._files.get(found[1])
            return asked.body(content, "application/octet-stream") if content else None
        if found := _BATCHES.fullmatch(path):
            begun = asked.json(self._begin_openai(asked)) if method == "POST" else None
            return begun or self._state(asked, found[1])
        return None

    def _state(self, asked: Asked, id_: str | None) -> Response | None:
        return asked.json(self._made[id_]) if id_ in self._made else None

    def _keep(self, id_: str, content: bytes) -> dict[str, Any]:
        self._files[id_] = content
        file = {"id": id_, "object": "file", "bytes": len(content), "created_at": CREATED}
        return file | {"filename": "batch.jsonl", "purpose": "batch", "status": "processed"}

    def _begin_openai(self, asked: Asked) -> dict[str, Any]:
        id_, output_id = f"batch_{asked.number}", f"file-out-{asked.number}"
        total: Counter[str] = Counter()
        lines, models = [], []
        for request in self._files.get(asked.members.get("input_file_id", ""), b"").splitlines():
            asked_for = msgspec.json.decode(request)
            api = _OPENAI.get(asked_for["url"], openai_chat)
            plan = _plan_of(api, asked_for["body"])
            body = msgspec.Raw(api.render_body(plan).numbered(asked.number)[0])
            response = {"status_code": 200, "request_id": "req", "body": body}
            lines.append({"custom_id": asked_for["custom_id"], "response": response, "error": None})
            models.append(plan.model)
            usage = chat_usage(plan.usage)
            total.update(
                input=usage["prompt_tokens"],
                output=usage["completion_tokens"],
                cached=plan.usage.cache_read,
                reasoning=plan.usage.reasoning,
            )
        self._keep(output_id, _lines(lines))
        begun = {
            "id": id_,
            "object": "batch",
            "endpoint": asked.members.get("endpoint"),
            "input_file_id": asked.members.get("input_file_id"),
            "completion_window": "24h",
            "created_at": CREATED,
            "model": models[0] if models else None,
        }
        ended = {"status": "completed", "output_file_id": output_id}
        self._made[id_] = begun | ended | {"usage": _responses_usage(total)}
        return begun | {"status": "validating"}

    def _begin_anthropic(self, asked: Asked) -> dict[str, Any]:
        id_ = f"msgbatch_{asked.number}"
        lines = []
        for place, request in enumerate(asked.members.get("requests") or []):
            plan = _plan_of(anthropic_messages, request["params"])
            message = msgspec.json.decode(
                anthropic_messages.render_body(plan).numbered(asked.number * 1000 + place)[0]
            )
            message["usage"]["service_tier"] = "batch"
            result = {"type": "succeeded", "message": message}
            lines.append({"custom_id": request["custom_id"], "result": result})
        names = ("processing", "succeeded", "errored", "canceled", "expired")
        times = dict.fromkeys(("archived_at", "cancel_initiated_at", "ended_at", "results_url"))
        begun = {
            "id": id_,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": dict.fromkeys(names, 0) | {"processing": len(lines)},
            "created_at": _TIME,
            "expires_at": "2026-11-29T10:00:00Z",
            **times,
        }
        self._made[id_] = begun | {
            "processing_status": "ended",
            "request_counts": dict.fromkeys(names, 0) | {"succeeded": len(lines)},
            "ended_at": _TIME,
            "results_url": f"https://api.anthropic.com/v1/messages/batches/{id_}/results",
        }
        self._made[f"{id_}/results"] = {"lines": lines}
        return begun

    def _begin_google(self, asked: Asked) -> dict[str, Any]:
        name = f"batches/{asked.number}"
        batch = mapping(asked.members.get("batch"))
        config = mapping(batch.get("inputConfig", batch.get("input_config")))
        given = mapping(config.get("requests")).get("requests") or []
        api = gemini.Api(model=asked.model, streams=False, is_sse=False)
        results = []
        for place, request in enumerate(given):
            plan = _plan_of(api, request["request"])
            body = api.render_body(plan).numbered(asked.number * 1000 + place)[0]
            results.append({"response": msgspec.Raw(body)})
        model = f"models/{asked.model}"
        metadata = {"model": model, "createTime": _TIME, "name": name}
        output = {"inlinedResponses": {"inlinedResponses": results}}
        ended = metadata | {"state": "BATCH_STATE_SUCCEEDED", "output": output}
        self._made[name] = {"name": name, "metadata": ended, "done": True, "response": output}
        return {"name": name, "metadata": metadata | {"state": "BATCH_STATE_PENDING"}}


def _plan_of(api: Any, body: dict[str, Any]) -> Plan:
    return make_plan(*script_of(api.read(body, len(encode(body)))))


def _lines(documents: Iterable[Any]) -> bytes:
    return b"".join(encode(document) + b"\n" for document in documents)


def _responses_usage(total: Counter[str]) -> dict[str, Any]:
    return {
        "input_tokens": total["input"],
        "input_tokens_details": {"cached_tokens": total["cached"]},
        "output_tokens": total["output"],
        "output_tokens_details": {"reasoning_tokens": total["reasoning"]},
        "total_tokens": total["input"] + total["output"],
    }
