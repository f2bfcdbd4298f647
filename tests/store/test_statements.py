"""Facts as statements: what is left out, and that each can be run again without harm."""

import pytest
from sqlite_utils import Database
from store.doubles import all_of_one, ended, prompt, started, tokens, tokens_so_far

from aibridge_addon.store.sqlite.schema import TABLES, migrate
from aibridge_addon.store.sqlite.sql import SQL
from aibridge_addon.store.statements import statements


@pytest.fixture
def db():
    database = Database(memory=True)
    migrate(database)
    yield database
    database.close()


def run(db, work):
    for kind, values in work:
        db.conn.execute(SQL[kind], values)


def kinds(*facts):
    return [statement.kind for statement in statements(facts)]


def test_every_fact_has_its_statement_in_order():
    one, two = started(), started()

    assert kinds(one, prompt(one), two, tokens(one)) == [
        *("interception", "user_prompt", "interception", "token_usage")
    ]


def test_a_start_whose_end_is_known_is_left_out():
    one, two = started(), started()

    assert kinds(one, two, prompt(one), ended(one)) == [
        *("interception", "user_prompt", "interception_ended")
    ]


def test_a_prompt_has_its_answer_s_id_whether_or_not_it_was_written_before():
    one = started()

    (asked,) = (s for s in statements([prompt(one), ended(one)]) if s.kind == "user_prompt")
    assert asked.values["provider_response_id"] == "msg_1"
    assert kinds(ended(one)) == ["interception_ended", "prompt_answered"]
    assert kinds(ended(one, prompted=False)) == ["interception_ended"]


def test_an_end_without_an_answer_answers_no_prompt():
    one = started()

    assert kinds(ended(one, provider_response_id=None)) == ["interception_ended"]


@pytest.mark.parametrize("times", [2, 3])
def test_statements_can_be_run_again(db, times):
    facts = all_of_one(started())
    work = [s for fact in facts for s in statements([fact])]

    run(db, work)
    once = {name: rows for name in TABLES if (rows := list(db.table(name).rows))}
    for _ in range(times):
        run(db, work)

    assert {name: list(db.table(name).rows) for name in once} == once
    assert [len(found) for found in once.values()] == [1] * 5


def test_a_start_that_comes_after_its_end_changes_nothing(db):
    one = started()

    run(db, statements([ended(one)]))
    run(db, statements([one]))

    (row,) = db.table("aibridge_interceptions").rows
    assert row["status"] == "completed"
    assert row["ended_at"]


def test_an_answer_names_the_prompt_of_its_interception_only(db):
    one, two = started(), started()

    run(db, statements([one, prompt(one, "1"), two, prompt(two, "2")]))
    run(db, statements([ended(one, provider_response_id="msg_1")]))

    answered = {
        row["prompt"]: row["provider_response_id"] for row in db["aibridge_user_prompts"].rows
    }
    assert answered == {"1": "msg_1", "2": None}


def output_tokens(db):
    return [row["output_tokens"] for row in db.table("aibridge_token_usages").rows]


def test_final_usage_overwrites_the_row_of_the_early_one_however_often_they_are_run(db):
    final = tokens(started())
    early = tokens_so_far(final)

    run(db, statements([final.interception, early]))
    assert output_tokens(db) == [0]
    for facts in ([final], [early], [final], [early, final]):
        run(db, statements(facts))
        assert output_tokens(db) == [20]


def test_early_usage_is_left_out_where_the_final_one_is_known():
    final = tokens(started())

    assert kinds(tokens_so_far(final), final) == ["token_usage"]
    assert kinds(tokens_so_far(final), tokens(started())) == ["token_usage_so_far", "token_usage"]
