"""Rows of a large database: people at work over three months, with a realistic mix of requests."""

import json
import random
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path

from sqlite_utils import Database

from aibridge_addon.store.sqlite.database_file import transaction
from aibridge_addon.store.sqlite.schema import migrate

DAYS = 90
_BATCH = 20_000
_CLIENTS = {
    "Claude Code": ("anthropic", "anthropic_messages", ("claude-opus-4-8", "claude-haiku-4-5")),
    "Codex": ("openai", "openai_responses", ("gpt-5.2-codex", "gpt-5.2")),
    "OpenAI SDK": ("openrouter", "openai_chat", ("deepseek/deepseek-v4", "experimental-9")),
}
_STATUSES = ("completed", "failed", "cancelled", "refused", "interrupted")
_WEIGHTS = (930, 30, 30, 8, 2)
_KINDS = ("turn", "turn", "turn", "turn", "title", "subagent", "compaction")
_TOOLS = ("Read", "Bash", "Edit", "Grep", "mcp__github__search")
_RATES = {"claude-opus-4-8": 5000, "claude-haiku-4-5": 1000, "gpt-5.2-codex": 1750, "gpt-5.2": 1750}
_PROMPTS = ("Fix the failing test in the parser", "Why is the build red", "Add an option for that")

type Row = Mapping[str, object]
type Rows = dict[str, list[Row]]


def make(path: Path, count: int, actors: int = 200) -> None:
    """Create a database file with `count` interceptions."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        migrate(Database(connection))
        for rows in batches(count, actors):
            with transaction(connection):
                for table, found in rows.items():
                    _insert(connection, table, found)


def batches(count: int, actors: int = 200) -> Iterator[Rows]:
    """Yield the rows of `count` interceptions by table, some thousand interceptions at a time."""
    for batch in batched(_requests(count, actors), _BATCH, strict=False):
        rows: Rows = {}
        for request in batch:
            for table, row in request:
                rows.setdefault(table, []).append(row)
        yield rows


def _insert(connection: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    names = ", ".join(rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({values})", rows)


def _requests(count: int, actors: int) -> Iterator[list[tuple[str, Row]]]:
    """Yield the rows of each request, in the order of time: sessions of 40 requests on average."""
    draw = random.Random(1)
    begin = datetime.now(UTC) - timedelta(days=DAYS)
    sessions = {}
    for number in range(count):
        moment = begin + timedelta(days=DAYS) * ((number + draw.random()) / count)
        actor = min(int(draw.expovariate(5 / actors)), actors - 1)  # some work much more
        if actor not in sessions or draw.random() < 1 / 40:
            client = draw.choices(list(_CLIENTS), (6, 3, 1))[0]
            sessions[actor] = (client, f"{draw.getrandbits(64):016x}-{number:012x}")
        yield _rows(draw, number, moment, f"actor-{actor:03}", *sessions[actor])


def _rows(
    draw: random.Random, number: int, moment: datetime, actor: str, client: str, session: str
) -> list[tuple[str, Row]]:
    provider, api, models = _CLIENTS[client]
    model = draw.choices(models, (3, 1))[0]
    status = draw.choices(_STATUSES, _WEIGHTS)[0]
    started_at = moment.isoformat(timespec="microseconds")
    milliseconds = int(draw.lognormvariate(9, 1))
    ended_at = (moment + timedelta(milliseconds=milliseconds)).isoformat(timespec="microseconds")
    made_at = f"{int(moment.timestamp() * 1000):012x}"
    id_ = f"{made_at[:8]}-{made_at[8:]}-7000-8000-{number:012x}"
    team = f"team-{int(actor[-3:]) % 12}"
    interception = {
        "id": id_,
        "initiator_id": actor,
        "metadata": json.dumps({"team": team, "cost_center": f"c-{int(actor[-3:]) % 5}"}),
        "provider": "anthropic" if provider == "anthropic" else "openai",
        "provider_name": provider,
        "api": api,
        "model": model,
        "client": client,
        "user_agent": f"{client}/2.1 (external, cli)",
        "client_session_id": session,
        "credential_kind": "subscription" if actor.endswith("7") else "centralized",
        "credential_hint": "sk-a...wxyz",
        "streaming": 1,
        "started_at": started_at,
        "request_kind": draw.choice(_KINDS),
        "access_token_id": f"token-{actor}",
        "ended_at": ended_at,
        "status": status,
        "http_status": {"completed": 200, "failed": 529, "refused": 400}.get(status),
        "partial": 0,
        "ttft_ms": min(milliseconds, int(draw.lognormvariate(7, 0.6))),
    }
    child = {"interception_id": id_, "metadata": "{}", "created_at": ended_at}
    rows: list[tuple[str, Row]] = [("aibridge_interceptions", interception)]
    calls = 1 + (draw.random() < 0.2) if status == "completed" else 0
    usages = (_usage(draw, f"{id_}u{call}", child, model) for call in range(calls))
    rows += [("aibridge_token_usages", usage) for usage in usages]
    if draw.random() < 0.6:
        tool = {"id": f"{id_}t", **child, "tool": draw.choice(_TOOLS), "input": '{"path": "a.py"}'}
        rows.append(("aibridge_tool_usages", tool))
    if draw.random() < 0.1:
        prompt = {"id": f"{id_}p", **child, "prompt": draw.choice(_PROMPTS), "digest": id_}
        rows.append(("aibridge_user_prompts", prompt))
    return rows


def _usage(draw: random.Random, id_: str, child: Row, model: str) -> Row:
    counts = [draw.randint(*span) for span in ((3, 900), (9000, 90_000), (0, 4000), (20, 1500))]
    names = ("input", "cache_read_input", "cache_write_input", "output")
    tokens = {f"{name}_tokens": count for name, count in zip(names, counts, strict=True)}
    rate = _RATES.get(model)
    cost = rate and rate * (counts[0] + counts[1] // 10 + counts[2] * 5 // 4 + counts[3] * 5)
    uncached = rate and rate * (sum(counts[:3]) + counts[3] * 5)
    return {
        "id": id_,
        **child,
        **tokens,
        "model": f"{model}-20260101",
        "extra": "{}",
        "raw": json.dumps({"usage": tokens, "service_tier": "standard"}),
        "cost_nano_usd": cost,
        "uncached_cost_nano_usd": uncached,
        "price_source": f"genai-prices {model}" if cost else None,
        "unpriced_reason": None if cost else "no price is known",
    }
