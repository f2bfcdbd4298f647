"""The page on generated databases: figures equal independent sums, and only own rows are shown."""

import html
import re
import tempfile
from pathlib import Path

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from report.databases import Request, database, figures, insert, request_lists, roll_up
from starlette.testclient import TestClient

from aibridge_addon.report import notes, numbers
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import usd
from aibridge_addon.store.sqlite.reports.reports import SQLiteReports
from aibridge_addon.web.site import make_site
from web.conftest import SECRET, Tokens, make_browser

PATHS = ("/?period=all", "/requests?period=all", "/sessions?period=all", "/people?period=all")


def browser_on(folder: str, stored: list[Request], actor: str | None) -> TestClient:
    """Return a browser of an actor, or of an admin, on a database with these requests."""
    path = Path(folder) / "a.sqlite3"
    with database(path) as connection:
        for request in stored:
            insert(connection, request)
        roll_up(connection, len(stored) // 2)
    tokens = Tokens()
    browser = make_browser(make_site(SQLiteReports(path), tokens, secret=SECRET))
    browser.post("/login", data={"token": tokens.make(actor or "lead", admin=actor is None)})
    return browser


def shown_figures(page: str) -> dict[str, str]:
    """Return the texts of the row of figures by their titles."""
    found = re.findall(r"<dt>(.*?)</dt>(.*?)</div>", page, re.DOTALL)
    return {name: _text(cell) for name, cell in found}


def _text(markup: str) -> str:
    visible = re.sub(r'<span class="sr">.*?</span>', "", markup)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", visible)).split())


def expected_figures(known: Figures) -> dict[str, str]:
    """Return how the row of figures must begin."""

    def tokens(number: int) -> str:
        sum_ = known.known(number) if known.calls or number else None
        return notes.at_least(known, numbers.short_count(sum_))

    return {
        "Money": usd(known.cost_nano_usd),
        "Requests": numbers.count(known.requests),
        "Tokens in": tokens(known.total_input),
        "Tokens out": tokens(known.output),
        "Cache hit": numbers.percent(known.cache_hit_rate),
        "Not completed": f"{known.failed} failed {known.cancelled} cancelled · {known.refused}",
    }


@settings(deadline=None, max_examples=examples(12))
@given(stored=request_lists(), actor=st.sampled_from([None, "alice"]))
def test_overview_equals_the_sum_of_the_rows_that_the_viewer_may_see(
    stored: list[Request], actor: str | None
) -> None:
    own = [request for request in stored if actor in (None, request.actor)]
    with tempfile.TemporaryDirectory() as folder:
        page = browser_on(folder, stored, actor).get("/?period=all").text
    if not own:
        assert "Nothing was recorded in this period" in page
        return
    shown, known = shown_figures(page), figures(own)
    for name, text in expected_figures(known).items():
        assert shown[name].startswith(text), name
    assert (f"+{known.unpriced} unpriced" in shown["Money"]) is (known.unpriced > 0)
    if known.saved_nano_usd is not None:
        assert f"saved {usd(known.saved_nano_usd)}" in shown["Cache hit"]
    if known.list_price_nano_usd is not None:
        assert f"{usd(known.list_price_nano_usd)} list price, not billed" in shown["Money"]


@settings(deadline=None, max_examples=examples(8))
@given(stored=request_lists())
def test_no_page_shows_requests_of_others(stored: list[Request]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        browser = browser_on(folder, stored, "alice")
        pages = [browser.get(path).text for path in PATHS]
        lines = browser.get("/export?period=all").text
        for request in stored:
            status = browser.get(f"/requests/{request.id}").status_code
            assert status == (200 if request.actor == "alice" else 404)
    others = {request.id for request in stored if request.actor != "alice"}
    assert not [each for each in others if any(each in text for text in (*pages, lines))]
    assert "bob" not in "".join(pages).replace("bob@", "")


def test_every_link_of_the_page_works_on_a_database(tmp_path: Path) -> None:
    stored = [
        Request(
            number=number,
            started_at=f"2026-03-28T2{number}:00:00.000000+00:00",
            status="completed",
            http_status=200,
            calls=(),
            tools=("Read",),
            actor="alice",
            team="search",
            model=model,
            client="Codex",
            provider="openai",
            kind="turn",
            credential="byok",
            token="t1",
            session="s / 1 ?",
            api="openai_chat",
            prompt="Fix the Bug",
        )
        for number, model in enumerate(["opus", None, "a&b=c"])
    ]
    browser = browser_on(str(tmp_path), stored, None)
    seen, waiting = set[str](), {*PATHS, "/?period=2026-03-28&until=2026-03-28"}
    while waiting:
        path = waiting.pop()
        seen.add(path)
        response = browser.get(path)
        assert response.status_code == 200, path
        found = re.findall(r'href="([^"]*)"', response.text) if len(seen) < 60 else []
        urls = {html.unescape(url) for url in found}
        waiting |= {url for url in urls if url.startswith("/") and url not in seen}
