"""Budgets and guardrails in the inner loop: each of its requests is decided and charged."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from standin import Server

from e2e.asking import API, APIS
from e2e.central import FORWARD, SUM, Central, ToolServer
from e2e.proxies import RunProxy
from e2e.proxy import Proxy

MESSAGES, CHAT, RESPONSES = APIS
GUARDRAIL = """
from aibridge_addon.access.asked import Asked, Refusal


RESULTS = (b"tool_result", b'"role":"tool"', b"function_call_output")


class NoSums:
    async def check(self, asked: Asked) -> Refusal | None:
        body = asked.content() or b""
        if b"nothing of the sum" in body and any(mark in body for mark in RESULTS):
            return Refusal(status=400, reason="secret", message="dlp: keep the sum.")
        return None
"""
CONFIG = """
[[budgets]]
name = "loop"
actors = ["loop-*"]
tokens = 1_500
credentials = ["byok"]
wait_s = 60

[guardrails]
policies = ["guardrail_of_the_tests:NoSums"]
"""


@pytest.fixture(scope="module")
def proxy(
    run_proxy: RunProxy,
    standin: Server,
    tool_server: ToolServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """Run a proxy with tools, a budget and a guardrail."""
    folder = tmp_path_factory.mktemp("guardrails")
    (folder / "guardrail_of_the_tests.py").write_text(GUARDRAIL)
    servers = {"calc": {"url": tool_server.url, "allow": "^(add|echo)$"}}
    with run_proxy(
        standin.origin, servers=servers, more_config=CONFIG, env={"PYTHONPATH": str(folder)}
    ) as made:
        yield made


def charges(proxy: Proxy, interception_id: str) -> list[tuple[int, str]]:
    """Return the charges of an interception, and assert that it holds nothing."""
    with closing(sqlite3.connect(proxy.database)) as connection:
        query = "SELECT charge, how FROM aibridge_budget_entries WHERE interception_id = ?"
        found = connection.execute(f"{query} ORDER BY created_at", (interception_id,)).fetchall()
        holds = "SELECT count(*) FROM aibridge_budget_holds WHERE interception_id = ?"
        assert connection.execute(holds, (interception_id,)).fetchone() == (0,)
    return found


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_loop_whose_requests_could_cost_more_than_the_budget_together_is_charged_what_it_used(
    central: Central, api: API, stream: bool
) -> None:
    prompt = f"TOKENS:10,2,0,0 {SUM} NEXT TOKENS:20,3,0,0 {SUM} NEXT TOKENS:30,4,0,0"
    member = "max_output_tokens" if api is RESPONSES else "max_tokens"
    headers = {"X-AIBridge-Actor": f"loop-{api}-{stream}"}
    with central.proxy.recording() as records:
        central.see(api, FORWARD, prompt, stream=stream, members={member: 800}, headers=headers)
    assert len(central.requests) == 3
    found = charges(central.proxy, records.interception["id"])
    assert sum(charge for charge, _ in found) == 10 + 2 + 20 + 3 + 30 + 4
    assert {how for _, how in found} == {"told"}


@pytest.mark.parametrize("api", APIS, ids=str)
def test_guardrail_refuses_the_result_of_a_tool_on_its_way_to_the_provider(
    central: Central, api: API
) -> None:
    prompt = f"{SUM} NEXT nothing of the sum may go up"
    with central.proxy.recording() as records:
        seen = central.post(api, FORWARD, prompt)
    assert len(central.requests) == 1
    assert (seen.status, "dlp: keep the sum." in seen.raw.decode()) == (400, True)
    row = records.interception
    assert (row["status"], row["error_type"]) == ("failed", "secret")


@pytest.mark.parametrize("api", APIS, ids=str)
def test_spent_budget_refuses_the_follow_up_request_of_a_loop(central: Central, api: API) -> None:
    prompt = f"TOKENS:9000,2,0,0 {SUM}"
    headers = {"X-AIBridge-Actor": f"loop-spent-{api}"}
    with central.proxy.recording() as records:
        seen = central.post(api, FORWARD, prompt, headers=headers)
    assert len(central.requests) == 1
    assert (seen.status, "budget 'loop' is spent" in seen.raw.decode()) == (400, True)
    assert charges(central.proxy, records.interception["id"]) == [(9002, "told")]


@pytest.mark.parametrize(
    ("agent", "error_type"),
    [("claude-cli/2.1.332 (external, cli)", "billing_error"), ("me/1.0", "invalid_request_error")],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_follow_up_of_a_loop_is_refused_by_the_error_at_which_its_client_stops(
    central: Central, agent: str, error_type: str, stream: bool
) -> None:
    prompt = f"TOKENS:9000,2,0,0 {SUM}"
    headers = {"X-AIBridge-Actor": f"loop-{error_type}-{stream}", "user-agent": agent}
    seen = central.post(MESSAGES, FORWARD, prompt, stream=stream, headers=headers)
    assert len(central.requests) == 1
    text = seen.raw.decode().rpartition("data: ")[2] if stream else seen.raw.decode()
    error = json.loads(text)["error"]
    assert (error["type"], "budget 'loop' is spent" in error["message"]) == (error_type, True)
