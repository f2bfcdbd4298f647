"""Statements of content: parts stored once, what each word of `aibridge_capture` stores."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from sqlite_utils import Database
from store.doubles import ended, request_content, response_content, started, tool

from aibridge_addon.config.capture import CAPTURABLE
from aibridge_addon.facts import Fact, Interception
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.content import Message
from aibridge_addon.redaction import OwnRule, Redaction
from aibridge_addon.store import content
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.spool import Spool
from aibridge_addon.store.sqlite.schema import migrate
from aibridge_addon.store.sqlite.writer import execute
from aibridge_addon.store.statements import Statement

ALL = frozenset(CAPTURABLE)
SYSTEM, QUESTION, RESULT = "Be brief.", "What is the weather?", "It is sunny."
ANSWER, THOUGHT, ARGUMENT, SCHEMA = "So sunny.", "Let me see.", "Oslo", "where it is"
TEXTS = (SYSTEM, QUESTION, RESULT, ANSWER, THOUGHT, ARGUMENT, SCHEMA)


def messages_request(*more: Any) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": ARGUMENT}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": RESULT}
    return {
        "model": "claude",
        "max_tokens": 100,
        "system": [{"type": "text", "text": SYSTEM}],
        "tools": [{"name": "weather", "description": SCHEMA, "input_schema": {}}],
        "messages": [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result, {"type": "text", "text": QUESTION}]},
            *more,
        ],
    }


def chat_request() -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": ARGUMENT})}
    call = {"id": "c1", "type": "function", "function": function}
    return {
        "model": "gpt",
        "tools": [{"type": "function", "function": {"name": "w", "description": SCHEMA}}],
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": RESULT},
        ],
    }


def responses_request() -> dict[str, Any]:
    arguments = json.dumps({"city": ARGUMENT})
    return {
        "model": "gpt",
        "instructions": SYSTEM,
        "tools": [{"type": "function", "name": "weather", "description": SCHEMA}],
        "input": [
            {"role": "user", "content": QUESTION},
            {"type": "function_call", "call_id": "c1", "name": "w", "arguments": arguments},
            {"type": "function_call_output", "call_id": "c1", "output": RESULT},
        ],
    }


def messages_response() -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": THOUGHT, "signature": "s"},
            {"type": "text", "text": ANSWER},
            {"type": "tool_use", "id": "c2", "name": "weather", "input": {"city": ARGUMENT}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }


def chat_response() -> dict[str, Any]:
    function = {"name": "weather", "arguments": json.dumps({"city": ARGUMENT})}
    message = {
        "role": "assistant",
        "content": ANSWER,
        "reasoning_content": THOUGHT,
        "tool_calls": [{"id": "c2", "type": "function", "function": function}],
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": {"a": 1}}
    return {"id": "chatcmpl_1", "object": "chat.completion", "model": "g", "choices": [choice]}


def responses_response() -> dict[str, Any]:
    arguments = json.dumps({"city": ARGUMENT})
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt",
        "instructions": SYSTEM,
        "tools": [{"type": "function", "name": "weather", "description": SCHEMA}],
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": ANSWER}],
            },
            {"type": "function_call", "call_id": "c2", "name": "w", "arguments": arguments},
        ],
    }  # fmt: skip


BODIES = {
    "anthropic_messages": (messages_request(), messages_response()),
    "openai_chat": (chat_request(), chat_response()),
    "openai_responses": (responses_request(), responses_response()),
}


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(memory=True)
    migrate(database)
    yield database
    database.close()


def store(db: Database, *facts: Fact, preparation: Preparation | None = None) -> list[Statement]:
    made = (preparation or Preparation()).statements(facts)
    for statement in made:
        execute(db.conn, statement)
    return made


def stored(db: Database) -> list[tuple[str, str, bytes]]:
    """Return role, kind and content of all messages, in their order."""
    rows = db.execute(
        "SELECT role, kind, content, compressed FROM aibridge_messages"
        " JOIN aibridge_parts ON digest = part ORDER BY interception_id, upstream, position"
    )
    return [
        (role, kind, zstandard.decompress(content) if compressed else content)
        for role, kind, content, compressed in rows
    ]


def parts_in(made: list[Statement]) -> int:
    return sum(statement.kind == "part" for statement in made)


def exchange(api: str, capture: frozenset[str]) -> list[Fact]:
    interception = started(api=api)
    request, response = BODIES[api]
    return [
        request_content(interception, request, capture=capture),
        response_content(interception, response, capture=capture),
    ]


@pytest.mark.parametrize("api", BODIES)
def test_complete_request_and_response_are_stored_in_parts(db: Database, api: str) -> None:
    request, response = BODIES[api]
    view = FORMATS[api].view
    assert view

    store(db, *exchange(api, ALL))

    *parts, last = stored(db)
    split = view.split_request(json.dumps(request).encode())
    assert parts == [(part.role, part.kind, part.content) for part in split]
    assert last == ("assistant", "response", json.dumps(response).encode())


STORED = {
    "": (),
    "prompts,tools,thoughts": (),
    "answers": (ANSWER,),
    "answers,tools": (ANSWER, ARGUMENT),
    "answers,thoughts": (ANSWER, THOUGHT),
    "results": (RESULT,),
    "system": (SYSTEM,),
    "system,results": (SYSTEM, RESULT),
    "requests": (SYSTEM, QUESTION, RESULT, ARGUMENT, SCHEMA),
}


@pytest.mark.parametrize("words", STORED)
@pytest.mark.parametrize("api", BODIES)
def test_only_the_listed_contents_are_stored(db: Database, api: str, words: str) -> None:
    capture = frozenset(words.split(",")) if words else frozenset[str]()

    store(db, *exchange(api, capture))

    contents = b"\n".join(content for _, _, content in stored(db)).decode()
    assert {text for text in TEXTS if text in contents} == set(STORED[words])


def test_pruned_response_is_still_read_as_a_response(db: Database) -> None:
    for api in BODIES:
        store(db, *exchange(api, frozenset({"answers"})))

    for (_, _, document), api in zip(stored(db), BODIES, strict=True):
        view = FORMATS[api].view
        assert view
        read = view.read_part("response", document)
        assert isinstance(read, Message)
        assert [part.text for part in read.parts] == [ANSWER]


def test_repeated_history_costs_references_only(db: Database) -> None:
    preparation = Preparation()
    first, second = started(), started()
    store(db, request_content(first, messages_request(), capture=ALL), preparation=preparation)
    new = {"role": "user", "content": "And tomorrow?"}
    repeated = request_content(second, messages_request(new), capture=ALL)

    made = store(db, repeated, preparation=preparation)

    assert [statement.kind for statement in made] == ["part", "messages"]
    assert made[0].values["content"] == json.dumps(new).encode()
    assert len(stored(db)) == 2 * 6 + 1


def test_parts_that_another_process_stored_are_stored_once(db: Database) -> None:
    for _ in range(2):
        store(db, request_content(started(), messages_request(), capture=ALL))

    assert db.table("aibridge_parts").count == 6
    assert db.table("aibridge_messages").count == 12


def test_part_is_renewed_on_another_day_and_stored_again_after_forget(db: Database) -> None:
    preparation = Preparation()
    times = ["2026-11-28T09", "2026-11-28T23", "2026-11-29T01", "2026-11-28T01"]
    counts = []
    for moment in times:
        fact = request_content(started(), messages_request(), capture=ALL, created_at=moment)
        counts.append(parts_in(store(db, fact, preparation=preparation)))
    preparation.forget()
    counts.append(parts_in(store(db, fact, preparation=preparation)))

    assert counts == [6, 0, 6, 6, 6]
    renewed = {row["created_at"] for row in db.table("aibridge_parts").rows}
    assert renewed == {"2026-11-29T01"}


def test_number_of_known_parts_is_bounded(monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
    monkeypatch.setattr(content, "MOST_KNOWN", 3)
    preparation = Preparation()

    for _ in range(2):
        fact = request_content(started(), messages_request(), capture=ALL)
        made = store(db, fact, preparation=preparation)

    assert parts_in(made) == 6
    assert db.table("aibridge_parts").count == 6


def test_content_is_stored_redacted_and_marked(db: Database) -> None:
    preparation = Preparation(redaction=Redaction(own=[OwnRule("weather", "sunny")]))
    preparation.redaction.credentials.add(
        (interception := started(id="01")).id, [b"Bearer my-own-credential"]
    )
    said = {
        "role": "user",
        "content": "My my-own-credential, not sk-ant-api03-0123456789abcdef.",
    }

    store(
        db,
        request_content(interception, messages_request(said), capture=ALL),
        response_content(interception, messages_response(), capture=ALL),
        preparation=preparation,
    )

    contents = b"\n".join(content for _, _, content in stored(db))
    assert b"sunny" not in contents
    assert b"It is [redacted: weather]." in contents
    assert b"My [redacted: credential of the request], not [redacted: Anthropic key]." in contents


def test_other_redaction_stores_the_same_part_again(db: Database) -> None:
    preparation = Preparation()
    store(db, request_content(started(), messages_request(), capture=ALL), preparation=preparation)

    preparation.redaction.use(is_on=True, own=[OwnRule("weather", "sunny")])
    store(db, request_content(started(), messages_request(), capture=ALL), preparation=preparation)

    assert db.table("aibridge_parts").count == 12


def test_secrets_in_prompts_tools_and_errors_are_redacted() -> None:
    key = "sk-ant-api03-0123456789abcdef"
    interception = started()
    facts: list[Fact] = [
        tool(interception, input={"command": f"export KEY={key}"}, invocation_error=f"bad {key}"),
        ended(
            interception,
            error_message=f"Incorrect API key provided: {key}",
            metadata={"server_tools": [{"input": {"query": key}}]},
        ),
    ]

    made = Preparation().statements(facts)

    text = json.dumps([statement.values for statement in made])
    assert key not in text
    assert text.count("[redacted: Anthropic key]") == 4


def test_stream_is_stored_as_the_document_that_it_adds_up_to(db: Database) -> None:
    key = "sk-ant-api03-0123456789abcdef"
    head = {k: v for k, v in messages_response().items() if k != "content"} | {"content": []}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": head},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": c}}
            for c in f"Use {key}"
        ),
    ]
    stream = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)

    store(db, response_content(started(), stream.encode(), capture=ALL))

    ((_, _, document),) = stored(db)
    assert json.loads(document)["content"] == [
        {"type": "text", "text": "Use [redacted: Anthropic key]"}
    ]


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"null", b"\xff\xfe", b'{"messages": 1}'])
def test_unreadable_bodies_are_recorded_as_far_as_possible(db: Database, body: bytes) -> None:
    for api in BODIES:
        interception = started(api=api)
        store(
            db,
            request_content(interception, body, capture=ALL),
            response_content(interception, body, capture=ALL),
            ended(interception),
        )

    assert db.table("aibridge_interceptions").count == len(BODIES)


def test_bug_in_a_view_does_not_lose_the_rest_of_the_record(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("a bug")

    interception = started()
    monkeypatch.setattr(type(FORMATS[interception.api].view), "split_request", fail)

    store(db, request_content(interception, {}, capture=ALL), ended(interception))

    assert db.table("aibridge_interceptions").count == 1
    assert f"the content of interception {interception.id} is not recorded" in caplog.text


def test_format_without_a_view_stores_no_content(db: Database) -> None:
    interception: Interception = started(api="of a plugin")

    store(db, request_content(interception, {"a": 1}, capture=ALL))

    assert stored(db) == []


def test_content_survives_the_spool_and_may_be_read_twice(db: Database, tmp_path: Path) -> None:
    work = Preparation().statements(exchange("anthropic_messages", ALL))
    spool = Spool(tmp_path / "a.sqlite3")
    spool.append(work)

    for _ in range(2):
        for statement in spool.read():
            execute(db.conn, statement)

    assert len(stored(db)) == 7
    assert stored(db)[-1][2] == json.dumps(messages_response()).encode()


def test_same_result_and_answer_of_several_actors_are_found_under_each(db: Database) -> None:
    preparation = Preparation()
    found: dict[object, list[str]] = {}
    for actor in ("alice", "alice", "bob"):
        sent = started(initiator_id=actor)
        made = store(
            db,
            request_content(sent, messages_request(), capture=ALL),
            response_content(sent, messages_response(), capture=ALL),
            preparation=preparation,
        )
        for statement in made:
            if statement.kind == "search_text":
                found.setdefault(statement.values["kind"], []).append(actor)

    assert found == {"answer": ["alice", "alice", "bob"], "result": ["alice", "bob"]}
    assert db.table("aibridge_parts").count == 7
