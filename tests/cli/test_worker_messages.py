"""Messages between the supervisor and its workers."""

from dataclasses import asdict

import pytest

from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.workers.messages import (
    Assignment,
    Message,
    Report,
    read_assignment,
    read_message,
)
from aibridge_addon.observe.announcement import from_json
from aibridge_addon.observe.health import Health, read_health

PROXY = from_json(
    {
        "pid": 7,
        "forward_url": "http://127.0.0.1:1",
        "reverse_url": None,
        "ca": "/ca",
        "database": "/db",
        "config": "",
        "metrics_url": None,
        "hosts": ["a.test"],
        "plain_hosts": [],
        "started_at": "2026-01-01T00:00:00+00:00",
    }
)
REPORT = Report(metrics="# HELP a b\na 1.0\n", health="{}", open_requests=3)


def test_assignment_survives_its_line() -> None:
    plan = Plan(modes=("regular@127.0.0.1:1",), sets=("a=b",), flags={"x": True}, drain_s=2.5)
    given = Assignment(
        plan=plan,
        descriptors={("127.0.0.1", 1): 5, ("::1", 2): 6},
        counts=7,
        slot=3,
        log_format="json",
        verbose=True,
    )
    assert read_assignment(given.as_line()) == given


@pytest.mark.parametrize(
    "message", [Message(up=PROXY), Message(changed=PROXY), Message(report=REPORT)]
)
def test_message_survives_its_line(message: Message) -> None:
    assert asdict(read_message(message.as_line().encode())) == asdict(message)


def test_health_of_all_is_the_worst_of_each() -> None:
    ok = Health(database="ok", mcp_servers={"a": "up", "b": "down"})
    away = Health(database="away", mcp_servers={"a": "down", "b": "up"}, prices="old")
    assert Health.of_all([ok, away]) == Health(
        database="away", mcp_servers={"a": "down", "b": "down"}, prices="old"
    )
    assert Health.of_all([]).database == "unknown"
    assert read_health(away.as_json()) == away
