"""Texts of stored content for the search: answers, and results of tools.

Prompts, thoughts and tool arguments have rows of their own, which the store copies by itself.
"""

import hashlib
from collections.abc import Iterator

from aibridge_addon.facts import Interception
from aibridge_addon.formats.content import Message
from aibridge_addon.formats.view import View
from aibridge_addon.store.statements import Statement, Values

MAX_CHARACTERS = 32_768
"""Longest indexed beginning of a text."""


def search_texts(
    fact: Interception, view: View, upstream: int, kind: str, content: bytes
) -> Iterator[Statement]:
    """Yield the statements for the texts of a part of a request or response, as it is stored.

    Call it for a part that is new in a session of an actor: its texts are found there from then on.
    """
    if kind == "response":
        message = view.read_response(content).message
        answer = "\n".join(part.text for part in message.parts if part.kind == "text")
        if answer:
            yield _statement(fact, f"{fact.id}/{upstream}/answer", "answer", answer)
    elif kind == "message":
        message = view.read_part(kind, content)  # type: ignore[assignment]  # of this kind
        yield from _results(fact, message)


def _results(fact: Interception, message: Message) -> Iterator[Statement]:
    for part in message.parts:
        if part.kind == "tool_result" and part.text:
            source = _digest(fact, part.call_id or "", part.text)
            yield _statement(fact, source, "result", part.text)


def _digest(fact: Interception, call_id: str, text: str) -> str:
    """Return the same value for a result that is sent again, with whatever cache markers."""
    made = hashlib.blake2b(digest_size=16)
    for value in (fact.initiator_id, fact.client_session_id or "", call_id, text):
        made.update(value.encode(errors="surrogatepass") + b"\0")
    return f"result/{made.hexdigest()}"


def _statement(fact: Interception, source: str, kind: str, text: str) -> Statement:
    values: Values = {
        "source": source,
        "interception_id": fact.id,
        "kind": kind,
        "text": text[:MAX_CHARACTERS],
    }
    return Statement("search_text", values)
