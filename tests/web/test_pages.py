"""The overview, lists, people and health: figures, links and empty states."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.datastructures import QueryParams
from starlette.testclient import TestClient

from aibridge_addon.budgets.accounts import Account, unused_account
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.facts import now
from aibridge_addon.findings import Finding
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.report.rows import GroupRow, Page, RateLimitRow, SearchHit, Totals, TunnelRow
from aibridge_addon.report.search_text import SearchTextError
from aibridge_addon.store.errors import NothingRecordedError, StoreError
from aibridge_addon.web.access import OPERATOR
from aibridge_addon.web.chart import MEASURES, WIDTH, make_chart
from aibridge_addon.web.filters import read_filters
from aibridge_addon.web.links import make_key
from aibridge_addon.web.site import Site, make_site
from web.conftest import SECRET, SignIn, Tokens, make_browser, recorded
from web.memory import MemoryReports

UNPRICED = Figures(
    requests=1,
    completed=1,
    input=7,
    output=3,
    unpriced=1,
    unpriced_models=("llama",),
    unpriced_reasons=("no price list",),
)


def links(text: str) -> set[str]:
    return {html.unescape(url) for url in re.findall(r'href="([^"]*)"', text)}


def test_overview_links_every_figure_to_its_requests(operator: TestClient) -> None:
    found = links(operator.get("/?period=30d").text)
    for query in ("", "&actor=alice", "&model=opus", "&client=Claude+Code", "&status=cancelled"):
        assert f"/requests?period=30d{query}" in found, query


@pytest.mark.parametrize("path", ["/", "/requests", "/people", "/sessions", "/health"])
def test_every_link_of_a_page_works(operator: TestClient, path: str) -> None:
    for url in links(operator.get(path).text):
        if url.startswith("/") and url != "/logout":
            assert operator.get(url).status_code == 200, url


@pytest.mark.parametrize("path", ["/", "/requests", "/people", "/sessions"])
def test_empty_page_says_what_to_do_next(
    operator: TestClient, reports: MemoryReports, path: str
) -> None:
    reports.details.clear()
    assert "aibridge run -- claude" in operator.get(path).text


def test_tokens_of_a_refused_request_are_dashes(
    operator: TestClient, reports: MemoryReports
) -> None:
    reports.details[:] = [recorded("r-1", figures=Figures(requests=1, refused=1))]
    text = operator.get("/requests").text
    assert text.count("no usage was reported)") == 2


def test_unknown_money_is_a_dash_with_the_reason(
    operator: TestClient, reports: MemoryReports
) -> None:
    reports.details[:] = [recorded("r-1", figures=UNPRICED)]
    text = operator.get("/").text
    assert "$" not in text.replace("$(", "")
    assert 'title="no price is known for llama: no price list">—' in text
    assert "+1 unpriced" in text


def test_sum_with_unpriced_requests_says_so(operator: TestClient, reports: MemoryReports) -> None:
    reports.details.append(recorded("r-1", figures=UNPRICED))
    text = operator.get("/").text
    assert "$0.0246" in text
    assert 'title="Requests whose cost is not known: llama. no price list">+1 unpriced' in text


def test_turn_that_brings_tool_results_is_listed_as_such(
    operator: TestClient, reports: MemoryReports
) -> None:
    reports.details[:] = [
        recorded("r-1", prompt=None, brings_results=True),
        recorded("r-2", prompt=None),
    ]
    text = operator.get("/requests").text
    assert text.count('<span class="muted">tool results</span>') == 1
    assert text.count('<span class="muted">no prompt</span>') == 1


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ("openai_embeddings", "embeddings"),
        ("gemini_embeddings", "embeddings"),
        ("openai_transcriptions", "transcription"),
        ("anthropic_batches", "batch"),
        ("rerank", "ranking"),
        ("openai_responses", "no prompt"),
    ],
)
def test_call_that_nobody_types_is_listed_by_its_name(
    operator: TestClient, reports: MemoryReports, api: str, words: str
) -> None:
    reports.details[:] = [recorded("r-1", prompt=None, api=api)]
    assert f'<span class="muted">{words}</span>' in operator.get("/requests").text


def test_unreported_usage_is_a_dash(operator: TestClient, reports: MemoryReports) -> None:
    reports.details[:] = [recorded("r-1", figures=Figures(requests=1, without_usage=1))]
    text = operator.get("/requests").text
    assert "the provider reported no usage" in text


def test_list_price_of_a_subscription_is_no_cost(
    operator: TestClient, reports: MemoryReports
) -> None:
    figures = Figures(requests=1, completed=1, input=7, output=3, list_price_nano_usd=5_000_000)
    reports.details[:] = [recorded("r-1", figures=figures)]
    text = operator.get("/requests").text
    assert "($0.0050)" in text
    assert "not billed" in text


def test_search_shows_where_a_text_was_found(operator: TestClient) -> None:
    text = operator.get("/requests?q=of+bob").text
    assert "prompt <mark>of bob</mark>" in text
    assert "r-alice" not in text


def test_older_requests_are_on_further_pages(operator: TestClient, reports: MemoryReports) -> None:
    reports.details[:] = [recorded(f"r-{number}") for number in range(150)]
    first = operator.get("/requests").text
    (older,) = (url for url in links(first) if "cursor=" in url)
    second = operator.get(older).text
    ids = re.findall(r'data-id="(r-\d+)"', first + second)
    assert ids == [f"r-{number}" for number in reversed(range(150))]
    assert "data-live" in first
    assert "data-live" not in second


def test_people_show_access_tokens_with_their_use(
    operator: TestClient, reports: MemoryReports, tokens: Tokens
) -> None:
    tokens.make("alice", admin=True)
    tokens.make("carol")
    (alice, carol) = tokens.known
    reports.details.append(recorded("r-1", token=alice))
    text = operator.get("/people").text
    assert f"/requests?period=30d&token={alice}" in links(text)
    assert carol in text.partition("without a request")[2]


def test_people_of_a_viewer_are_the_viewer(sign_in: SignIn, tokens: Tokens) -> None:
    tokens.make("bob")
    text = sign_in("alice").get("/people").text
    assert "alice" in text
    assert "bob" not in text


def test_health_shows_findings_and_gaps(reports: MemoryReports, tokens: Tokens) -> None:
    finding = Finding(about="database", level="bad", what="12 statements wait", to_do="free space")
    browser = signed_in(make_site(reports, tokens, secret=SECRET, inspect=lambda: [finding]))
    reports.details.append(recorded("r-1", model="llama", figures=UNPRICED))
    text = browser.get("/health").text
    assert "broken" in text
    assert "free space" in text
    assert "/requests?period=7d&model=llama" in links(text)


def test_rate_limits_of_own_requests_are_shown(sign_in: SignIn, reports: MemoryReports) -> None:
    reports.limits = [
        RateLimitRow(
            provider=f"anthropic-{actor}",
            credential_kind="subscription",
            credential_hint="sk-a...cdef",
            actor=actor,
            header="anthropic-ratelimit-unified-5h-utilization",
            value="0.42",
            seen_at=now(),
        )
        for actor in ("alice", "bob")
    ]
    text = sign_in("alice").get("/health").text
    assert "anthropic-alice" in text
    assert "42%" in text
    assert "anthropic-bob" not in text


def test_missing_record_is_a_page_that_says_so(tokens: Tokens) -> None:
    class NoRecord(MemoryReports):
        def totals(self, query: TotalsQuery) -> Totals:
            raise StoreError("nothing was recorded yet")

    response = signed_in(make_site(NoRecord(), tokens, secret=SECRET)).get("/")
    assert response.status_code == 503
    assert "nothing was recorded yet" in response.text


def test_text_that_cannot_be_searched_for_is_explained(tokens: Tokens) -> None:
    class Picky(MemoryReports):
        def search(self, *_: object) -> Page[SearchHit]:
            raise SearchTextError("the quote at character 1 is not closed")

    response = signed_in(make_site(Picky(), tokens, secret=SECRET)).get('/requests?q="x')
    assert response.status_code == 400
    assert "quote at character 1 is not closed" in response.text


def test_page_without_a_database_says_what_to_do_next(tokens: Tokens) -> None:
    class NoFile(MemoryReports):
        def totals(self, query: TotalsQuery) -> Totals:
            raise NothingRecordedError("there is no file")

    browser = signed_in(make_site(NoFile(), tokens, secret=SECRET))
    for path in ("/", "/health"):
        assert "aibridge run -- claude" in browser.get(path).text


def signed_in(site: Site) -> TestClient:
    browser = make_browser(site)
    browser.get(f"/link?key={make_key(SECRET)}")
    return browser


def group(day: str, model: str, **figures: Any) -> GroupRow:
    return GroupRow(names=(day, model), figures=Figures(requests=1, **figures))


def test_chart_stacks_models_and_keeps_days_without_requests() -> None:
    rows = [
        group("2026-11-25", "a", cost_nano_usd=3_000_000_000),
        group("2026-11-25", "b", cost_nano_usd=1_000_000_000),
        group("2026-11-28", "b", cost_nano_usd=2_000_000_000),
    ]
    chart = make_chart(rows, MEASURES["money"])
    assert chart
    assert [bar.name for bar in chart.bars] == [f"2026-11-{day}" for day in (25, 26, 27, 28)]
    assert [bar.label for bar in chart.bars] == ["$4.00", "$0.00", "$0.00", "$2.00"]
    heights = [sum(part.height for part in bar.segments) for bar in chart.bars]
    assert heights == [150, 0, 0, 75]
    assert chart.lines == ("$4.00", "$2.00")


def test_bars_lead_to_the_requests_of_their_day_or_hour() -> None:
    for name, hours in (("2026-11-25", 24), ("2026-11-25 23:00", 1)):
        chart = make_chart([group(name, "a", cost_nano_usd=1)], MEASURES["money"])
        assert chart
        moment = datetime.now(UTC)
        filters = read_filters(QueryParams(chart.bars[0].period), moment)
        query = filters.query(OPERATOR, moment)
        since, until = map(datetime.fromisoformat, (query.since, query.until))
        assert until - since == timedelta(hours=hours)
        assert f"{since.astimezone():%Y-%m-%d %H:%M}".startswith(name)


def test_bar_of_a_single_day_is_narrow_and_in_the_middle() -> None:
    chart = make_chart([group("2026-11-25", "a", cost_nano_usd=1)], MEASURES["money"])
    assert chart
    [bar] = chart.bars
    assert bar.width < WIDTH / 8
    assert bar.x + bar.width / 2 == WIDTH / 2


def test_chart_keeps_hours_without_requests() -> None:
    names = ["2026-11-25 08:00", "2026-11-25 11:00"]
    rows = [group(name, "a", cost_nano_usd=1) for name in names]
    chart = make_chart(rows, MEASURES["money"])
    assert chart
    assert [bar.name[11:] for bar in chart.bars] == ["08:00", "09:00", "10:00", "11:00"]
    assert [bar.tick for bar in chart.bars] == ["08:00", "09:00", "10:00", "11:00"]


def test_chart_marks_days_with_unpriced_requests() -> None:
    rows = [group("2026-11-25", "a", cost_nano_usd=3), group("2026-11-25", "b", unpriced=2)]
    chart = make_chart(rows, MEASURES["money"])
    assert chart
    assert chart.bars[0].unpriced == 2


def test_chart_joins_small_models() -> None:
    rows = [group("2026-11-25", f"m{n}", cost_nano_usd=n + 1) for n in range(20)]
    chart = make_chart(rows, MEASURES["money"])
    assert chart
    assert chart.series == ("m19", "m18", "m17", "m16", "m15", "others")
    assert round(sum(part.height for part in chart.bars[0].segments), 6) == 150


def test_chart_of_nothing_known_is_not_drawn() -> None:
    assert make_chart([group("2026-11-25", "a", unpriced=1)], MEASURES["money"]) is None
    assert make_chart([], MEASURES["tokens"]) is None


def test_people_show_the_state_of_access_tokens(operator: TestClient, tokens: Tokens) -> None:
    tokens.make("carol", expires_at="2026-01-01T00:00:00.000000+00:00")
    assert "expired" in operator.get("/people").text
    tokens.revoke_all()
    assert "revoked" in operator.get("/people").text


def budget_site(reports: MemoryReports, tokens: Tokens) -> tuple[Site, list[str | None]]:
    """Return a site with budgets, and the list of those for whom they are read."""
    window = WindowRule(name="day", zone=ZoneInfo("Europe/Berlin"))
    budget = Budget(name="<day>", per="actor", unit="usd", limit=20 * 10**9, window=window)
    moment = datetime(2026, 11, 28, 12, tzinfo=UTC)
    over = replace(unused_account(budget, "alice", moment), spent=20_030_000_000, held=10**9)
    bob = replace(unused_account(budget, "bob", moment), spent=5 * 10**9, set_aside=10**10)
    accounts = [bob, over]
    asked: list[str | None] = []

    def read(actor: str | None) -> list[Account]:
        asked.append(actor)
        return [account for account in accounts if actor in (None, account.scope)]

    return make_site(reports, tokens, secret=SECRET, read_budgets=read), asked


def test_overview_shows_all_budgets_to_the_operator_the_most_used_first(
    reports: MemoryReports, tokens: Tokens
) -> None:
    site, asked = budget_site(reports, tokens)
    browser = make_browser(site)
    browser.get(f"/link?key={make_key(SECRET)}")
    text = browser.get("/").text
    assert "&lt;day&gt;" in text
    assert text.index("/requests?period=7d&amp;actor=alice") < text.index("actor=bob")
    for words in ("$20.03", "over by $0.03", "$20.00", "29 Nov 00:00", "Europe/Berlin"):
        assert words in text, words
    assert "$10.00 set aside" in text
    assert '<rect class="part1" x="0" width="25.0" height="6"/>' in text
    assert '<rect class="part3" x="25.0" width="50.0" height="6"/>' in text
    assert asked == [None]


def test_overview_shows_only_own_budgets_to_the_owner_of_an_access_token(
    reports: MemoryReports, tokens: Tokens
) -> None:
    reports.details.clear()
    site, asked = budget_site(reports, tokens)
    browser = make_browser(site)
    browser.post("/login", data={"token": tokens.make("bob")})
    text = browser.get("/").text
    assert "&lt;day&gt;" in text
    assert "alice" not in text
    assert set(asked) == {"bob"}


def test_owner_of_an_access_token_sees_the_records_of_the_known_actor(
    reports: MemoryReports, tokens: Tokens
) -> None:
    known = {"a.smith": "alice"}
    asked: list[str | None] = []

    def read(name: str | None) -> list[Account]:
        asked.append(name)
        return []

    site = make_site(
        reports,
        tokens,
        secret=SECRET,
        read_budgets=read,
        actor_of=lambda name: known.get(name, name),
    )
    browser = make_browser(site)
    browser.post("/login", data={"token": tokens.make("a.smith")})
    assert "prompt of alice" in browser.get("/requests").text
    assert browser.get("/requests/r-alice").status_code == 200
    assert browser.get("/requests/r-bob").status_code == 404
    people = browser.get("/people").text
    assert "1 access token" in people
    assert "Access tokens without a request" not in people
    browser.get("/")
    assert set(asked) == {"a.smith"}, "the budgets find the actor with its teams by themselves"


def test_overview_shows_ai_traffic_outside_of_what_is_recorded(
    operator: TestClient, reports: MemoryReports
) -> None:
    assert "outside of what is recorded" not in operator.get("/").text
    reports.unread.append(
        TunnelRow(
            host="<api2>.cursor.sh",
            service="Cursor",
            actor=None,
            actors=3,
            tunnels=12,
            bytes_sent=1200,
            bytes_received=34_000_000,
            duration_ms=61_000,
            latest="2026-11-28T12:00:00.000000+00:00",
        )
    )

    text = operator.get("/").text
    assert "AI traffic outside of what is recorded" in text
    for words in ("&lt;api2&gt;.cursor.sh", "Cursor", "34.0 MB", "1.20 kB", "1m01s"):
        assert words in text, words
