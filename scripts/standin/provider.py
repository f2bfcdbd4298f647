"""The stand-in AI provider: every API on one port, answering by script (see `plan`).

Not a model and not a validator: any body that is a JSON object gets an answer. A request with the
header `x-standin-canned: NAME` gets `Provider.canned[NAME]` instead, byte for byte.
"""

import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec

from standin import (
    anthropic_messages,
    bedrock,
    delivery,
    gemini,
    ollama,
    openai_chat,
    openai_responses,
    vertex_claude,
)
from standin.codings import CODINGS, decode
from standin.conversation import Conversation
from standin.messages import (
    EndEarly,
    Fault,
    Gate,
    Part,
    Pause,
    Request,
    Reset,
    Response,
    Upgrade,
    Wait,
)
from standin.other_calls import OtherCalls
from standin.plan import Ask, Plan, Script, make_plan, script_of
from standin.rendering import CREATED, ID, Rendered, encode

_APIS: dict[str, ModuleType] = {
    "/v1/messages": anthropic_messages,
    "/v1/chat/completions": openai_chat,
    "/v1/responses": openai_responses,
    "/backend-api/codex/responses": openai_responses,
    "/anthropic/v1/messages": anthropic_messages,  # Bedrock Mantle and Azure Foundry
    "/chat/completions": openai_chat,  # GitHub Copilot
    "/responses": openai_responses,
}
_AZURE: dict[str, ModuleType] = {
    "chat/completions": openai_chat,
    "responses": openai_responses,
}
_AZURE_PATH = re.compile(r"/openai/(?:v1/|deployments/[^/]+/)?(\w+(?:/\w+)?)")

_COUNT_TOKENS = re.compile(
    rf"(?:/anthropic)?/v1/messages/count_tokens|{vertex_claude.COUNT_TOKENS.pattern}"
)

_INCIDENTS = {"GATE", "PACE", "ERROR_EVENT", "END_EARLY", "CUT", "RESET"}
"""Events that a script can place between the events of a response."""

MODELS = ("claude-standin-1", "claude-sonnet-4-5", "claude-haiku-4-5", "gpt-5", "gpt-4o")


type Dialect = ModuleType | gemini.Api
type Answer = Response | Upgrade | Fault
type Canned = Callable[[Request], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Reading of a request by the provider, in `Request.notes`; for a WebSocket a list."""

    ask: Ask
    plan: Plan
    response_id: str
    """The number that all ids of the response end in or hold."""


class Provider:
    """The application. One instance may serve one server."""

    def __init__(self) -> None:
        self.canned: dict[str, Canned] = {}
        self._gates: dict[str, Gate] = {}
        self._numbers = itertools.count(1)
        self._other_calls = OtherCalls()

    def gate(self, name: str) -> Gate:
        """Return the gate of that name."""
        return self._gates.setdefault(name, Gate())

    async def __call__(self, request: Request) -> Answer:
        if name := request.header("x-standin-canned"):
            answer = self.canned[name](request)
            return await answer if isinstance(answer, Awaitable) else answer
        number = next(self._numbers)
        path = request.path
        api = gemini.api_of(path, request.target) or ollama.ROUTES.get(path) or _api_of(path)
        if api is not None and request.method == "POST":
            return self._bridged(api, request, number)
        dialect = _dialect(request)
        if _COUNT_TOKENS.fullmatch(path) and request.method == "POST":
            tokens = (len(_plain(request)) + 3) // 4
            return _json(dialect, number, encode({"input_tokens": tokens}))
        size = len(_plain(request))
        if found := bedrock.other_answer(path, size):
            return _json(dialect, number, encode(found))
        if path.startswith("/v1/models") and request.method == "GET":
            return self._models(dialect, path, number)
        if path == "/backend-api/wham/accounts/check":
            return _json(dialect, number, _account(request.header("chatgpt-account-id")))
        if path == "/" and request.method == "HEAD":
            return Response(200, _headers(dialect, number, "text/plain"))
        if api is openai_responses and request.header("upgrade") == "websocket":
            return self._upgraded(request)
        if other := self._other_calls.answer(request, number):
            return other
        return _error(dialect, number, 404, f"Unknown request: {request.method} {path}")

    def _bridged(self, api: Dialect, request: Request, number: int) -> Response | Reset:
        body = _plain(request)
        try:
            ask = api.read(msgspec.json.decode(body, type=dict[str, Any]), len(body))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _error(api, number, 400, "The request body is not a JSON object.")
        ask, script = script_of(ask)
        if not ask.turns and (response := _refusal(api, script, ask, number)):
            return response
        plan = make_plan(ask, script)
        request.notes = Exchange(ask, plan, f"{number:020}")
        if delivery.streams(script, asked=ask.stream):
            events = api.render_stream(plan, ask.include_usage).numbered(number)
            content_type = getattr(api, "CONTENT_TYPE", "text/event-stream; charset=utf-8")
            response = Response(200, _headers(api, number, content_type))
            response.headers.append(("cache-control", "no-cache"))
            pieces = delivery.in_pieces(events, script)
            if delivery.is_sized(script):
                response.body = b"".join(pieces)
            else:
                response.body = self._scripted(pieces, script, api, number)
        else:
            response = _json(api, number, api.render_body(plan).numbered(number)[0])
            _break_body(response, script)
        response.headers = delivery.with_media_type(response.headers, script)
        if (coding := script.word("CODING")) in CODINGS:
            response.coding = coding
        return response

    def _upgraded(self, request: Request) -> Upgrade:
        request.notes = []

        def answered(ask: Ask, plan: Plan, number: int) -> None:
            request.notes.append(Exchange(ask, plan, f"{number:020}"))

        conversation = Conversation(lambda: next(self._numbers), self._incidents, answered)
        return Upgrade(conversation.answer, list(openai_responses.HEADERS))

    def _incidents(self, events: list[bytes], script: Script, number: int) -> Iterable[Part]:
        return self._scripted(events, script, openai_responses, number)

    def _scripted(
        self, events: list[bytes], script: Script, api: Dialect, number: int
    ) -> list[bytes] | Iterator[Part]:
        if not script.values.keys() & _INCIDENTS:
            return events
        return self._with_incidents(events, script, api, number)

    def _with_incidents(
        self, events: list[bytes], script: Script, api: Dialect, number: int
    ) -> Iterator[Part]:
        gate = script.word("GATE")
        pace_s = script.number("PACE", 0) / 1000
        middle = len(events) // 2
        for position, event in enumerate(events):
            if position == middle and "ERROR_EVENT" in script:
                yield Rendered((api.error_event(),)).numbered(number)[0]
                return
            if position == middle and ("END_EARLY" in script or "CUT" in script):
                yield EndEarly()
            if position == middle and "RESET" in script:
                yield Reset()
            if position and gate:
                yield Wait(self.gate(gate))
            if position and "PACE" in script:
                yield Pause(pace_s)
            yield event

    def _models(self, dialect: ModuleType, path: str, number: int) -> Response:
        wanted = path.removeprefix("/v1/models").strip("/")
        listed = [_model(dialect, name) for name in MODELS if wanted in ("", name)]
        if wanted and not listed:
            return _error(dialect, number, 404, f"model: {wanted}")
        if wanted:
            return _json(dialect, number, encode(listed[0]))
        listing: dict[str, Any] = {"data": listed}
        if dialect is anthropic_messages:
            listing |= {"has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        else:
            listing |= {"object": "list"}
        return _json(dialect, number, encode(listing))


def _api_of(path: str) -> ModuleType | None:
    if cloud := bedrock.api_of(path) or vertex_claude.api_of(path):
        return cloud
    azure = _AZURE_PATH.fullmatch(path)
    return _AZURE.get(azure[1]) if azure else _APIS.get(path)


def _account(account_id: str | None) -> bytes:
    """Render the account facts that Codex needs of a ChatGPT login before its first request."""
    account = {
        "id": account_id,
        "workspace_backend_origin": "https://chatgpt.com",
        "account_routing_override": "NO_CONSTRAINT",
    }
    return encode({"accounts": [account], "default_account_id": account_id})


def _dialect(request: Request) -> ModuleType:
    """Tell Anthropic's clients from OpenAI's where the path does not."""
    if request.header("anthropic-version") or request.header("x-api-key"):
        return anthropic_messages
    return openai_chat


def _plain(request: Request) -> bytes:
    return decode(request.body, request.header("content-encoding"))


def _refusal(api: Dialect, script: Script, ask: Ask, number: int) -> Response | Reset | None:
    if "DROP" in script:
        return Reset()
    if "STATUS" in script:
        status = script.number("STATUS", 500)
        return _error(api, number, status, f"The script asked for {status}.")
    if "ERROR_EVENT" in script and not ask.stream:
        return _error(api, number, 500, "The script asked for an error.")
    return None


def _break_body(response: Response, script: Script) -> None:
    """Cut an announced body in the middle, if the script says so."""
    body = response.body
    assert isinstance(body, bytes)
    for name, fault in (("END_EARLY", EndEarly()), ("RESET", Reset())):
        if name in script:
            response.announce_length = len(body)
            response.body = [body[: len(body) // 2], fault]


def _headers(api: Dialect, number: int, content_type: str) -> list[tuple[str, str]]:
    return [
        ("content-type", content_type),
        (api.REQUEST_ID_HEADER, f"req_{number:020}"),
        *api.HEADERS,
    ]


def _json(api: Dialect, number: int, body: bytes, status: int = 200) -> Response:
    return Response(status, _headers(api, number, "application/json"), body)


def _error(api: Dialect, number: int, status: int, message: str) -> Response:
    body = api.error_body(status, message).replace(ID.encode(), f"{number:020}".encode())
    response = _json(api, number, body, status)
    if status in (408, 409, 429) or status >= 500:
        response.headers += [("retry-after", "1"), ("retry-after-ms", "50")]
    return response


def _model(dialect: ModuleType, name: str) -> dict[str, Any]:
    if dialect is anthropic_messages:
        return {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2026-01-01T00:00:00Z",
        }
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "standin"}
