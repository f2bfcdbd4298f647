"""Turns bodies into statements: parts, each stored once, and the messages that refer to them.

A history that is sent again costs a digest for each of its parts, and a row that refers to it.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import zstandard

from aibridge_addon.facts import RequestContent, ResponseContent
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import PartKind, StoredPart
from aibridge_addon.formats.pruning import pruned_message, pruned_response
from aibridge_addon.formats.view import View
from aibridge_addon.redaction import Redaction
from aibridge_addon.store.search_texts import search_texts
from aibridge_addon.store.statements import Row, Statement

logger = logging.getLogger(__name__)

RESPONSE_POSITION = 2**31 - 1
"""Position of a response: after all parts of its request, however many there are."""
MOST_KNOWN = 20_000
"""Number of parts that are known to be stored."""
_SMALLEST_COMPRESSED = 256
"""Bytes of a part that are worth compressing."""
_DAY = len("2026-01-01")
"""Length of the day in a time."""

type Part = tuple[str, str, bytes]
"""Role, kind and content."""


class ContentStatements:
    """Makes the statements of content; used by one thread at a time."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        """Digests of stored parts, and the day on which each was stored or renewed."""
        self._found: OrderedDict[tuple[bytes, str, str], str] = OrderedDict()
        """The same by digest, actor and session: the texts that a search finds under them."""

    def forget(self) -> None:
        """Forget which parts are stored, since the database is another one or rejected some."""
        self._known.clear()
        self._found.clear()

    def of(self, fact: RequestContent | ResponseContent) -> list[Statement]:
        """Return the statements of a body; none if its format has no view."""
        wire_format = FORMATS.get(fact.interception.api)
        if wire_format is None or wire_format.view is None:
            return []
        try:
            if isinstance(fact, RequestContent):
                parts = _request_parts(wire_format.view, fact)
                return self._statements(fact, wire_format.view, enumerate(parts))
            response = _response_part(wire_format.view, fact)
            placed = [(RESPONSE_POSITION, response)] if response else []
            return self._statements(fact, wire_format.view, placed)
        except Exception:  # the edge: a bug in a view must not lose the rest of the record
            logger.exception(
                "aibridge: internal error: the content of interception %s is not recorded",
                fact.interception.id,
            )
            return []

    def _statements(
        self,
        fact: RequestContent | ResponseContent,
        view: View,
        parts: Iterable[tuple[int, Part]],
    ) -> list[Statement]:
        made: list[Statement] = []
        rows: list[Row] = []
        id_ = fact.interception.id
        credentials = self._redaction.credentials.of(id_)
        day = fact.created_at[:_DAY]
        for position, (role, kind, content) in parts:
            content = self._redaction.without(content, credentials)
            digest = self._digest(kind, content)
            is_new = _is_new(self._known, digest, day)
            found = (digest, fact.interception.initiator_id, _place(fact, kind))
            if _is_new(self._found, found, day) or is_new:
                redacted = self._redaction.document(content, credentials)
                made += [self._part(digest, kind, redacted, fact.created_at)] if is_new else []
                made += search_texts(fact.interception, view, fact.upstream, kind, redacted)
            rows.append((id_, fact.upstream, position, role, digest))
        return [*made, Statement("messages", {"rows": rows})] if rows else made

    def _digest(self, kind: str, content: bytes) -> bytes:
        person = kind.encode()[:16]
        key = self._redaction.fingerprint
        return hashlib.blake2b(content, digest_size=20, key=key, person=person).digest()

    def _part(self, digest: bytes, kind: str, content: bytes, created_at: str) -> Statement:
        compressed = 0
        if len(content) >= _SMALLEST_COMPRESSED:
            packed = self._compressor.compress(content)
            if len(packed) < len(content):
                content, compressed = packed, 1
        return Statement(
            "part",
            {
                "digest": digest,
                "kind": kind,
                "content": content,
                "compressed": compressed,
                "created_at": created_at,
            },
        )


def _is_new[Key](known: OrderedDict[Key, str], key: Key, day: str) -> bool:
    """Return True if a key was not known on a day; it is from now on."""
    if known.get(key) == day:
        return False
    known[key] = day
    if len(known) > MOST_KNOWN:
        known.popitem(last=False)
    return True


def _place(fact: RequestContent | ResponseContent, kind: str) -> str:
    """Return where a search must find a part: an answer in each request, others in a session."""
    sent = fact.interception
    return sent.id if kind == "response" else sent.client_session_id or ""


def _request_parts(view: View, fact: RequestContent) -> Iterator[Part]:
    parts = view.split_request(fact.body)
    everything = "requests" in fact.capture
    for part in parts:
        content = part.content if everything else _captured(view, part, fact.capture)
        if content:
            yield part.role, part.kind, content


def _captured(view: View, part: StoredPart, capture: frozenset[str]) -> bytes:
    """Return what may be recorded of a part of a request that is not recorded completely."""
    if part.kind == "system":
        return part.content if "system" in capture else b""
    if part.kind == "message" and "results" in capture:
        return pruned_message(view, part.content, {"tool_result"})
    return b""


_KINDS: dict[str, PartKind] = {
    "answers": "text",
    "tools": "tool_call",
    "thoughts": "thinking",
    "results": "tool_result",
}


def _response_part(view: View, fact: ResponseContent) -> Part | None:
    if "answers" not in fact.capture:
        return None
    document = view.assemble_response(fact.body)
    if not fact.capture >= _KINDS.keys():
        kinds = {kind for word, kind in _KINDS.items() if word in fact.capture}
        document = pruned_response(view, document, kinds)
    return ("assistant", "response", document) if document else None
