"""Tests of exact records: all wire formats, both proxy modes, streamed and buffered.

Records are read without waiting: a response whose end the client has seen is in the database.
"""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from standin import Exchange, Server
from standin.plan import ANSWER, THOUGHT

from e2e.asking import API, APIS, AnthropicMessages, ChatCompletions
from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY, WAYS, Clients, Way
from e2e.proxy import Proxy, config_toml

FORWARD = Way("forward")
REVERSE = Way("reverse")

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

TOOLS = ("get_weather", "get_time")


@each_way
@each_api
@each_delivery
class TestBothProxyModes:
    def test_response_is_recorded_with_exact_rows(
        self, proxy: Proxy, clients: Clients, way: Way, api: API, stream: bool
    ) -> None:
        said = "How are you? TOKENS:100,20,30,5"
        with proxy.recording() as records:
            answer = api.ask(clients, way, said, stream=stream)
        assert answer.text == ANSWER
        interception = records.interception
        assert interception == {
            "id": interception["id"],
            "initiator_id": "anonymous",
            "metadata": {},
            "provider": api.provider,
            "provider_name": api.provider,
            "api": api.name,
            "model": api.model,
            "client": f"{'OpenAI' if api.provider == 'openai' else 'Anthropic'} SDK (Python)",
            "user_agent": interception["user_agent"],
            "client_session_id": None,
            "correlating_tool_call_id": None,
            "request_kind": "turn",
            "prompt_id": None,
            "agent_id": None,
            "credential_kind": "byok",
            "credential_hint": "sk-a...ghij" if api.provider == "anthropic" else "sk-p...ghij",
            "streaming": int(stream),
            "started_at": interception["started_at"],
            "ended_at": interception["ended_at"],
            "status": "completed",
            "http_status": 200,
            "error_type": None,
            "error_message": None,
            "partial": 0,
            "access_token_id": None,
            "ttft_ms": interception["ttft_ms"],
            "process_id": interception["process_id"],
        }
        assert (interception["ttft_ms"] is None) == (not stream)
        assert interception["started_at"] <= interception["ended_at"]
        assert records.counts == api.counts(100, 20, 30, 5)
        assert records.usage["provider_response_id"] == answer.id
        assert records.usage["model"] == api.model
        assert records.usage["interception_id"] == interception["id"]
        assert records.prompts == [said]
        assert records.tool_usages == []
        assert records.model_thoughts == []

    def test_parallel_tool_calls_have_one_row_each(
        self, proxy: Proxy, clients: Clients, way: Way, api: API, stream: bool
    ) -> None:
        said = 'PARALLEL USE_TOOL:get_weather ARGS:{"city": "Tromsø"}'
        with proxy.recording() as records:
            answer = api.ask(clients, way, said, stream=stream, tools=TOOLS)
        assert [(call.name, call.arguments) for call in answer.calls] == [
            ("get_weather", {"city": "Tromsø"}),
            ("get_time", {}),
        ]
        assert [
            (row["tool"], row["tool_call_id"], row["input"], row["injected"], row["server_url"])
            for row in records.tool_usages
        ] == [(call.name, call.id, call.arguments, 0, None) for call in answer.calls]
        assert {row["provider_response_id"] for row in records.tool_usages} == {answer.id}

    def test_thoughts_are_recorded_with_their_source(
        self, proxy: Proxy, clients: Clients, way: Way, api: API, stream: bool
    ) -> None:
        with proxy.recording() as records:
            api.ask(clients, way, "THINK", stream=stream)
        assert [(row["content"], row["metadata"]) for row in records.model_thoughts] == [
            (THOUGHT, {"source": api.thought_source})
        ]

    def test_provider_error_is_relayed_unchanged_and_recorded_as_failed(
        self, proxy: Proxy, clients: Clients, way: Way, api: API, stream: bool
    ) -> None:
        with (
            proxy.recording() as records,
            pytest.raises((anthropic.RateLimitError, openai.RateLimitError)) as error,
        ):
            api.ask(clients, way, "STATUS:429", stream=stream)
        refused: Any = error.value  # an error of either SDK
        response = refused.response
        assert response.headers["retry-after"] == "1"
        told = json.loads(response.content)["error"]
        interception = records.interception
        assert (interception["status"], interception["http_status"]) == ("failed", 429)
        assert interception["error_type"] == (told.get("code") or told["type"])
        assert interception["error_message"] == told["message"]
        assert interception["partial"] == 0
        assert records.prompts == ["STATUS:429"], "said, although it failed"
        assert records.token_usages == []


@each_api
class TestAllWireFormats:
    def test_tool_result_is_linked_to_its_call_and_is_no_prompt(
        self, proxy: Proxy, clients: Clients, api: API
    ) -> None:
        with proxy.recording() as records:
            first = api.ask(clients, FORWARD, "USE_TOOL", tools=TOOLS)
            results = [api.result(call, "12 degrees") for call in first.calls]
            conversation = [{"role": "user", "content": "USE_TOOL"}, *first.turn, *results]
            second = api.ask(clients, REVERSE, conversation, stream=True, tools=TOOLS)
        assert second.text == "The tool returned: 12 degrees"
        asked, continued = records.interceptions
        assert asked["correlating_tool_call_id"] is None
        assert continued["correlating_tool_call_id"] == first.calls[0].id
        assert [row["interception_id"] for row in records.user_prompts] == [asked["id"]]
        assert [row["provider_response_id"] for row in records.token_usages] == [
            first.id,
            second.id,
        ]

    def test_concurrent_requests_have_their_own_rows(
        self, proxy: Proxy, clients: Clients, api: API
    ) -> None:
        async def ask_many() -> list[str]:
            async with api.async_client(clients, Way("forward", http2=True)) as client:
                answers = await asyncio.gather(
                    *(
                        api.ask_async(client, f"TOKENS:{n},1,0,0", stream=bool(n % 2))
                        for n in range(1, 41)
                    )
                )
            return [answer.id for answer in answers]

        with proxy.recording() as records:
            ids = asyncio.run(ask_many())
        said = {row["interception_id"]: row["prompt"] for row in records.user_prompts}
        counted = {
            said[row["interception_id"]]: (row["input_tokens"], row["provider_response_id"])
            for row in records.token_usages
        }
        assert counted == {
            f"TOKENS:{number},1,0,0": (number, response_id)
            for number, response_id in enumerate(ids, 1)
        }
        assert {row["status"] for row in records.interceptions} == {"completed"}
        assert len(records.interceptions) == 40

    async def test_request_of_the_asynchronous_sdk_is_recorded(
        self, proxy: Proxy, clients: Clients, api: API
    ) -> None:
        with proxy.recording() as records:
            async with api.async_client(clients, REVERSE) as client:
                answer = await api.ask_async(client, "LONG:300", stream=True)
        assert len(answer.text.split()) == 300
        assert records.usage["provider_response_id"] == answer.id
        assert records.interception["client"].endswith("SDK (Python)")

    @each_delivery
    def test_recorded_usage_equals_the_usage_of_the_provider(
        self, proxy: Proxy, clients: Clients, standin: Server, api: API, stream: bool
    ) -> None:
        with proxy.recording() as records:
            api.ask(clients, FORWARD, "THINK " + "and so on " * 500, stream=stream)
        exchange: Exchange = standin.requests[-1].notes
        usage = exchange.plan.usage
        assert usage.input > 0
        assert records.counts == api.counts(
            usage.input, usage.output, usage.cache_read, usage.cache_write
        )

    def test_error_during_a_stream_is_recorded_with_the_usage_so_far(
        self, proxy: Proxy, clients: Clients, api: API
    ) -> None:
        with (
            proxy.recording() as records,
            # OpenAI's accumulator of responses notices no more than that the end is missing.
            pytest.raises((anthropic.APIError, openai.APIError, RuntimeError)),
        ):
            api.ask(clients, FORWARD, "ERROR_EVENT LONG:20 TOKENS:100,20,30,5", stream=True)
        interception = records.interception
        assert (interception["status"], interception["http_status"]) == ("failed", 200)
        assert interception["error_message"]
        assert interception["partial"] == 1
        if isinstance(api, AnthropicMessages):  # which tells its input at the start
            assert records.counts == (100, 1, 30, 5)
        else:
            assert records.token_usages == []

    def test_response_at_its_token_limit_is_recorded_as_completed(
        self, proxy: Proxy, clients: Clients, api: API
    ) -> None:
        with proxy.recording() as records, clients.http(REVERSE) as client:
            body = api.body("STOP_SHORT TOKENS:1,2,0,0", stream=True)
            client.post(clients.url(REVERSE, api.provider, api.path), json=body).raise_for_status()
        assert records.interception["status"] == "completed"
        assert records.counts == api.counts(1, 2, 0, 0)

    def test_query_is_relayed_and_does_not_change_the_route(
        self, proxy: Proxy, clients: Clients, standin: Server, api: API
    ) -> None:
        url = clients.url(REVERSE, api.provider, f"{api.path}?beta=true&x=%2F")
        with proxy.recording() as records, clients.http(REVERSE) as client:
            client.post(url, json=api.body("hi")).raise_for_status()
        assert standin.requests[-1].target.endswith(f"{api.path}?beta=true&x=%2F")
        assert records.interception["status"] == "completed"


def _stream_chat(clients: Clients, way: Way, text: str) -> None:
    """Request a stream without usage, and check that the client receives none."""
    with clients.openai(way) as client:
        chunks = list(
            client.chat.completions.create(
                model="gpt-5", messages=[{"role": "user", "content": text}], stream=True
            )
        )
    assert chunks
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


class TestChatUsage:
    def test_stream_without_requested_usage_is_recorded_without_usage(
        self, proxy: Proxy, clients: Clients
    ) -> None:
        with proxy.recording() as records, clients.openai(FORWARD) as client:
            chunks = list(
                client.chat.completions.create(
                    model="gpt-5", messages=[{"role": "user", "content": "hi"}], stream=True
                )
            )
        assert all(chunk.usage is None for chunk in chunks)
        assert records.interception["status"] == "completed"
        assert records.token_usages == []

    def test_option_requests_usage_and_withholds_it_from_the_client(
        self, start_proxy: Callable[..., Proxy], clients_of: Callable[[Proxy], Clients]
    ) -> None:
        proxy = start_proxy(options={"aibridge_ask_chat_usage": True})
        for coding in ("identity", "gzip", "br", "zstd"):
            with proxy.recording() as records:
                _stream_chat(clients_of(proxy), FORWARD, f"TOKENS:1,2,3,4 CODING:{coding}")
            assert records.counts == ChatCompletions().counts(1, 2, 3, 4), coding

    def test_usage_is_requested_by_default_only_in_reverse_mode_and_of_known_providers(
        self,
        start_proxy: Callable[..., Proxy],
        clients_of: Callable[[Proxy], Clients],
        standin: Server,
    ) -> None:
        proxy = start_proxy(config=config_toml(standin.origin) + "include_usage = true\n")
        with proxy.recording() as records:
            _stream_chat(clients_of(proxy), REVERSE, "TOKENS:1,2,3,4 CODING:gzip")
        assert records.counts == ChatCompletions().counts(1, 2, 3, 4)
        assert b"include_usage" in standin.requests[-1].body
        with proxy.recording() as records:
            _stream_chat(clients_of(proxy), FORWARD, "hi")
        assert records.token_usages == []
        assert b"include_usage" not in standin.requests[-1].body


class TestPassthrough:
    @each_way
    def test_model_lists_and_token_counts_are_relayed_and_not_recorded(
        self, proxy: Proxy, clients: Clients, way: Way
    ) -> None:
        with proxy.recording() as records:
            with clients.anthropic(way) as client:
                assert client.models.list().data
                count = client.messages.count_tokens(
                    model="claude-standin-1", messages=[{"role": "user", "content": "hi"}]
                )
            with clients.openai(way) as client:
                assert client.models.retrieve("gpt-5").id == "gpt-5"
        assert count.input_tokens > 0
        assert records.interceptions == []

    def test_reverse_proxy_refuses_unknown_paths(
        self, proxy: Proxy, clients: Clients, standin: Server
    ) -> None:
        seen = len(standin.requests)
        with clients.http(REVERSE) as client:
            ours = client.get(clients.url(REVERSE, "anthropic", "/v1/organizations/keys"))
            theirs = client.delete(clients.url(REVERSE, "openai", "/evals/eval-1"))
            nobodys = client.get(f"{proxy.reverse_url}/favicon.ico")
        assert [ours.status_code, theirs.status_code, nobodys.status_code] == [404, 404, 404]
        assert ours.json()["type"] == "error"
        assert "GET /v1/organizations/keys" in ours.json()["error"]["message"].replace(
            "/anthropic", ""
        )
        assert "DELETE" in theirs.json()["error"]["message"]
        assert len(standin.requests) == seen, "nothing reached the provider"

    def test_forward_proxy_relays_unknown_paths(
        self, clients: Clients, standin: Server, proxy: Proxy
    ) -> None:
        with proxy.recording() as records, clients.http(FORWARD) as client:
            answer = client.delete("https://api.openai.com/v1/evals/eval-1")
        assert answer.status_code == 404
        assert (standin.requests[-1].method, standin.requests[-1].target) == (
            "DELETE",
            "/v1/evals/eval-1",
        )
        assert records.interceptions == []


class TestAttribution:
    def test_actor_header_names_the_actor_and_is_removed(
        self, proxy: Proxy, clients: Clients, standin: Server
    ) -> None:
        with proxy.recording() as records:
            APIS[0].ask(
                clients,
                FORWARD,
                "hi",
                client_options={"default_headers": {"X-AIBridge-Actor": "alice"}},
            )
        assert records.interception["initiator_id"] == "alice"
        assert standin.requests[-1].header("x-aibridge-actor") is None

    def test_claude_code_is_recorded_with_its_session(self, proxy: Proxy, clients: Clients) -> None:
        headers = {
            "user-agent": "claude-cli/2.1.197 (external, sdk-cli)",
            "x-claude-code-session-id": "9a3f",
        }
        with proxy.recording() as records, clients.http(FORWARD, headers=headers) as client:
            url = clients.url(FORWARD, "anthropic", "/v1/messages?beta=true")
            client.post(url, json=APIS[0].body("hi", stream=True)).raise_for_status()
        interception = records.interception
        assert (interception["client"], interception["client_session_id"]) == (
            "Claude Code",
            "9a3f",
        )

    def test_client_without_a_key_uses_the_central_key(
        self,
        start_proxy: Callable[..., Proxy],
        clients_of: Callable[[Proxy], Clients],
        standin: Server,
    ) -> None:
        keys = {"ANTHROPIC_API_KEY": "central-key-of-anthropic", "OPENAI_API_KEY": "central-openai"}
        proxy = start_proxy(env=keys)
        clients = clients_of(proxy)
        with proxy.recording() as records, clients.http(REVERSE) as client:
            for api in (APIS[0], APIS[2]):
                url = clients.url(REVERSE, api.provider, api.path)
                client.post(url, json=api.body("hi")).raise_for_status()
        to_anthropic, to_openai = standin.requests[-2:]
        assert to_anthropic.header("x-api-key") == "central-key-of-anthropic"
        assert to_openai.header("authorization") == "Bearer central-openai"
        assert [
            (row["credential_kind"], row["credential_hint"]) for row in records.interceptions
        ] == [("centralized", "cent...opic"), ("centralized", "ce...ai")]

    def test_own_key_of_a_client_is_used_in_place_of_the_central_key(
        self,
        start_proxy: Callable[..., Proxy],
        clients_of: Callable[[Proxy], Clients],
        standin: Server,
    ) -> None:
        proxy = start_proxy(env={"OPENAI_API_KEY": "central-openai"})
        with proxy.recording() as records:
            APIS[1].ask(clients_of(proxy), REVERSE, "hi")
        assert standin.requests[-1].header("authorization") == f"Bearer {OPENAI_KEY}"
        assert records.interception["credential_kind"] == "byok"

    def test_keys_are_written_to_no_file(
        self, start_proxy: Callable[..., Proxy], clients_of: Callable[[Proxy], Clients]
    ) -> None:
        proxy = start_proxy(
            env={"OPENAI_API_KEY": "central-secret-key"},
            options={"termlog_verbosity": "debug", "flow_detail": 3, "save_stream_file": "flows"},
        )
        clients = clients_of(proxy)
        APIS[0].ask(clients, FORWARD, "hi")
        with clients.http(REVERSE) as client:
            url = clients.url(REVERSE, "openai", "/responses")
            client.post(url, json=APIS[2].body("STATUS:500", stream=True))
        proxy.stop()
        written = proxy.log_text().encode() + b"".join(
            path.read_bytes() for path in proxy.directory.rglob("*") if path.is_file()
        )
        assert b"hi" in written
        for secret in (ANTHROPIC_KEY, "central-secret-key"):
            assert secret.encode() not in written


class TestStore:
    def test_interception_ids_sort_by_time(self, proxy: Proxy, clients: Clients) -> None:
        with proxy.recording() as records:
            for number in range(5):
                APIS[0].ask(clients, FORWARD, f"number {number}")
        assert records.prompts == [f"number {number}" for number in range(5)]
        assert all(
            first["started_at"] < second["started_at"]
            for first, second in pairwise(records.interceptions)
        )

    def test_records_survive_a_restart(
        self, start_proxy: Callable[..., Proxy], clients_of: Callable[[Proxy], Clients]
    ) -> None:
        proxy = start_proxy()
        APIS[0].ask(clients_of(proxy), FORWARD, "before")
        assert proxy.stop() == 0
        proxy.restart()
        APIS[0].ask(clients_of(proxy), REVERSE, "after")
        assert proxy.records.prompts == ["before", "after"]

    def test_interceptions_left_open_by_a_crash_are_interrupted_at_the_next_start(
        self,
        start_proxy: Callable[..., Proxy],
        clients_of: Callable[[Proxy], Clients],
        standin: Server,
    ) -> None:
        proxy = start_proxy()
        clients = clients_of(proxy)
        with clients.http(FORWARD) as client:
            url = clients.url(FORWARD, "anthropic", "/v1/messages")
            body = APIS[0].body("GATE:crash", stream=True)
            with client.stream("POST", url, json=body) as response:
                chunks = response.iter_raw()
                assert next(chunks).startswith(b"event: message_start")
                proxy.wait_for_records(lambda records: records.interceptions)
                proxy.kill()
                with pytest.raises(httpx2.TransportError):
                    list(chunks)
        proxy.restart()
        interception = proxy.records.interception
        assert interception["status"] == "interrupted"
        assert interception["ended_at"]
        standin.wait_until(lambda: standin.requests[-1].outcome == "abandoned")

    def test_every_interception_has_ended(self, proxy: Proxy, clients: Clients) -> None:
        APIS[0].ask(clients, FORWARD, "hi")
        records: Any = proxy.records
        assert [row for row in records.interceptions if row["ended_at"] is None] == []
