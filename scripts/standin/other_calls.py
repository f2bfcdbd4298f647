"""Calls other than messages, of every API: which module answers at which path."""

import re
from urllib.parse import parse_qs, unquote

from standin import copilot, google_calls, google_logins, openai_calls
from standin.asked import Asked, read_asked
from standin.batches import Batches
from standin.gemini_live import PATH as LIVE
from standin.gemini_live import LiveSession
from standin.messages import Request, Response, Upgrade
from standin.ollama import embedded
from standin.realtime import RealtimeSession

_OPENAI = re.compile(r"(?:/v1|/openai(?:/v1|/deployments/[^/]+)?)/(\w+(?:/\w+)?)")
_REALTIME = re.compile(r"(?:/openai)?(?:/v1)?/realtime")
_GOOGLE = {"cachedContents": google_calls.cache, "interactions": google_calls.interaction}
_OLLAMA = ("/api/embed", "/api/embeddings")


class OtherCalls:
    """The calls of one provider, which keeps batches and files."""

    def __init__(self) -> None:
        self._batches = Batches()

    def answer(self, request: Request, number: int) -> Response | Upgrade | None:
        """Answer a request; None if it is to none of these calls."""
        if request.header("upgrade") == "websocket":
            return _session(request, number)
        path = unquote(request.path)
        model, verb = google_calls.verb_of(path)
        asked = read_asked(request, path, number, model)
        if request.method == "POST" and (found := _called(asked, verb)):
            return found
        return (
            google_logins.answer(asked)
            or copilot.answer(asked)
            or self._batches.answer(asked, request.method)
        )


def _called(asked: Asked, verb: str) -> Response | None:
    if call := google_calls.CALLS.get(verb):
        return call(asked)
    if asked.path in _OLLAMA:
        return asked.json(embedded(asked))
    found = _OPENAI.fullmatch(asked.path)
    if found and (call := openai_calls.CALLS.get(found[1])):
        return call(asked)
    call = _GOOGLE.get(asked.path.rpartition("/")[2])
    return call(asked) if call else None


def _session(request: Request, number: int) -> Upgrade | None:
    if _REALTIME.fullmatch(request.path):
        query = parse_qs(request.target.partition("?")[2])
        model = query.get("model", query.get("deployment", ["gpt-realtime"]))[0]
        session = RealtimeSession(model, number)
        return Upgrade(session.answer, greeting=session.greeting())
    if request.path.endswith(LIVE):
        return Upgrade(LiveSession().answer)
    return None
