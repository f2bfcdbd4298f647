"""Bugs of ours while a request is read: where a rule could refuse it, it must not pass."""

import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store.doubles import rows
from test_addon import Running, call, complaints, fail, flow_to, hook_of, metric, started

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyparsing has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.http import HTTPFlow, Response
    from mitmproxy.proxy.layers.websocket import WebsocketMessageHook
    from mitmproxy.websocket import WebSocketData, WebSocketMessage
    from wsproto.frame_protocol import Opcode

    from aibridge_addon.access.asked import Asked, Refusal
    from aibridge_addon.exchange.head_reader import HeadReader
    from aibridge_addon.exchange.intake import Intake
    from aibridge_addon.exchange.reception import Reception
    from aibridge_addon.exchange.websocket_intake import _SocketRequests

RULES = {
    "hard budget": '[[budgets]]\nname = "b"\nusd = 1\ncredentials = ["byok"]\n',
    "limit": '[[limits]]\nname = "l"\nrequests_per_minute = 9\n',
    "model rule": '[[model_rules]]\ndeny = ["x"]\n',
    "guardrail": f'[guardrails]\npolicies = ["{__name__}:Harmless"]\n',
}
NO_RULES = {
    "warning budget": '[[budgets]]\nname = "b"\nusd = 1\naction = "warn"\n',
    "alias": '[[model_rules]]\naliases = { a = "b" }\n',
    "none": "",
}
BUGS = [(HeadReader, "read"), (Intake, "_read"), (Reception, "_edit")]


class Harmless:
    """A guardrail that refuses nothing."""

    async def check(self, asked: Asked) -> Refusal | None:
        return None


@pytest.fixture
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    """Yield an addon with the rules of the test's parameter."""
    config = tmp_path / "aibridge.toml"
    config.write_text(request.param)
    database = str(tmp_path / "db.sqlite3")
    async with started(aibridge_db=database, aibridge_config=str(config)) as pair:
        yield pair


def went_up(flow: HTTPFlow) -> bool:
    return flow.response is None and flow.error is None


with_rules = pytest.mark.parametrize("running", RULES.values(), ids=RULES, indirect=True)
without_rules = pytest.mark.parametrize("running", NO_RULES.values(), ids=NO_RULES, indirect=True)
each_bug = pytest.mark.parametrize(("owner", "method"), BUGS)


@with_rules
@each_bug
async def test_bug_never_lets_a_request_pass_that_a_rule_could_refuse(
    running: Running,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
) -> None:
    addon, tctx = running
    monkeypatch.setattr(owner, method, fail)
    flow = flow_to()

    await call(tctx, addon, hook_of("request", flow))

    assert not went_up(flow)
    if flow.response:
        assert (flow.response.status_code, flow.response.headers["x-should-retry"]) == (
            400,
            "false",
        )
        assert "internal error" in (flow.response.text or "")
        labels = {"provider": "anthropic", "reason": "internal_error"}
        assert metric(addon, "aibridge_refused_total", labels) == 1
    assert len(complaints(caplog)) == 1


@without_rules
@each_bug
async def test_bug_lets_requests_pass_that_no_rule_could_refuse(
    running: Running, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    addon, tctx = running
    monkeypatch.setattr(owner, method, fail)
    flow = flow_to()

    await call(tctx, addon, hook_of("request", flow))

    assert went_up(flow)


@pytest.mark.parametrize("running", [RULES["hard budget"]], indirect=True)
async def test_refused_request_that_a_bug_left_unedited_holds_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    addon, tctx = running
    monkeypatch.setattr(Reception, "_edit", fail)
    flow = flow_to()
    for hook in ("request", "responseheaders", "response"):
        await call(tctx, addon, hook_of(hook, flow))
    (row,) = rows(tmp_path / "db.sqlite3", "interceptions")
    assert (row["status"], row["http_status"]) == ("failed", 400)
    assert not rows(tmp_path / "db.sqlite3", "budget_holds")


async def open_socket(running: Running) -> HTTPFlow:
    addon, tctx = running
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    flow = flow_to("api.openai.com", "/v1/responses", headers=upgrade, body=b"")
    flow.request.method = "GET"
    await call(tctx, addon, hook_of("request", flow))
    flow.response = Response.make(101)
    await call(tctx, addon, hook_of("responseheaders", flow))
    flow.websocket = WebSocketData()
    await call(tctx, addon, hook_of("response", flow))
    return flow


async def was_relayed(running: Running, flow: HTTPFlow, content: bytes) -> bool:
    addon, tctx = running
    assert flow.websocket
    message = WebSocketMessage(Opcode.TEXT, True, content)
    flow.websocket.messages.append(message)
    await call(tctx, addon, WebsocketMessageHook(flow))
    return not message.dropped


@pytest.mark.parametrize(
    ("running", "passes"), [(RULES["hard budget"], False), ("", True)], indirect=["running"]
)
async def test_bug_lets_a_message_pass_only_if_no_rule_could_refuse_it(
    running: Running,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    passes: bool,
) -> None:
    flow = await open_socket(running)
    assert await was_relayed(running, flow, b'{"type":"other"}')
    monkeypatch.setattr(_SocketRequests, "_decide", fail)
    asked = b'{"type":"response.create","model":"gpt-5"}'
    assert await was_relayed(running, flow, asked) is passes
    assert len(complaints(caplog)) == 1
