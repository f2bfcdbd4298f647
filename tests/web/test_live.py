"""Live rows by server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from aibridge_addon.web.access import COOKIE, viewer_of
from aibridge_addon.web.app import make_app
from aibridge_addon.web.live import live
from aibridge_addon.web.site import Site
from aibridge_addon.web.streams import MOST_STREAMS
from web.conftest import Tokens, recorded
from web.memory import MemoryReports

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibridge_addon.web.live.POLL_SECONDS", 0.001)


class Stream:
    """The events of a live page."""

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks

    async def next_row(self) -> dict[str, str]:
        """Return the data of the next row."""
        while True:
            text = await asyncio.wait_for(anext(self._chunks), WAIT_S)
            if text.startswith("event: row"):
                data = text.partition("data: ")[2]
                found: dict[str, str] = json.loads(data)
                return found | {"event_id": text.partition("\nid: ")[2].partition("\n")[0]}
            if text.startswith("event: signed-out"):
                return {"id": "signed-out"}


@asynccontextmanager
async def opened(
    site: Site, tokens: Tokens, actor: str, query: str = "", last_event_id: str = ""
) -> AsyncIterator[Stream]:
    """Open a live page as an actor; `admin` sees all."""
    text = tokens.make(actor, admin=actor == "admin")
    session_id = await site.doorkeeper.sign_in(text)
    token = next(t for t in tokens.known.values() if t.has_text(text))
    headers = [(b"host", b"127.0.0.1"), (b"cookie", f"{COOKIE}_0={session_id}".encode())]
    if last_event_id:
        headers.append((b"last-event-id", last_event_id.encode()))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/live",
        "query_string": query.encode(),
        "headers": headers,
        "app": make_app(site),
        "state": {"viewer": viewer_of(token)},
    }
    response = await live(Request(scope))
    assert isinstance(response, StreamingResponse)
    chunks = response.body_iterator
    await anext(aiter(chunks))
    try:
        yield Stream(aiter(chunks))
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]


async def test_row_appears_when_a_request_ends(
    site: Site, reports: MemoryReports, tokens: Tokens
) -> None:
    async with opened(site, tokens, "admin", "cursor=2") as stream:
        reports.details.append(recorded("r-new", prompt="<b>new</b>"))
        row = await stream.next_row()
    assert row["id"] == "r-new"
    assert row["html"].lstrip().startswith('<tr data-id="r-new">')
    assert "&lt;b&gt;new&lt;/b&gt;" in row["html"]


async def test_live_rows_of_others_are_not_sent(
    site: Site, reports: MemoryReports, tokens: Tokens
) -> None:
    async with opened(site, tokens, "alice", "cursor=2&actor=bob") as stream:
        reports.details.append(recorded("r-secret", "bob"))
        tokens.revoke_all()
        assert (await stream.next_row())["id"] == "signed-out"
    async with opened(site, tokens, "alice", "cursor=2") as stream:
        reports.details.append(recorded("r-own", "alice"))
        assert (await stream.next_row())["id"] == "r-own"


async def test_live_rows_honour_the_filters(
    site: Site, reports: MemoryReports, tokens: Tokens
) -> None:
    async with opened(site, tokens, "admin", "cursor=2&model=haiku") as stream:
        reports.details += [recorded("r-1"), recorded("r-2", model="haiku")]
        assert (await stream.next_row())["id"] == "r-2"


async def test_reconnected_page_continues_where_it_stopped(
    site: Site, reports: MemoryReports, tokens: Tokens
) -> None:
    async with opened(site, tokens, "admin", "cursor=2") as stream:
        reports.details.append(recorded("r-1"))
        event_id = (await stream.next_row())["event_id"]
    reports.details.append(recorded("r-2"))
    async with opened(site, tokens, "admin", "cursor=2", event_id) as stream:
        assert (await stream.next_row())["id"] == "r-2"


async def test_number_of_live_pages_is_bounded(site: Site, tokens: Tokens) -> None:
    for _ in range(MOST_STREAMS - 1):
        assert site.streams.enter()
    async with opened(site, tokens, "admin"):
        assert not site.streams.enter()
    assert site.streams.enter()
