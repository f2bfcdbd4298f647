"""Tests of request kinds and typed prompts through a real proxy: one row per typed prompt."""

import json
from collections.abc import Callable
from typing import Any

from e2e.asking import APIS, user
from e2e.clients import Clients, Way
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.sockets import Socket

FORWARD = Way("forward")
MESSAGES, CHAT, RESPONSES = APIS
CLAUDE = {
    "user-agent": "claude-cli/2.1.332 (external, cli)",
    "x-claude-code-session-id": "s-1",
    "x-claude-code-request-class": "main",
}
CODEX = {"user-agent": "codex-tui/0.171.0", "originator": "codex-tui", "session-id": "s-2"}


def post(clients: Clients, api: Any, prompt: Any, headers: dict[str, str]) -> int:
    """Send a request unchanged, and return the status."""
    with clients.http(FORWARD, headers=headers) as client:
        url = clients.url(FORWARD, api.provider, api.path)
        status: int = client.post(url, json=api.body(prompt, stream=True)).status_code
    return status


def kinds(records: Records) -> list[tuple[str, str | None]]:
    """Return the request kind and prompt id of each interception."""
    return [(row["request_kind"], row["prompt_id"]) for row in records.interceptions]


def described(**metadata: str) -> str:
    """Return Codex's description of a turn."""
    return json.dumps({"request_kind": "turn", "thread_source": "user", **metadata})


def test_retries_and_side_requests_of_claude_code_leave_one_prompt(
    proxy: Proxy, clients: Clients
) -> None:
    turn = CLAUDE | {"x-claude-code-prompt-id": "p-1"}
    title = CLAUDE | {"x-claude-code-request-class": "auxiliary"}
    with proxy.recording() as records:
        assert post(clients, MESSAGES, "hello STATUS:529", turn) == 529
        assert post(clients, MESSAGES, "hello STATUS:529", turn) == 529
        assert (
            post(clients, MESSAGES, "<session>\nhello\n</session>\n\nWrite a title.", title) == 200
        )
        assert post(clients, MESSAGES, "hello STATUS:529", turn | {"x-agent": "1"}) == 529
    assert kinds(records) == [("turn", "p-1"), ("turn", "p-1"), ("title", None), ("turn", "p-1")]
    assert records.prompts == ["hello STATUS:529"]


def test_attempts_of_codex_over_websocket_and_http_leave_one_prompt(
    proxy: Proxy, clients: Clients
) -> None:
    metadata = described(turn_id="t-1", root_turn_id="t-1")
    with proxy.recording() as records:
        for _ in range(2):
            with Socket(clients, FORWARD) as codex:
                codex.warm_up()
                codex.ask("hello", client_metadata={"x-codex-turn-metadata": metadata})
        post(clients, RESPONSES, "hello", CODEX | {"x-codex-turn-metadata": metadata})
    assert kinds(records) == [("warmup", None), ("turn", "t-1")] * 2 + [("turn", "t-1")]
    assert records.prompts == ["hello"]


def test_retry_after_a_restart_leaves_one_prompt(
    start_proxy: Callable[..., Proxy], clients_of: Callable[[Proxy], Clients]
) -> None:
    turn = CLAUDE | {"x-claude-code-prompt-id": "p-2"}
    proxy = start_proxy()
    post(clients_of(proxy), MESSAGES, "hello", turn)
    proxy.restart()
    post(clients_of(proxy), MESSAGES, "hello", turn)
    assert kinds(proxy.records) == [("turn", "p-2"), ("turn", "p-2")]
    assert proxy.records.prompts == ["hello"]


def test_interrupted_and_retried_prompts_of_a_session_without_ids_are_recorded_once(
    proxy: Proxy, clients: Clients
) -> None:
    headers = CLAUDE | {"x-claude-code-session-id": "s-3"}
    first, second = ({"role": "user", "content": prompt} for prompt in ("one STATUS:500", "two"))
    with proxy.recording() as records:
        post(clients, MESSAGES, [first], headers)
        post(clients, MESSAGES, [first], headers)
        post(clients, MESSAGES, [first, second], headers)
        post(clients, MESSAGES, "two", headers)
        post(clients, MESSAGES, "two", headers)
    assert records.prompts == ["one STATUS:500", "two", "two", "two"]


def test_sdk_retries_leave_one_prompt_and_the_same_question_asked_again_another(
    proxy: Proxy, clients: Clients
) -> None:
    with proxy.recording() as records:
        for count, prompt in (("0", "a STATUS:500"), ("1", "a STATUS:500"), ("0", "b"), ("0", "b")):
            post(clients, CHAT, prompt, {"x-stainless-retry-count": count})
    assert records.prompts == ["a STATUS:500", "b", "b"]


def test_continuations_of_a_response_leave_one_prompt(proxy: Proxy, clients: Clients) -> None:
    for api in (MESSAGES, CHAT):
        prompt = f"Tell me a story by {api}."
        with proxy.recording() as records:
            for begun in ("Once", "Once upon"):
                begins = {"role": "assistant", "content": begun}
                assert post(clients, api, [user(prompt), begins], {}) == 200
        assert records.prompts == [prompt]
