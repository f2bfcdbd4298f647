"""Affinity of requests: conversations, and state that binds to an organization."""

import json
from typing import Any

import pytest

from aibridge_addon.access.keys.affinity import Affinity, affinity_of, affinity_of_path


def affinity(body: dict[str, Any], session: str | None = None, actor: str = "alice") -> Affinity:
    return affinity_of(actor, session, json.dumps(body).encode())


def messages(*texts: str, mark: bool = False) -> list[dict[str, Any]]:
    more = {"cache_control": {"type": "ephemeral"}} if mark else {}
    roles = ("user", "assistant")
    return [
        {"role": roles[number % 2], "content": [{"type": "text", "text": text, **more}]}
        for number, text in enumerate(texts)
    ]


def test_session_decides_before_the_key_of_the_prompt_cache() -> None:
    first = affinity({"prompt_cache_key": "p", "input": "a"}, session="s")
    assert first == affinity({"prompt_cache_key": "q", "input": "b"}, session="s")
    assert affinity({"prompt_cache_key": "p", "input": "a"}) == affinity(
        {"prompt_cache_key": "p", "input": "b"}
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"system": "s", "messages": messages("hi")},
            {"system": [{"type": "text", "text": "s"}], "messages": messages("hi", "yes", "go")},
        ),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]},
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": "yes"},
                ]
            },
        ),
        (
            {"instructions": "s", "input": "hi"},
            {"instructions": "s", "input": [{"role": "user", "content": "hi"}, {"role": "x"}]},
        ),
        (
            {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
            {"contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model"}]},
        ),
    ],
    ids=["messages", "chat", "responses", "gemini"],
)
def test_later_requests_of_a_conversation_have_its_affinity(first: Any, second: Any) -> None:
    assert affinity(first).id == affinity(second).id
    assert affinity(first).id != affinity(first, actor="bob").id


def test_moved_cache_marks_do_not_change_the_affinity() -> None:
    first = affinity({"messages": messages("hi", mark=True)})
    assert first.id == affinity({"messages": messages("hi", "yes", "go")}).id


def test_request_without_content_has_the_affinity_of_its_actor() -> None:
    assert affinity({}).id == "alice"
    assert affinity_of("alice", None, b"no json").id == "alice"


@pytest.mark.parametrize(
    "state",
    [
        {"previous_response_id": "resp_1"},
        {"input": [{"type": "reasoning", "encrypted_content": "abc"}]},
        {"input": [{"type": "item_reference", "id": "rs_1"}]},
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "signature": "s"}]}]},
        {"messages": [{"content": [{"type": "redacted_thinking", "data": "x"}]}]},
        {"input": [{"content": [{"type": "input_file", "file_id": "file_1"}]}]},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"container": "container_1"},
        {"contents": [{"parts": [{"thoughtSignature": "s"}]}]},
    ],
)
def test_state_of_a_provider_binds_the_request(state: dict[str, Any]) -> None:
    assert affinity(state).is_bound


@pytest.mark.parametrize(
    "body",
    [
        {"messages": messages("hi")},
        {"previous_response_id": None},
        {"messages": [{"role": "user", "content": '{"signature": "a", "file_id": "b"}'}]},
        {"tools": [{"input_schema": {"properties": {"file_id": {"type": "string"}}}}]},
        {"include": ["reasoning.encrypted_content"]},
    ],
)
def test_words_about_state_do_not_bind_the_request(body: dict[str, Any]) -> None:
    assert not affinity(body).is_bound


def test_stored_files_lead_to_the_key_that_the_actor_uploads_with() -> None:
    body = {"input": [{"content": [{"type": "input_file", "file_id": "file_1"}]}]}
    bound = affinity(body, session="s")
    assert bound == affinity_of_path("alice", "/openai/v1/files")
    assert bound == affinity({"input_file_id": "file_1", "endpoint": "/v1/responses"})
    assert bound.is_bound


@pytest.mark.parametrize(
    ("path", "id_"),
    [
        ("/v1/responses/resp_1", "resp_1"),
        ("/openai/v1/responses/resp%201/cancel", "resp 1"),
        ("/v1/responses/resp_1/input_items?limit=3", "resp_1"),
        ("/v1/messages/batches/msgbatch_1/results", "msgbatch_1"),
        ("/v1/files/file-1/content", "file-1"),
        ("/v1beta/files/f-1:download", "f-1"),
        ("/v1/files", None),
        ("/v1/messages/batches?limit=1", None),
    ],
)
def test_path_of_a_stored_object_binds_the_request(path: str, id_: str | None) -> None:
    found = affinity_of_path("alice", path)
    assert (found.is_bound, found.previous_response_id) == (True, id_)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/files-1", "/v1/filesystem"])
def test_other_paths_have_the_affinity_of_their_actor(path: str) -> None:
    assert affinity_of_path("alice", path) == Affinity(id="alice")


def test_longer_cache_lifetime_is_found() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert affinity({"system": [{"type": "text", "text": "s", **mark}]}).idle_seconds == 3600
    assert affinity({"system": "s"}).idle_seconds == 300
