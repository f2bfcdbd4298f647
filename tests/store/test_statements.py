"""Facts as statements: omitted statements, and statements that are executed again."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from sqlite_utils import Database
from store.doubles import all_of_one, ended, limits, prompt, started, tokens, tokens_so_far

from aibridge_addon.facts import Fact
from aibridge_addon.store.sql.writes import SQL
from aibridge_addon.store.sqlite.schema import TABLES, migrate
from aibridge_addon.store.statements import Statement, statements


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(memory=True)
    migrate(database)
    yield database
    database.close()


def execute(db: Database, work: Iterable[Statement]) -> None:
    for kind, values in work:
        db.conn.execute(SQL[kind], values)


def kinds(*facts: Fact) -> list[str]:
    return [statement.kind for statement in statements(facts)]


def test_facts_become_statements_in_their_order() -> None:
    one, two = started(), started()

    assert kinds(one, prompt(one), two, tokens(one)) == [
        *("interception", "user_prompt", "interception", "token_usage")
    ]


def test_start_of_an_interception_is_omitted_if_its_end_is_among_the_facts() -> None:
    one, two = started(), started()

    assert kinds(one, two, prompt(one), ended(one)) == [
        *("interception", "user_prompt", "interception_ended")
    ]


def test_prompt_gets_the_response_id_also_if_it_was_written_before() -> None:
    one = started()

    (user_prompt,) = (s for s in statements([prompt(one), ended(one)]) if s.kind == "user_prompt")
    assert user_prompt.values["provider_response_id"] == "msg_1"
    assert kinds(ended(one)) == ["interception_ended", "prompt_answered"]
    assert kinds(ended(one, prompted=False)) == ["interception_ended"]


def test_end_without_a_response_id_updates_no_prompt() -> None:
    one = started()

    assert kinds(ended(one, provider_response_id=None)) == ["interception_ended"]


@pytest.mark.parametrize("times", [2, 3])
def test_statements_executed_again_change_nothing(db: Database, times: int) -> None:
    facts = all_of_one(started())
    work = [s for fact in facts for s in statements([fact])]

    execute(db, work)
    once = {name: rows for name in TABLES if (rows := list(db.table(name).rows))}
    for _ in range(times):
        execute(db, work)

    assert {name: list(db.table(name).rows) for name in once} == once
    assert {name: len(rows) for name, rows in once.items()} == {
        "aibridge_interceptions": 1,
        "aibridge_token_usages": 1,
        "aibridge_user_prompts": 1,
        "aibridge_tool_usages": 1,
        "aibridge_model_thoughts": 1,
        "aibridge_stale_hours": 1,
        "aibridge_search_texts": 3,
        "aibridge_endings": 1,
    }


def test_start_executed_after_its_end_changes_nothing(db: Database) -> None:
    one = started()

    execute(db, statements([ended(one)]))
    execute(db, statements([one]))

    (row,) = db.table("aibridge_interceptions").rows
    assert row["status"] == "completed"
    assert row["ended_at"]


def test_response_id_is_set_on_the_prompt_of_its_own_interception_only(db: Database) -> None:
    one, two = started(), started()

    execute(db, statements([one, prompt(one, "1"), two, prompt(two, "2")]))
    execute(db, statements([ended(one, provider_response_id="msg_1")]))

    response_ids = {
        row["prompt"]: row["provider_response_id"] for row in db["aibridge_user_prompts"].rows
    }
    assert response_ids == {"1": "msg_1", "2": None}


def output_tokens(db: Database) -> list[int]:
    return [row["output_tokens"] for row in db.table("aibridge_token_usages").rows]


def test_final_usage_replaces_the_early_usage_in_any_order(db: Database) -> None:
    final = tokens(started())
    early = tokens_so_far(final)

    execute(db, statements([final.interception, early]))
    assert output_tokens(db) == [0]
    for facts in ([final], [early], [final], [early, final]):
        execute(db, statements(facts))
        assert output_tokens(db) == [20]


def test_early_usage_is_omitted_if_the_final_usage_is_among_the_facts() -> None:
    final = tokens(started())

    assert kinds(tokens_so_far(final), final) == ["token_usage"]
    assert kinds(tokens_so_far(final), tokens(started())) == ["token_usage_so_far", "token_usage"]


def stored_limits(db: Database) -> dict[str, str]:
    return {row["header"]: row["value"] for row in db.table("aibridge_rate_limits").rows}


def test_rate_limits_of_a_credential_are_stored_as_seen_last(db: Database) -> None:
    one = started()

    execute(db, statements([limits(one, retry_after="3", x_ratelimit_limit="9")]))
    execute(db, statements([limits(one, x_ratelimit_limit="8")]))

    assert stored_limits(db) == {"retry-after": "3", "x-ratelimit-limit": "8"}


def test_older_rate_limits_do_not_replace_newer_ones(db: Database) -> None:
    one = started()
    older, newer = limits(one, retry_after="3"), limits(one, retry_after="4")

    execute(db, statements([newer]))
    execute(db, statements([older]))

    assert stored_limits(db) == {"retry-after": "4"}


@pytest.mark.parametrize(
    "other",
    [
        {"provider_name": "other"},
        {"credential_hint": "sk-b...cdef"},
        {"credential_kind": "centralized"},
        {"credential_kind": None, "credential_hint": None},
        {"initiator_id": "bob"},
    ],
    ids=str,
)
def test_rate_limits_are_stored_for_each_credential_and_actor(
    db: Database, other: dict[str, str]
) -> None:
    for _ in range(2):
        execute(db, statements([limits(started(), retry_after="3")]))
        execute(db, statements([limits(started(**other), retry_after="4")]))

    rows = [row["value"] for row in db.table("aibridge_rate_limits").rows]
    assert sorted(rows) == ["3", "4"]


def test_rate_limits_that_a_later_response_states_too_are_omitted() -> None:
    one, other = started(), started(initiator_id="bob")
    superseded, unique, newest = (
        limits(one, retry_after="1"),
        limits(one, retry_after_ms="2000"),
        limits(one, retry_after="3"),
    )

    work = statements([superseded, unique, limits(other, retry_after="5"), newest])

    assert [statement.values["headers"] for statement in work] == [
        '{"retry-after-ms":"2000"}',
        '{"retry-after":"5"}',
        '{"retry-after":"3"}',
    ]


def test_unknown_count_of_a_usage_is_null_and_the_others_stay() -> None:
    [statement] = statements([tokens(started(), output_tokens=None)])
    counts = {name: value for name, value in statement.values.items() if name.endswith("_tokens")}
    assert counts == {
        "input_tokens": 10,
        "output_tokens": None,
        "cache_read_input_tokens": 30,
        "cache_write_input_tokens": 40,
    }


def test_usage_in_another_unit_has_no_tokens_at_all() -> None:
    [statement] = statements([replace(tokens(started()), input_tokens=None, output_tokens=None)])
    counts = {name: value for name, value in statement.values.items() if name.endswith("_tokens")}
    assert set(counts.values()) == {None}
