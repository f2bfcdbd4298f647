"""The stand-in itself, proved by the official SDKs straight against it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from standin import EndEarly, Gate, Request, Reset, Response, Server, Wait
from standin.codings import CODINGS
from standin.plan import ANSWER, THOUGHT

from e2e.clients import DIRECT, Clients, Way, sse_events

MODEL = "claude-standin-1"  # no real name: those get deprecated, and the SDK warns
GPT = "gpt-5"

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
ANTHROPIC_TOOLS: Any = [
    {"name": "get_weather", "input_schema": WEATHER_SCHEMA},
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]
CHAT_TOOLS: Any = [
    {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
    for tool in ANTHROPIC_TOOLS
]
RESPONSES_TOOLS: Any = [
    {"type": "function", "name": tool["name"], "parameters": tool["input_schema"], "strict": False}
    for tool in ANTHROPIC_TOOLS
]

CLIENT = Way("direct")

each_http_version = pytest.mark.parametrize("way", DIRECT, ids=str)
each_coding = pytest.mark.parametrize("coding", CODINGS)


def _user(text: str) -> Any:
    return [{"role": "user", "content": text}]


class TestAnthropicMessages:
    @each_http_version
    def test_the_sdk_gets_an_answer(self, direct_clients: Clients, way: Way) -> None:
        with direct_clients.anthropic(way) as client:
            message = client.messages.create(
                model=MODEL, max_tokens=100, messages=_user("hi TOKENS:10,20,30,5")
            )
        assert message.content[0].text == ANSWER
        assert message.stop_reason == "end_turn"
        assert message.model == MODEL
        assert message.usage.input_tokens == 10
        assert message.usage.output_tokens == 20
        assert message.usage.cache_read_input_tokens == 30
        assert message.usage.cache_creation_input_tokens == 5

    @each_http_version
    def test_the_sdks_stream_helper_accepts_every_event(
        self, direct_clients: Clients, way: Way
    ) -> None:
        with (
            direct_clients.anthropic(way) as client,
            client.messages.stream(
                model=MODEL,
                max_tokens=100,
                tools=ANTHROPIC_TOOLS,
                messages=_user('THINK USE_TOOL:get_weather ARGS:{"city": "Oslo"}'),
            ) as stream,
        ):
            kinds = [event.type for event in stream]
            message = stream.get_final_message()
        assert kinds[0] == "message_start"
        assert kinds[-1] == "message_stop"
        thinking, text, call = message.content
        assert thinking.thinking == THOUGHT
        assert thinking.signature
        assert text.text == "I will use get_weather."
        assert call.name == "get_weather"
        assert call.input == {"city": "Oslo"}
        assert message.stop_reason == "tool_use"

    async def test_the_asynchronous_sdk_streams(self, direct_clients: Clients) -> None:
        async with (
            direct_clients.async_anthropic(DIRECT[1]) as client,
            client.messages.stream(
                model=MODEL, max_tokens=100, messages=_user("LONG:30")
            ) as stream,
        ):
            texts = [text async for text in stream.text_stream]
        assert len(texts) == 30

    def test_a_streamed_and_a_whole_message_are_the_same(self, direct_clients: Clients) -> None:
        asked: Any = {
            "model": MODEL,
            "max_tokens": 100,
            "tools": ANTHROPIC_TOOLS,
            "messages": _user("THINK PARALLEL USE_TOOL TOKENS:1,2,3,4"),
        }
        with direct_clients.anthropic(CLIENT) as client:
            whole = client.messages.create(**asked)
            with client.messages.stream(**asked) as stream:
                streamed = stream.get_final_message()
        assert _without_ids(streamed.to_dict()) == _without_ids(whole.to_dict())

    def test_after_a_tool_result_the_answer_contains_it(self, direct_clients: Clients) -> None:
        messages = _user("USE_TOOL")
        with direct_clients.anthropic(CLIENT) as client:
            first = client.messages.create(
                model=MODEL, max_tokens=100, tools=ANTHROPIC_TOOLS, messages=messages
            )
            call = first.content[-1]
            result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "12 degrees"}
            second = client.messages.create(
                model=MODEL,
                max_tokens=100,
                tools=ANTHROPIC_TOOLS,
                messages=[
                    *messages,
                    {"role": "assistant", "content": first.content},
                    {"role": "user", "content": [result]},
                ],
            )
        assert call.input == {"city": "text"}
        assert second.content[0].text == "The tool returned: 12 degrees"

    def test_parallel_calls_two_tools(self, direct_clients: Clients) -> None:
        with direct_clients.anthropic(CLIENT) as client:
            message = client.messages.create(
                model=MODEL,
                max_tokens=100,
                tools=ANTHROPIC_TOOLS,
                messages=_user("PARALLEL USE_TOOL"),
            )
        names = [block.name for block in message.content if block.type == "tool_use"]
        assert names == ["get_weather", "get_time"]

    def test_a_forced_tool_is_called(self, direct_clients: Clients) -> None:
        with direct_clients.anthropic(CLIENT) as client:
            message = client.messages.create(
                model=MODEL,
                max_tokens=100,
                tools=ANTHROPIC_TOOLS,
                tool_choice={"type": "tool", "name": "get_time"},
                messages=_user("hi"),
            )
        assert message.content[-1].name == "get_time"

    def test_errors_have_the_providers_shape(self, direct_clients: Clients) -> None:
        with (
            direct_clients.anthropic(CLIENT) as client,
            pytest.raises(anthropic.RateLimitError) as error,
        ):
            client.messages.create(model=MODEL, max_tokens=1, messages=_user("STATUS:429"))
        assert error.value.response.headers["retry-after"] == "1"
        assert error.value.request_id
        assert error.value.body["error"]["type"] == "rate_limit_error"

    def test_an_error_event_reaches_the_sdk(self, direct_clients: Clients) -> None:
        with (
            direct_clients.anthropic(CLIENT) as client,
            client.messages.stream(
                model=MODEL, max_tokens=1, messages=_user("ERROR_EVENT")
            ) as stream,
            pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        ):
            stream.get_final_message()

    def test_tokens_are_counted_and_models_listed(self, direct_clients: Clients) -> None:
        with direct_clients.anthropic(CLIENT) as client:
            count = client.messages.count_tokens(model=MODEL, messages=_user("hi"))
            models = [model.id for model in client.models.list()]
            model = client.models.retrieve(MODEL)
        assert count.input_tokens > 0
        assert MODEL in models
        assert model.id == MODEL


class TestChatCompletions:
    @each_http_version
    def test_the_sdk_gets_an_answer(self, direct_clients: Clients, way: Way) -> None:
        with direct_clients.openai(way) as client:
            completion = client.chat.completions.create(
                model=GPT, messages=_user("hi TOKENS:10,20,30,5")
            )
        assert completion.choices[0].message.content == ANSWER
        assert completion.usage.prompt_tokens == 45
        assert completion.usage.completion_tokens == 20
        assert completion.usage.prompt_tokens_details.cached_tokens == 30

    @each_http_version
    def test_the_sdks_stream_helper_accepts_every_chunk(
        self, direct_clients: Clients, way: Way
    ) -> None:
        with (
            direct_clients.openai(way) as client,
            client.chat.completions.stream(
                model=GPT,
                tools=CHAT_TOOLS,
                messages=_user('THINK USE_TOOL:get_weather ARGS:{"city": "Oslo"}'),
                stream_options={"include_usage": True},
            ) as stream,
        ):
            stream.until_done()
            completion = stream.get_final_completion()
        choice = completion.choices[0]
        call = choice.message.tool_calls[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.model_extra["reasoning_content"] == THOUGHT
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments) == {"city": "Oslo"}
        assert completion.usage.completion_tokens_details.reasoning_tokens > 0

    async def test_the_asynchronous_sdk_streams(self, direct_clients: Clients) -> None:
        async with direct_clients.async_openai(DIRECT[1]) as client:
            stream = await client.chat.completions.create(
                model=GPT, messages=_user("LONG:30"), stream=True
            )
            chunks = [chunk async for chunk in stream]
        assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) == 30
        assert all(chunk.usage is None for chunk in chunks), "nobody asked for the usage"

    def test_after_tool_results_the_answer_contains_them(self, direct_clients: Clients) -> None:
        messages = _user("USE_TOOL PARALLEL")
        with direct_clients.openai(CLIENT) as client:
            first = client.chat.completions.create(model=GPT, tools=CHAT_TOOLS, messages=messages)
            answer = first.choices[0].message
            results: Any = [
                {"role": "tool", "tool_call_id": call.id, "content": f"result of {call.id[-1]}"}
                for call in answer.tool_calls
            ]
            second = client.chat.completions.create(
                model=GPT,
                tools=CHAT_TOOLS,
                messages=[*messages, answer.to_dict(), *results],
            )
        content = second.choices[0].message.content
        assert content == "The tool returned: result of 0 | result of 1"

    def test_errors_have_the_providers_shape(self, direct_clients: Clients) -> None:
        with (
            direct_clients.openai(CLIENT) as client,
            pytest.raises(openai.AuthenticationError) as error,
        ):
            client.chat.completions.create(model=GPT, messages=_user("STATUS:401"))
        assert error.value.code == "invalid_api_key"


class TestResponses:
    @each_http_version
    def test_the_sdk_gets_an_answer(self, direct_clients: Clients, way: Way) -> None:
        with direct_clients.openai(way) as client:
            response = client.responses.create(model=GPT, input="hi TOKENS:10,20,30,5")
        assert response.output_text == ANSWER
        assert response.status == "completed"
        assert response.usage.input_tokens == 45
        assert response.usage.input_tokens_details.cached_tokens == 30
        assert response.usage.output_tokens == 20

    @each_http_version
    def test_the_sdks_stream_helper_accepts_every_event(
        self, direct_clients: Clients, way: Way
    ) -> None:
        with (
            direct_clients.openai(way) as client,
            client.responses.stream(
                model=GPT,
                tools=RESPONSES_TOOLS,
                input='THINK USE_TOOL:get_weather ARGS:{"city": "Oslo"}',
            ) as stream,
        ):
            events = list(stream)
            response = stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        reasoning, message, call = response.output
        assert reasoning.summary[0].text == THOUGHT
        assert message.content[0].text == "I will use get_weather."
        assert json.loads(call.arguments) == {"city": "Oslo"}
        assert response.usage.output_tokens_details.reasoning_tokens > 0

    async def test_the_asynchronous_sdk_streams(self, direct_clients: Clients) -> None:
        async with (
            direct_clients.async_openai(DIRECT[1]) as client,
            client.responses.stream(model=GPT, input="LONG:30") as stream,
        ):
            kinds = [event.type async for event in stream]
        assert kinds.count("response.output_text.delta") == 30

    def test_a_streamed_and_a_whole_response_are_the_same(self, direct_clients: Clients) -> None:
        asked: Any = {
            "model": GPT,
            "tools": RESPONSES_TOOLS,
            "input": "THINK PARALLEL USE_TOOL TOKENS:1,2,3,4",
        }
        with direct_clients.openai(CLIENT) as client:
            whole = client.responses.create(**asked)
            streamed = list(client.responses.create(**asked, stream=True))[-1].response
        assert _without_ids(streamed.to_dict()) == _without_ids(whole.to_dict())

    def test_after_a_tool_result_the_answer_contains_it(self, direct_clients: Clients) -> None:
        with direct_clients.openai(CLIENT) as client:
            first = client.responses.create(model=GPT, tools=RESPONSES_TOOLS, input="USE_TOOL")
            call = first.output[-1]
            result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "12"}
            second = client.responses.create(
                model=GPT,
                tools=RESPONSES_TOOLS,
                input=[
                    *_user("USE_TOOL"),
                    *(item.to_dict() for item in first.output),
                    result,
                ],
            )
        assert second.output_text == "The tool returned: 12"

    def test_a_free_form_tool_gets_text(self, direct_clients: Clients) -> None:
        with direct_clients.openai(CLIENT) as client:
            events = client.responses.create(
                model=GPT,
                tools=[{"type": "custom", "name": "apply_patch"}],
                input="USE_TOOL:apply_patch",
                stream=True,
            )
            last = list(events)[-1]
        call = last.response.output[-1]
        assert call.type == "custom_tool_call"
        assert call.input == "some text"

    def test_turns_of_calls_can_be_many(self, direct_clients: Clients) -> None:
        conversation = _user("USE_TOOL TURNS:3")
        calls = 0
        with direct_clients.openai(CLIENT) as client:
            while True:
                response = client.responses.create(
                    model=GPT, tools=RESPONSES_TOOLS, input=conversation
                )
                call = response.output[-1]
                if call.type != "function_call":
                    break
                calls += 1
                conversation += [item.to_dict() for item in response.output]
                conversation.append(
                    {"type": "function_call_output", "call_id": call.call_id, "output": str(calls)}
                )
        assert calls == 3
        assert response.output_text == "The tool returned: 3"

    def test_an_answer_may_stop_short(self, direct_clients: Clients) -> None:
        with direct_clients.openai(CLIENT) as client:
            response = client.responses.create(model=GPT, input="STOP_SHORT")
        assert response.status == "incomplete"


class TestCodings:
    @each_http_version
    @each_coding
    def test_the_sdk_reads_a_compressed_stream(
        self, direct_clients: Clients, way: Way, coding: str
    ) -> None:
        with (
            direct_clients.http_with_zstd(way) if coding == "zstd" else direct_clients.http(way)
        ) as http_client:
            client = direct_clients.anthropic(way, http_client=http_client)
            with client.messages.stream(
                model=MODEL, max_tokens=1, messages=_user(f"CODING:{coding}")
            ) as stream:
                assert stream.get_final_text() == ANSWER
            message = client.messages.create(
                model=MODEL, max_tokens=1, messages=_user(f"CODING:{coding}")
            )
        assert message.content[0].text == ANSWER

    @each_http_version
    @pytest.mark.parametrize("coding", ["identity", "gzip", "br"])
    def test_each_event_can_be_read_before_the_next_is_sent(
        self, direct_clients: Clients, provider: Any, way: Way, coding: str
    ) -> None:
        gate = provider.gate(name := f"standin_{way.http2}_{coding}")
        with _stream(direct_clients, way, f"GATE:{name} CODING:{coding}") as response:
            events = 0
            for _ in sse_events(response.iter_lines()):
                events += 1
                gate.release()
        assert events > 5
        assert response.headers.get("content-encoding", "identity") == coding


class TestServer:
    def test_requests_are_recorded_as_they_came(
        self, direct_clients: Clients, standin: Server
    ) -> None:
        body = b'{ "model":"m",  "messages":[] }'
        with direct_clients.http(CLIENT) as client:
            client.post(
                direct_clients.url(CLIENT, "anthropic", "/v1/messages?beta=true"),
                content=body,
                headers={"X-Mixed-Case": "1"},
            )
        request = standin.requests[-1]
        assert (request.method, request.target, request.body) == (
            "POST",
            "/v1/messages?beta=true",
            body,
        )
        assert ("X-Mixed-Case", "1") in request.headers
        assert request.http_version == "1.1"
        standin.wait_until(lambda: request.outcome == "answered")

    @each_http_version
    def test_large_bodies_pass_in_both_directions(self, start_standin: Any, way: Way) -> None:
        body = bytes(range(256)) * 8192

        async def echo(request: Request) -> Response:
            return Response(body=[request.body, b"!"])

        server = start_standin(echo, tls=way.http2)
        with httpx2.Client(verify=False, http2=way.http2) as client:
            answer = client.post(server.origin, content=body).content
        assert answer == body + b"!"

    @each_http_version
    @pytest.mark.parametrize("fault", [Reset(), EndEarly()], ids=repr)
    def test_faults_break_the_body_where_they_stand(
        self, start_standin: Any, way: Way, fault: Any
    ) -> None:
        gate = Gate()

        async def broken(request: Request) -> Response:
            return Response(body=[b"one", Wait(gate), fault, b"never"])

        server = start_standin(broken, tls=way.http2)
        with (
            httpx2.Client(verify=False, http2=way.http2) as client,
            client.stream("GET", server.origin) as response,
        ):
            chunks = response.iter_bytes()
            assert next(chunks) == b"one"
            gate.open()
            with pytest.raises(httpx2.TransportError):
                next(chunks)
        server.wait_until(lambda: server.requests[0].outcome == "broken")

    @each_http_version
    def test_a_client_that_leaves_is_noticed(self, start_standin: Any, way: Way) -> None:
        async def endless(request: Request) -> Response:
            return Response(body=[b"one", Wait(Gate())])

        server = start_standin(endless, tls=way.http2)
        with (
            httpx2.Client(verify=False, http2=way.http2) as client,
            client.stream("GET", server.origin) as response,
        ):
            assert next(response.iter_bytes()) == b"one"
        server.wait_until(lambda: server.requests[0].outcome == "abandoned")

    def test_the_command_prints_its_port_and_ends_on_sigterm(self, tmp_path: Path) -> None:
        scripts = Path(__file__).parents[2] / "scripts"
        process = subprocess.Popen(
            [sys.executable, "-m", "standin", "--tls", "--ca-dir", str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=scripts,
            text=True,
        )
        with process:
            try:
                where = json.loads(process.stdout.readline())
                clients = Clients(where["origin"], (Path(where["ca"]),))
                with clients.openai(Way("direct", http2=True)) as client:
                    assert client.responses.create(model=GPT, input="hi").output_text == ANSWER
            finally:
                process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def _stream(clients: Clients, way: Way, text: str) -> Any:
    client = clients.http(way)
    body = {"model": MODEL, "max_tokens": 1, "stream": True, "messages": _user(text)}
    url = clients.url(way, "anthropic", "/v1/messages")
    return _Closing(client, client.stream("POST", url, json=body))


class _Closing:
    """A streamed response together with its client."""

    def __init__(self, client: httpx2.Client, stream: Any) -> None:
        self._client = client
        self._stream = stream

    def __enter__(self) -> httpx2.Response:
        return self._stream.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)
        self._client.close()


def _without_ids(value: Any) -> Any:
    """Drop the ids, which differ, and what SDK helpers add."""
    if isinstance(value, dict):
        return {
            key: _without_ids(member)
            for key, member in value.items()
            if key not in ("id", "call_id", "parsed_output") and member is not None
        }
    if isinstance(value, list):
        return [_without_ids(member) for member in value]
    return value
