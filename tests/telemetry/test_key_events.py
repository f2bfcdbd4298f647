"""Alerts of central keys and circuit breakers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aibridge_addon.telemetry.alerts.event import EVENT_TYPES, Event
from aibridge_addon.telemetry.alerts.outbox import Outbox
from aibridge_addon.telemetry.outputs import Outputs


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Outputs, list[Event]]:
    outputs = Outputs(
        otel=False,
        redact=None,
        is_recording=lambda: True,
        on_alert=lambda kind, outcome: None,
        outbox=Outbox(tmp_path),
    )
    events: list[Event] = []
    monkeypatch.setattr(outputs._alerts, "publish", events.append)
    return outputs, events


@pytest.mark.parametrize(
    ("report", "kind", "text"),
    [
        (
            lambda to: to.report_set_aside("acme", "KEY_1", "credential (HTTP 401)"),
            "key_set_aside",
            "the key KEY_1 of acme is out of use: credential (HTTP 401).",
        ),
        (
            lambda to: to.report_back("acme", "KEY_1"),
            "key_back",
            "the key KEY_1 of acme is in use again.",
        ),
        (
            lambda to: to.report_circuit("acme", "/v1/messages", "claude", 2),
            "circuit_open",
            "acme is out of order for claude at /v1/messages; its requests are stopped.",
        ),
    ],
    ids=["set aside", "back", "breaker"],
)
def test_event_names_the_key_or_model_in_a_sentence(
    published: tuple[Outputs, list[Event]],
    report: Callable[[Outputs], None],
    kind: str,
    text: str,
) -> None:
    outputs, events = published
    report(outputs)
    [event] = events
    assert (event.type, event.text) == (kind, text)
    assert event.type in EVENT_TYPES
    assert json.loads(event.body())["figures"]["provider"] == "acme"
