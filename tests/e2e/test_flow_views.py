"""Flows as mitmdump prints and saves them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mitmproxy import http, io

from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy

ASKED = "Why is the sky blue? THINK TOKENS:900,60,100,0"


def saved_flows(path: Path) -> list[http.HTTPFlow]:
    with path.open("rb") as file:
        return [flow for flow in io.FlowReader(file).stream() if isinstance(flow, http.HTTPFlow)]


def ask(clients: Clients, asked: Iterable[str]) -> None:
    with clients.anthropic(Way("forward")) as client:
        for text in asked:
            with client.messages.stream(
                model="claude-opus-4-8",
                max_tokens=64,
                messages=[{"role": "user", "content": text}],
            ) as stream:
                stream.get_final_message()


def test_streamed_response_is_printed_as_its_message_and_saved_with_its_cost(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], tmp_path: Path
) -> None:
    path = tmp_path / "flows"
    proxy = start_proxy(options={"flow_detail": 3, "save_stream_file": path})
    ask(clients_of(proxy), [ASKED])
    proxy.stop()
    printed = [line.strip() for line in proxy.log]
    for line in (ASKED, "(thinking)", "tokens: 1,000 in (100 from cache) → 60 out"):
        assert line in printed
    assert any(line.startswith("cost: $0.00") for line in printed)
    assert not any(line.startswith("data: ") for line in printed)
    (flow,) = saved_flows(path)
    assert flow.comment.startswith("$0.00")
    assert " 1,000→60 " in flow.comment
    assert flow.metadata["aibridge_api"] == "anthropic_messages"


def test_bodies_of_streams_are_not_stored_where_nobody_sees_them(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], tmp_path: Path
) -> None:
    path = tmp_path / "flows"
    proxy = start_proxy(options={"flow_detail": 1, "save_stream_file": path})
    ask(clients_of(proxy), [ASKED])
    proxy.stop()
    (flow,) = saved_flows(path)
    assert flow.response
    assert flow.response.raw_content is None
