"""Traces over OTLP/HTTP: a proxy exports to a real receiver, in the background."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from standin import Provider, Server

from e2e.asking import APIS
from e2e.central import FORWARD, SUM, Central, ToolServer, wait_for_servers
from e2e.clients import ANTHROPIC_KEY, Clients
from e2e.conftest import StartProxy
from e2e.otlp import Receiver, attributes_of
from e2e.proxy import Proxy, config_toml
from e2e.tables import server_toml

MESSAGES, CHAT, _ = APIS
SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"


def usage_of(spans: list[Any], kind: str) -> list[int]:
    return [
        attributes_of(span)[f"gen_ai.usage.{kind}_tokens"]
        for span in spans
        if span.name.startswith("chat ")
    ]


def test_inner_loop_is_exported_with_its_usage_on_upstream_requests(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    provider: Provider,
    tool_server: ToolServer,
) -> None:
    with Receiver() as receiver:
        proxy = start_proxy(
            config=config_toml(standin.origin)
            + server_toml("calc", url=tool_server.url, allow="^add$"),
            options={
                "aibridge_otel": True,
                "aibridge_otel_content": True,
                "aibridge_capture": "all",
            },
            env={
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
                "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer collector",
                "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
                "HTTPS_PROXY": "http://127.0.0.1:1",
                "HTTP_PROXY": "http://127.0.0.1:1",
            },
        )
        wait_for_servers(proxy, "calc")
        central = Central(proxy, clients_of(proxy), provider, standin)
        with proxy.recording() as records:
            central.see(MESSAGES, FORWARD, f"{SUM} TOKENS:10,2,3,4 {SECRET}", stream=True)
        assert proxy.stop() == 0
        spans = receiver.wait(lambda found: len(found) >= 4)

    names = sorted(span.name for span in spans)
    model = MESSAGES.model
    assert names == [
        *(f"chat {model}", f"chat {model}", "execute_tool add", f"interception {model}")
    ]
    [root] = [span for span in spans if not span.parent_span_id]
    assert str(uuid.UUID(bytes=root.trace_id)) == records.interception["id"]
    assert {span.trace_id for span in spans} == {root.trace_id}
    rows = records.token_usages
    assert sum(usage_of(spans, "output")) == sum(row["output_tokens"] for row in rows)
    assert sum(usage_of(spans, "input")) == sum(
        row["input_tokens"] + row["cache_read_input_tokens"] + row["cache_write_input_tokens"]
        for row in rows
    )
    assert not any("gen_ai.usage" in name for name in attributes_of(root))
    [resource] = receiver.resources
    assert resource["service.name"] == "aibridge"
    assert resource["deployment.environment.name"] == "tests"
    for chat in (span for span in spans if span.name.startswith("chat ")):
        messages = attributes_of(chat)
        assert SUM.split()[0] in messages["gen_ai.input.messages"]
        assert "assistant" in messages["gen_ai.output.messages"]
    everything = "".join(map(str, spans))
    assert SECRET not in everything
    assert ANTHROPIC_KEY not in everything
    assert "Bearer collector" in receiver.headers[0].values()


@pytest.mark.may_log_errors
def test_endpoint_that_is_away_affects_no_request(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(
        options={"aibridge_otel": True},
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    )

    with proxy.recording() as records:
        assert CHAT.ask(clients_of(proxy), FORWARD, "Hello").text

    assert records.interception["status"] == "completed"
    assert proxy.stop() == 0
