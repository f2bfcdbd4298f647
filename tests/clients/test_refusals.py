"""Refusals by budgets and limits, as real clients show them, and how many requests they send."""

import json
from collections.abc import Iterator

import pytest
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from standin import Server

from clients.asking import claude, codex, opencode
from clients.conftest import MakeDesk, config_of
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])

SPENT = """
[[budgets]]
name = "day"
tokens = 1
credentials = ["byok", "centralized", "subscription"]
timezone = "UTC"
"""
TEXT = "this request may cost more than all of budget 'day'"


@pytest.fixture(scope="module")
def spent_proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """A proxy whose budget has no room."""
    with run_proxy(standin.origin, config=config_of(standin.origin) + SPENT) as shared:
        yield shared


@pytest.fixture(scope="module")
def denying_proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """A proxy that allows no model."""
    denied = '[[model_rules]]\ndeny = ["*"]\n'
    with run_proxy(standin.origin, config=config_of(standin.origin) + denied) as shared:
        yield shared


@pytest.fixture
def spent_desk(spent_proxy: Proxy, make_desk: MakeDesk) -> Desk:
    """A desk by the proxy without room."""
    return make_desk(spent_proxy)


@each_mode
def test_claude_code_shows_a_spent_budget_and_stops_at_once(spent_desk: Desk, mode: Mode) -> None:
    with spent_desk.proxy.recording() as records:
        ran, output = claude(
            spent_desk,
            "-p",
            "hello",
            mode=mode,
            env={
                "ANTHROPIC_API_KEY": "sk-ant-api03-0123456789abcdefghij",
                "CLAUDE_CODE_MAX_RETRIES": "10",
            },
        )
    assert TEXT in json.dumps(output), ran.out
    turns = [row for row in records.interceptions if row["request_kind"] == "turn"]
    assert {row["error_type"] for row in turns} == {"budget_exceeded"}
    assert len(turns) == 1


@each_mode
def test_claude_code_shows_a_denied_model_and_stops_at_once(
    denying_proxy: Proxy, make_desk: MakeDesk, mode: Mode
) -> None:
    desk = make_desk(denying_proxy)
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", "hello", mode=mode)
    assert "is not allowed for anonymous" in json.dumps(output), ran.out
    kinds = [row["request_kind"] for row in records.interceptions]
    assert kinds.count("turn") == 1, kinds


@each_mode
def test_opencode_shows_a_spent_budget_and_stops_at_once(spent_desk: Desk, mode: Mode) -> None:
    with spent_desk.proxy.recording() as records:
        ran = opencode(spent_desk, "anthropic/claude-sonnet-4-5", "hello", mode=mode)
    assert TEXT in ran.out + ran.err
    kinds = [row["request_kind"] for row in records.interceptions]
    assert kinds.count("turn") == 1, kinds


@each_mode
def test_codex_shows_a_spent_budget_and_stops_at_once(spent_desk: Desk, mode: Mode) -> None:
    with spent_desk.proxy.recording() as records:
        ran, events = codex(spent_desk, "hello", mode=mode)
    assert TEXT in json.dumps(events), ran.out
    kinds = [row["request_kind"] for row in records.interceptions]
    assert kinds.count("turn") == 1, kinds
