"""Sessions of agents are not refused while there is money: large limits, history, images."""

import base64
import json
import os
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from sqlite_utils import Database

from aibridge_addon.budgets.book import BudgetedCall
from aibridge_addon.budgets.budget import Budget, HoldRule
from aibridge_addon.budgets.call import Call, Calls, estimate
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.config.settings import default_settings
from aibridge_addon.facts import Interception, TokenUsage, new_id, now
from aibridge_addon.prices.billed_call import billed_call
from aibridge_addon.prices.pricing import Priced
from aibridge_addon.store.sql.budgets import SQLBudgets
from aibridge_addon.store.sqlite import schema

MODEL = "claude-opus-4-5"
TURNS = 30
SYSTEM_TOKENS = 15_000
TURN_TOKENS = 1_800
"""Tokens that a turn adds: results of tools."""
OUTPUT_TOKENS = 500
IMAGE_TOKENS = 1_600


def body(turn: int) -> bytes:
    """Return a request with the history of all turns before; every tenth turn has an image."""
    messages = []
    for number in range(turn + 1):
        content: list[object] = [{"type": "text", "text": "word " * TURN_TOKENS}]
        if number % 10 == 9:
            data = base64.b64encode(os.urandom(400_000)).decode()
            source = {"type": "base64", "media_type": "image/png", "data": data}
            content.append({"type": "image", "source": source})
        content[-1] |= {"cache_control": {"type": "ephemeral"}}  # type: ignore[operator]
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": "word " * OUTPUT_TOKENS})
    request = {
        "model": MODEL,
        "max_tokens": 64_000,
        "system": "word " * SYSTEM_TOKENS,
        "messages": messages[:-1],
    }
    return json.dumps(request).encode()


def interception(session: int) -> Interception:
    """Return the start of a request of a session."""
    return Interception(
        id=new_id(),
        initiator_id="alice",
        metadata={},
        provider="anthropic",
        provider_name="anthropic",
        api="anthropic_messages",
        route="/v1/messages",
        method="POST",
        model=MODEL,
        client="Claude Code",
        user_agent=None,
        client_session_id=f"session {session}",
        request_kind="turn",
        prompt_id=None,
        agent_id=None,
        correlating_tool_call_id=None,
        credential_kind="centralized",
        credential_hint=None,
        streaming=True,
        started_at=now(),
    )


def usage_of(start: Interception, turn: int) -> TokenUsage:
    """Return the usage that the provider reports: the history is read from the cache."""
    images = IMAGE_TOKENS * ((turn + 1) // 10)
    cached = SYSTEM_TOKENS + turn * (TURN_TOKENS + OUTPUT_TOKENS) + images if turn else 0
    new = TURN_TOKENS + (0 if turn else SYSTEM_TOKENS)
    return TokenUsage(
        id=new_id(),
        interception=start,
        provider_response_id=None,
        model=MODEL,
        input_tokens=10,
        output_tokens=OUTPUT_TOKENS,
        cache_read_input_tokens=cached,
        cache_write_input_tokens=new,
        extra={},
        raw={},
        created_at=now(),
    )


class Session:
    """Sessions of one person side by side, against one budget."""

    def __init__(self, limit_usd: float, hold: HoldRule) -> None:
        self.db = Database(memory=True)
        schema.migrate(self.db)
        self.ledger = SQLBudgets("one", lambda: datetime(2026, 11, 28, 12, tzinfo=UTC))
        window = WindowRule(name="day", zone=ZoneInfo("UTC"))
        limit = int(limit_usd * 10**9)
        self.budget = Budget(
            name="day", per="actor", unit="usd", limit=limit, window=window, hold=hold
        )
        self.calls = Calls()
        self.price = default_settings().prices.price

    def begin(self, session: int, content: bytes) -> Interception:
        """Admit a request; fail if it is refused."""
        start = interception(session)
        call: Call = self.calls.read(start, MODEL, content, 64_000)

        budgeted = BudgetedCall(
            interception_id=start.id,
            scopes=((self.budget, "alice"),),
            estimate=partial(estimate, call, price=self.price),
        )
        assert self.ledger.admit(self.db.conn, budgeted) is None
        return start

    def end(self, usage: TokenUsage) -> None:
        """Record and settle a response."""
        self.calls.on_usage(usage)
        priced = self.price(billed_call(usage))
        assert isinstance(priced, Priced)
        self.db.execute(
            "INSERT INTO aibridge_interceptions (id, initiator_id, metadata, provider,"
            " provider_name, api, started_at, ended_at, status, http_status)"
            " VALUES (?, 'alice', '{}', '', '', '', '', '', 'completed', 200)",
            (usage.interception.id,),
        )
        self.db.execute(
            "INSERT INTO aibridge_token_usages (id, interception_id, created_at, cost_nano_usd)"
            " VALUES (?, ?, '', ?)",
            (usage.id, usage.interception.id, priced.cost_nano_usd),
        )
        self.ledger.settle(self.db.conn, [usage.interception.id])

    @property
    def spent(self) -> float:
        """The spent amount in US dollars."""
        return self._usd("SELECT sum(spent) FROM aibridge_budget_counters")

    @property
    def held(self) -> float:
        """The amount that requests in flight hold, in US dollars."""
        return self._usd("SELECT sum(amount) FROM aibridge_budget_holds")

    def _usd(self, query: str) -> float:
        return float(self.db.execute(query).fetchone()[0] or 0) / 10**9


@pytest.mark.parametrize(
    ("sessions", "limit_usd", "hold"),
    [(1, 1.65, "worst"), (1, 1.65, "likely"), (4, 20, "worst"), (4, 6.6, "likely")],
)
def test_session_that_allows_large_outputs_is_not_refused_while_there_is_money(
    sessions: int, limit_usd: float, hold: HoldRule
) -> None:
    """With `pytest -s`, it prints what is held and spent over time."""
    subject = Session(limit_usd, hold)
    print(f"\n{sessions} sessions, hold = {hold}, limit ${limit_usd}\nturn    held   spent")
    for turn in range(TURNS):
        content, before = body(turn), subject.spent
        started = [subject.begin(session, content) for session in range(sessions)]
        held = subject.held
        assert held <= limit_usd - before + 1e-9
        for start in started:
            subject.end(usage_of(start, turn))
        print(f"{turn + 1:>4} {held:>7.3f} {subject.spent:>7.3f}")
    assert subject.held == 0
    assert 1.5 * sessions < subject.spent < limit_usd
    subject.db.conn.close()
