"""Bugs of ours after a request was admitted: it leaves no hold, no slot and no probe behind."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from exchange.test_undecided import open_socket, was_relayed
from store.doubles import rows
from test_addon import Running, ask, call, complaints, fail, flow_to, hook_of, started

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyparsing has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.proxy.layers.websocket import WebsocketEndHook

    from aibridge_addon.exchange.bridged import BridgedExchange
    from aibridge_addon.exchange.key_pools import KeyPools
    from aibridge_addon.exchange.policy_set import PolicySet
    from aibridge_addon.exchange.record_maker import RecordMaker
    from aibridge_addon.exchange.typed_prompts import TypedPrompts
    from aibridge_addon.exchange.websocket_intake import _SocketRequests
    from aibridge_addon.interception import InterceptionRecord

BUDGET = """
[[budgets]]
name = "b"
tokens = 1_000_000
credentials = ["byok"]
"""
RULES = f"""
{BUDGET}
[[limits]]
name = "one"
open_requests = 1

[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "https://api.anthropic.com"
circuit_breaker = true
"""
HTTP_STEPS = [
    (PolicySet, "_count"),
    (RecordMaker, "make"),
    (TypedPrompts, "new"),
    (InterceptionRecord, "begin"),
    (KeyPools, "note_sent"),
    (BridgedExchange, "__init__"),
]
SOCKET_STEPS = [
    (PolicySet, "_count"),
    (_SocketRequests, "_begun"),
    (RecordMaker, "make"),
    (TypedPrompts, "new"),
    (InterceptionRecord, "begin"),
]
REQUEST = b'{"type":"response.create","model":"gpt-5","input":"Hello","max_output_tokens":10}'


def options(tmp_path: Path, rules: str = RULES) -> dict[str, Any]:
    config = tmp_path / "aibridge.toml"
    config.write_text(rules)
    return {"aibridge_db": str(tmp_path / "db.sqlite3"), "aibridge_config": str(config)}


def held(tmp_path: Path) -> Sequence[object]:
    """Return what is held once the proxy has ended: it writes what it has in memory then."""
    return rows(tmp_path / "db.sqlite3", "budget_holds")


def charges(tmp_path: Path) -> list[object]:
    return [
        row["charge"] for row in rows(tmp_path / "db.sqlite3", "budget_entries") if row["charge"]
    ]


async def ask_once(running: Running) -> int:
    addon, tctx = running
    flow = flow_to()
    await ask(tctx, addon, flow)
    assert flow.response
    return flow.response.status_code


@pytest.mark.parametrize(("owner", "method"), HTTP_STEPS)
async def test_bug_between_admission_and_record_gives_back_what_a_request_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    async with started(**options(tmp_path)) as running:
        addon, tctx = running
        assert await ask_once(running) == 200
        for _ in range(2):  # the first is held in a transaction or in memory, and a slot is free
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, fail)
                flow = flow_to()
                await call(tctx, addon, hook_of("request", flow))
                assert flow.response
                assert "internal error" in (flow.response.text or "")
            assert await ask_once(running) == 200
        assert addon._components
        policies = addon._components._policies
        assert not policies._circuit_breakers._waiting
        assert not policies._budgets._unrecorded
    assert held(tmp_path) == []
    assert charges(tmp_path) == [8, 8, 8]
    interceptions = rows(tmp_path / "db.sqlite3", "interceptions")
    assert all(row["ended_at"] for row in interceptions)
    assert {row["status"] for row in interceptions} <= {"completed", "refused"}


async def test_request_that_passes_although_a_bug_left_it_unrecorded_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(**options(tmp_path, BUDGET + 'action = "warn"\n')) as running:
        monkeypatch.setattr(RecordMaker, "make", fail)
        assert await ask_once(running) == 200
    assert held(tmp_path) == []


@pytest.mark.parametrize(("owner", "method"), SOCKET_STEPS)
async def test_bug_between_admission_and_record_refuses_a_message_and_gives_back_what_it_took(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    method: str,
) -> None:
    async with started(**options(tmp_path)) as running:
        socket = await open_socket(running)
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, fail)
                assert not await was_relayed(running, socket, REQUEST)
        assert len(complaints(caplog)) == 2
        assert await was_relayed(running, socket, REQUEST), "the slot is free"
        addon, tctx = running
        assert socket.websocket
        socket.websocket.close_code, socket.websocket.closed_by_client = 1000, True
        await call(tctx, addon, WebsocketEndHook(socket))
    assert held(tmp_path) == []
    assert all(row["ended_at"] for row in rows(tmp_path / "db.sqlite3", "interceptions"))


async def test_message_that_a_bug_leaves_unread_is_refused_where_a_rule_could_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rules, passes in ((RULES, False), ("", True)):
        async with started(**options(tmp_path, rules)) as running:
            socket = await open_socket(running)
            with monkeypatch.context() as patch:
                patch.setattr(_SocketRequests, "edited", fail)
                assert await was_relayed(running, socket, b'{"type":"other"}') is passes
