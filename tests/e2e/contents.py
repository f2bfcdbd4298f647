"""Stored contents, read back from the database."""

import sqlite3
from contextlib import closing

import zstandard

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import Message
from aibridge_addon.store.content import RESPONSE_POSITION
from e2e.proxy import Proxy

type Stored = dict[tuple[int, int], tuple[str, str, bytes]]


def contents(proxy: Proxy, interception_id: str) -> Stored:
    """Return role, kind and content by upstream request and position."""
    query = (
        "SELECT upstream, position, role, kind, content, compressed FROM aibridge_messages"
        " JOIN aibridge_parts ON digest = part WHERE interception_id = ?"
    )
    with closing(sqlite3.connect(f"{proxy.database.as_uri()}?mode=ro", uri=True)) as reader:
        return {
            (upstream, position): (
                role,
                kind,
                zstandard.decompress(content) if compressed else content,
            )
            for upstream, position, role, kind, content, compressed in reader.execute(
                query, [interception_id]
            )
        }


def answer_of(api: str, stored: Stored, upstream: int = 0) -> str:
    """Return the text of a stored response."""
    view = FORMATS[api].view
    assert view
    role, kind, content = stored[upstream, RESPONSE_POSITION]
    assert (role, kind) == ("assistant", "response")
    read = view.read_part("response", content)
    assert isinstance(read, Message)
    return "".join(part.text for part in read.parts if part.kind == "text")


def contents_of(proxy: Proxy) -> list[bytes]:
    """Return all stored contents."""
    with closing(sqlite3.connect(f"{proxy.database.as_uri()}?mode=ro", uri=True)) as reader:
        rows = reader.execute("SELECT content, compressed FROM aibridge_parts").fetchall()
    return [
        zstandard.decompress(content) if compressed else content for content, compressed in rows
    ]
