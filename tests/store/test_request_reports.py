"""Reports on single requests: pages, live ends, details and sessions."""

from collections.abc import Iterable
from typing import Any

import pytest
from databases import Database, SQLiteFile
from store.doubles import all_of_one, ended, prompt, started, tokens, tool

from aibridge_addon.facts import Interception, Status
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.sql.reports.requests import chosen_requests, where

BOB = {"initiator_id": "bob", "client_session_id": "s-2", "model": "gpt"}


def at(second: int, **changes: Any) -> Interception:
    return started(started_at=f"2026-11-28T10:00:{second:02}.000000+00:00", **changes)


def ids(rows: Iterable[Any]) -> list[str]:
    return [row.id for row in rows]


def test_pages_show_every_request_once_from_the_newest(database: Database) -> None:
    reports = database.reports
    same_time = [at(30) for _ in range(3)]
    facts = [at(second) for second in range(4)] + same_time
    database.write(*facts)

    cursor, seen = "", []
    while True:
        page = reports.requests(RequestQuery(limit=2, cursor=cursor))
        seen += ids(page.rows)
        if not (cursor := page.next_cursor):
            break
        database.write(at(59))  # a newer request moves no page

    assert seen == ids(sorted(facts, key=lambda fact: (fact.started_at, fact.id), reverse=True))


def test_row_has_the_figures_and_first_words_of_its_request(database: Database) -> None:
    one = at(1, access_token_id="tok")
    end = ended(one, ended_at="2026-11-28T10:00:03.500000+00:00", seconds_to_first_byte=0.25)
    database.write(
        one, prompt(one, "Hello " * 200), tokens(one), tool(one), tool(one, tool="Bash"), end
    )

    (row,) = database.reports.requests(RequestQuery()).rows

    assert (row.actor, row.team, row.token, row.session) == ("alice", "search", "tok", "s-1")
    assert (row.duration_ms, row.ttft_ms, row.upstream_requests) == (2500, 250, 1)
    assert (row.model, row.served_model) == ("claude-opus-4-5", "claude-opus-4-5-20251101")
    assert row.tools == ("Read", "Bash")
    assert row.prompt
    assert len(row.prompt) == 300
    figures = row.figures
    assert (figures.input, figures.cache_read, figures.cache_write, figures.output) == (
        *(10, 30, 40, 20),
    )
    assert (figures.cost_nano_usd, figures.unpriced, figures.unpriced_models) == (
        *(None, 1, ("claude-opus-4-5",)),
    )


def test_requests_are_filtered(database: Database) -> None:
    one, two, three = at(1), at(2, **BOB), at(3, client="Codex")
    database.write(one, two, three, tool(three, tool="Bash"), ended(one, status=Status.FAILED))
    reports = database.reports

    def found(**filters: Any) -> list[str]:
        return ids(reports.requests(RequestQuery(**filters)).rows)

    assert found(actors=("bob",)) == [two.id]
    assert found(models=("claude-*",), clients=("Codex",)) == [three.id]
    assert found(tools=("Bash",)) == [three.id]
    assert found(statuses=("failed",)) == [one.id]
    assert found(sessions=("s-2",)) == [two.id]
    assert found(since=two.started_at, until=three.started_at) == [two.id]
    assert found(for_actor="bob", actors=("alice",)) == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "refused", "interrupted", "open"])
def test_requests_of_a_rare_status_are_found_by_an_index(database: Database, status: str) -> None:
    rare = at(1)
    database.write(rare, *all_of_one(at(2)))
    if status != "open":
        database.write(ended(rare, status=Status(status)))
    chosen = chosen_requests(RequestQuery(statuses=(status,)))
    query = f"SELECT i.id FROM aibridge_interceptions i WHERE {where(chosen)}"
    assert database.select(query, chosen.values) == [(rare.id,)]
    if isinstance(database, SQLiteFile):
        plan = database.select(f"EXPLAIN QUERY PLAN {query}", chosen.values)
        assert "USING INDEX" in plan[0][3]


@pytest.mark.parametrize("cursor", ["x", "-1", "1" * 30, "é"])
def test_unknown_cursor_is_refused(database: Database, cursor: str) -> None:
    reports = database.reports
    with pytest.raises(StoreError, match="is not a cursor"):
        reports.requests(RequestQuery(cursor=cursor))
    with pytest.raises(StoreError, match="is not a cursor"):
        reports.ended_since(cursor, RequestQuery())


def test_live_view_misses_and_repeats_no_end_whatever_its_time(database: Database) -> None:
    reports = database.reports
    one, two, three = at(1), at(2), at(3, **BOB)
    database.write(one, two, three, ended(three))
    live = reports.ended_since(None, RequestQuery())
    assert live.rows == ()

    database.write(ended(two, ended_at="2026-11-28T11:00:00.000000+00:00"))
    first = reports.ended_since(live.cursor, RequestQuery())
    database.write(ended(one, ended_at="2026-11-28T10:00:00.000000+00:00"))  # committed late
    second = reports.ended_since(first.cursor, RequestQuery())

    assert (ids(first.rows), ids(second.rows)) == ([two.id], [one.id])
    assert reports.ended_since(second.cursor, RequestQuery()).rows == ()
    both = reports.ended_since(live.cursor, RequestQuery())
    assert ids(both.rows) == [two.id, one.id]


def test_live_view_of_a_filter_moves_on_past_other_requests(database: Database) -> None:
    reports = database.reports
    one, two = at(1), at(2, **BOB)
    database.write(one, two, ended(one), ended(two))
    live = reports.ended_since("0", RequestQuery(for_actor="bob"))
    assert ids(live.rows) == [two.id]
    assert reports.ended_since("0", RequestQuery(for_actor="eve")).cursor == live.cursor == "2"


def test_request_is_found_by_id_unique_beginning_and_unique_end(database: Database) -> None:
    reports = database.reports
    one, two = at(1, id="0190-aa-11"), at(2, id="0190-bb-22", **BOB)
    database.write(one, two)

    for text in (one.id, "0190-a", "11"):
        found = reports.interception(text)
        assert found
        assert found.row.id == one.id
    assert reports.interception("0190-") is None
    assert reports.interception("") is None
    assert reports.interception("%") is None
    assert reports.interception(one.id, for_actor="bob") is None
    assert reports.interception("0190-", for_actor="bob") is not None


def test_detail_has_all_rows_of_a_request(database: Database) -> None:
    one = at(1)
    database.write(
        *all_of_one(one), tool(one, injected=True, server_url="http://x", tool_call_id="t2")
    )

    detail = database.reports.interception(one.id)

    assert detail
    assert [(text.kind, text.text) for text in detail.texts] == [
        ("prompt", "Hello"),
        ("thinking", "Hm."),
    ]
    assert [(t.tool, t.injected, t.input) for t in detail.tools] == [
        ("Read", False, '{"path":"/x"}'),
        ("Read", True, '{"path":"/x"}'),
    ]
    (call,) = detail.calls
    assert (call.upstream, call.call, call.input, call.extra["web_search_requests"]) == (
        *(1, None, 10, 2),
    )
    assert (detail.metadata["team"], detail.user_agent) == ("search", "claude-cli/2")


def test_neighbours_are_of_the_same_conversation(database: Database) -> None:
    first, title, agent, second, other, compaction = (
        at(1),
        at(2, request_kind="title"),
        at(3, agent_id="a"),
        at(4),
        at(5, **BOB),
        at(6, request_kind="compaction"),
    )
    database.write(first, title, agent, second, other, compaction)
    reports = database.reports

    def neighbours(fact: Interception) -> tuple[str | None, str | None]:
        found = reports.interception(fact.id)
        assert found
        return found.previous_id, found.next_id

    assert neighbours(first) == (None, second.id)
    assert neighbours(second) == (first.id, None)
    assert neighbours(title) == neighbours(agent) == neighbours(other) == (None, None)
    assert neighbours(compaction) == (second.id, None)


def test_neighbours_without_a_session_are_joined_by_the_tool_call(database: Database) -> None:
    lonely = {"client_session_id": None, "prompt_id": None}
    asked, between = at(1, **lonely), at(2, **lonely)
    other = at(3, correlating_tool_call_id="toolu_1", **(lonely | {"initiator_id": "bob"}))
    answered = at(4, correlating_tool_call_id="toolu_1", **lonely)
    database.write(asked, tool(asked), between, other, answered)
    reports = database.reports

    def neighbours(fact: Interception) -> tuple[str | None, str | None]:
        found = reports.interception(fact.id)
        assert found
        return found.previous_id, found.next_id

    assert neighbours(asked) == (None, answered.id)
    assert neighbours(answered) == (asked.id, None)
    assert neighbours(between) == neighbours(other) == (None, None)


def test_detail_names_the_attempts_and_sub_agents_of_its_prompt(database: Database) -> None:
    attempt, one, agent = at(1), at(2), at(3, agent_id="a", request_kind="subagent")
    others = (at(4, prompt_id="p-2"), at(5, prompt_id=None), at(6, **BOB))
    database.write(attempt, one, agent, *others, ended(attempt, status=Status.FAILED))
    reports = database.reports

    found = reports.interception(one.id)

    assert found
    assert [(row.id, row.status) for row in found.same_prompt] == [
        (attempt.id, "failed"),
        (agent.id, None),
    ]
    lonely = reports.interception(others[1].id)
    assert lonely
    assert lonely.same_prompt == ()


def test_session_lists_its_requests_with_their_sums(database: Database) -> None:
    one, two, other = at(1), at(2, agent_id="a"), at(3, client_session_id="s-10")
    database.write(*all_of_one(one), two, tokens(two), ended(two, status=Status.FAILED), other)
    reports = database.reports

    found = reports.session("s-1")

    assert found
    assert ids(found.requests) == [one.id, two.id]
    assert (found.session.prompt, found.session.actor, found.more) == ("Hello", "alice", 0)
    figures = found.session.figures
    assert (figures.requests, figures.completed, figures.failed, figures.input) == (2, 1, 1, 20)
    assert reports.session("s-") is None
    assert reports.session("s-1", for_actor="bob") is None
    by_prefix = reports.session("s-10")
    assert by_prefix
    assert ids(by_prefix.requests) == [other.id]


def test_export_resumes_after_a_cursor_in_the_order_of_commits(database: Database) -> None:
    one, two, three, still_open = at(1), at(2), at(3, **BOB), at(4)
    database.write(one, two, three, still_open, ended(two))
    database.write(*all_of_one(one), ended(three))
    reports = database.reports

    rows = list(reports.export(RequestQuery(limit=None)))
    rest = list(reports.export(RequestQuery(limit=None, cursor=rows[0].cursor)))
    bobs = list(reports.export(RequestQuery(limit=None, for_actor="bob")))

    assert [row.detail.row.id for row in rows] == [two.id, one.id, three.id]
    assert rest == rows[1:]
    assert [row.detail.row.id for row in bobs] == [three.id]
    assert len(list(reports.export(RequestQuery(limit=2)))) == 2
