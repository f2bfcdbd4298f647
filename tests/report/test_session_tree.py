"""Requests of a session, nested by sub-agents."""

from report.rows import request_row

from aibridge_addon.report.rows import RequestRow
from aibridge_addon.report.session_tree import nest


def row(at: int, prompt: str | None = None, agent: str | None = None) -> RequestRow:
    return request_row(
        id=f"r-{at}", started_at=f"2026-11-28T10:00:{at:02}", prompt_id=prompt, agent_id=agent
    )


def shape(rows: list[RequestRow]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    return [
        (node.request.id, [(run.agent_id, [r.id for r in run.requests]) for run in node.agents])
        for node in nest(rows)
    ]


def test_sub_agents_are_nested_under_the_request_with_their_prompt_id() -> None:
    rows = [
        *(row(1, "p1"), row(2, "p2"), row(3, "p1", "a"), row(4, "p2", "b")),
        *(row(5, "p1", "a"), row(6, "p1", "c"), row(7, "p2")),
    ]
    assert shape(rows[::-1]) == [
        ("r-1", [("a", ["r-3", "r-5"]), ("c", ["r-6"])]),
        ("r-2", [("b", ["r-4"])]),
        ("r-7", []),
    ]


def test_sub_agent_without_a_known_prompt_id_belongs_to_the_request_before_it() -> None:
    assert shape([row(1, "p1"), row(2), row(3, None, "a"), row(4, "p9", "b")]) == [
        ("r-1", []),
        ("r-2", [("a", ["r-3"]), ("b", ["r-4"])]),
    ]


def test_session_that_begins_with_a_sub_agent_is_not_empty() -> None:
    assert shape([row(1, None, "a"), row(2, None, "a")]) == [("r-1", [("a", ["r-2"])])]
