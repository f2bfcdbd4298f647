"""A request to one of the smaller APIs: its members, and the answer that its script asks for."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from standin.codings import decode
from standin.messages import Request, Response
from standin.openai_shared import HEADERS, REQUEST_ID_HEADER
from standin.plan import Ask, Plan, make_plan, read_script
from standin.rendering import Rendered, encode

_FIELD = re.compile(rb'name="([^"]+)"([^\r\n]*(?:\r\n[^\r\n]+)*)\r\n\r\n(.*?)\r\n--', re.DOTALL)
"""A field of a form: its name, its other headers, its value."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    path: str
    members: Mapping[str, Any]
    """Members of a JSON object, or the fields of a form; of a file its bytes."""
    plan: Plan
    """The answer, whose model is `members`'; its usage derives from all of the body."""
    number: int

    @property
    def model(self) -> str:
        """The model that the request names."""
        return self.plan.model

    @property
    def streams(self) -> bool:
        """True if the request asks for a stream."""
        return self.members.get("stream") in (True, "true")

    def json(self, document: Any) -> Response:
        """Return a response of one document."""
        return self.body(encode(document), "application/json")

    def body(self, body: bytes, media_type: str) -> Response:
        """Return a response of a content type."""
        return Response(200, self._headers(media_type), Rendered((body,)).numbered(self.number)[0])

    def events(self, events: Iterable[bytes]) -> Response:
        """Return a response that is a stream."""
        numbered = Rendered(tuple(events)).numbered(self.number)
        return Response(200, self._headers("text/event-stream; charset=utf-8"), numbered)

    def _headers(self, media_type: str) -> list[tuple[str, str]]:
        request_id = f"req_{self.number:020}"
        return [("content-type", media_type), (REQUEST_ID_HEADER, request_id), *HEADERS]


def read_asked(request: Request, path: str, number: int, model: str = "") -> Asked:
    """Read a request, whose model may be in its path."""
    body = decode(request.body, request.header("content-encoding"))
    if (request.header("content-type") or "").startswith("multipart/"):
        members, said = _form(body)
    else:
        members, said = _document(body), body.decode(errors="replace")
    named = members.get("model")
    chosen = model or (named if isinstance(named, str) else "")
    return Asked(path, members, plan_of(said, chosen, len(body)), number)


def plan_of(said: str, model: str, size: int) -> Plan:
    """Decide the answer to a text."""
    return make_plan(ask_of(said, model, size), read_script(said))


def ask_of(said: str, model: str, size: int, *, stream: bool = False) -> Ask:
    """Return a request that is a text and no more."""
    return Ask(
        model=model,
        stream=stream,
        said=said,
        results=(),
        turns=0,
        tools=(),
        forced=None,
        size=size,
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body) if body else {}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _form(body: bytes) -> tuple[dict[str, Any], str]:
    """Return the fields of a form, and the text of those that are not files."""
    fields: dict[str, Any] = {}
    for name, headers, value in _FIELD.findall(body):
        is_file = b"filename=" in headers or b"content-type" in headers.lower()
        fields[name.decode().removesuffix("[]")] = value if is_file else value.decode()
    return fields, "\n".join(value for value in fields.values() if isinstance(value, str))
