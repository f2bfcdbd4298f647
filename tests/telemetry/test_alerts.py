"""Alerts: detection of events, signed webhooks, and bounded retries."""

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from store.doubles import ended, started

from aibridge_addon.facts import InterceptionEnded, Status
from aibridge_addon.telemetry.alerts import alerts as alerts_module
from aibridge_addon.telemetry.alerts import sender as sender_module
from aibridge_addon.telemetry.alerts.actor_watch import ActorWatch
from aibridge_addon.telemetry.alerts.alerts import Alerts
from aibridge_addon.telemetry.alerts.event import EVENT_TYPES, Event, EventType
from aibridge_addon.telemetry.alerts.outbox import KEEP_SECONDS, Outbox
from aibridge_addon.telemetry.alerts.provider_watch import (
    DOWN_AFTER,
    FORGET_SECONDS,
    ProviderWatch,
)
from aibridge_addon.telemetry.alerts.record_watch import AWAY_SECONDS, RecordWatch
from aibridge_addon.telemetry.alerts.sender import MAX_WAITING, WebhookSender
from aibridge_addon.telemetry.alerts.webhook import SIGNATURE, Webhook, sign


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def outcome(
    status: int | None, *, how: Status = Status.FAILED, provider: str = "acme"
) -> InterceptionEnded:
    interception = started(provider_name=provider)
    return ended(interception, status=how, http_status=status, error_message="secret prompt")


def served(status: int = 200, how: Status = Status.COMPLETED) -> InterceptionEnded:
    return outcome(status, how=how)


def watch(clock: Clock | None = None) -> tuple[ProviderWatch, list[Event]]:
    events: list[Event] = []
    return ProviderWatch(events.append, clock or Clock()), events


def note(subject: ProviderWatch, ends: Iterable[InterceptionEnded]) -> None:
    for end in ends:
        subject.note(end)


@pytest.mark.parametrize("status", [502, 503, 504, 529, None])
def test_provider_is_down_after_failures_in_a_row(status: int | None) -> None:
    subject, events = watch()

    note(subject, [outcome(status)] * (DOWN_AFTER - 1))
    assert events == []
    note(subject, [outcome(status)] * 3)

    [event] = events
    assert event.type == "provider_down"
    assert event.figures["provider"] == "acme"
    assert event.figures["failures"] == DOWN_AFTER
    assert event.figures["http_status"] == status
    assert "secret" not in event.body().decode()


def test_provider_is_up_at_the_first_response() -> None:
    clock = Clock()
    subject, events = watch(clock)
    note(subject, [outcome(503)] * DOWN_AFTER)
    clock.now += 90

    note(subject, [served(), served()])

    assert [event.type for event in events] == ["provider_down", "provider_up"]
    assert events[1].figures["seconds"] == 90


@pytest.mark.parametrize(
    "neutral",
    [
        outcome(400),
        outcome(429),
        outcome(500),
        outcome(None, how=Status.CANCELLED),
        outcome(403, how=Status.REFUSED),
        outcome(503, how=Status.REFUSED),
        outcome(None, how=Status.INTERRUPTED),
        outcome(503, provider="other"),
    ],
    ids=lambda end: f"{end.status}-{end.http_status}-{end.interception.provider_name}",
)
def test_other_outcomes_say_nothing_about_a_provider(neutral: InterceptionEnded) -> None:
    subject, events = watch()

    note(subject, [outcome(503)] * (DOWN_AFTER - 1))
    note(subject, [neutral] * (DOWN_AFTER - 1))
    assert events == []
    note(subject, [outcome(503)])

    assert [event.type for event in events] == ["provider_down"]


def test_success_ends_a_row_of_failures() -> None:
    subject, events = watch()

    for _ in range(3):
        note(subject, [*[outcome(503)] * (DOWN_AFTER - 1), served(how=Status.CANCELLED)])

    assert events == []


def test_old_failures_are_forgotten() -> None:
    clock = Clock()
    subject, events = watch(clock)

    for _ in range(3 * DOWN_AFTER):
        clock.now += FORGET_SECONDS + 1
        note(subject, [outcome(503)])

    assert events == []


def test_record_that_is_away_is_reported_once_and_so_is_its_return() -> None:
    clock, events = Clock(), list[Event]()
    subject = RecordWatch(events.append, clock)

    for _ in range(4):
        subject.note(available=False)
        clock.now += AWAY_SECONDS
    subject.note(available=True)
    subject.note(available=True)

    assert [event.type for event in events] == ["record_away", "record_back"]
    assert events[1].figures["seconds"] == 4 * AWAY_SECONDS


def test_short_absence_of_the_record_is_no_event() -> None:
    clock, events = Clock(), list[Event]()
    subject = RecordWatch(events.append, clock)

    for _ in range(3):
        subject.note(available=False)
        clock.now += AWAY_SECONDS / 2
        subject.note(available=True)

    assert events == []


def test_body_has_text_id_type_time_and_figures() -> None:
    event = Event(type="provider_down", text="acme is down.", figures={"failures": 5})

    body = json.loads(event.body())

    assert next(iter(body)) == "text"
    assert body == {
        "text": "aibridge: acme is down.",
        "id": event.id,
        "type": "provider_down",
        "at": event.at,
        "figures": {"failures": 5},
    }
    assert datetime.fromisoformat(body["at"]).tzinfo is not None


def test_signature_covers_time_and_body() -> None:
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()

    assert sign("key", b'{"a":1}', 1_700_000_000) == f"t=1700000000,v1={expected}"
    hook = webhook()
    assert SIGNATURE not in hook.headers(b"{}", 1)
    signed = Webhook(url=hook.url, secret="key", events=hook.events)
    assert signed.headers(b"{}", 1)[SIGNATURE] == sign("key", b"{}", 1)
    assert "key" not in repr(signed)
    assert "T000" not in repr(signed)


def webhook(events: Iterable[EventType] = EVENT_TYPES) -> Webhook:
    return Webhook(url="https://hooks.example.com/T000", events=frozenset(events))


class Endpoint:
    """Answers posts with given statuses, the last one for ever; None: no response."""

    def __init__(self, *statuses: int | None) -> None:
        self._statuses = list(statuses)
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, webhook: Webhook, body: bytes, timestamp: int) -> int:
        self.bodies.append(json.loads(body))
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status is None:
            raise OSError("no route")
        return status


def event(type_: EventType = "provider_down") -> Event:
    return Event(type=type_, text="x")


class Outcomes(list[tuple[str, str]]):
    """Outcomes that a sender reports, and its outbox."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self.outbox = outbox
        self.retried = 0


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "alerts")


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> Outcomes:
    """Return no outcomes yet; delays are so short that tests do not wait."""
    monkeypatch.setattr(sender_module, "FIRST_DELAY", 1e-6)
    return Outcomes(outbox)


async def send(
    endpoint: Endpoint, outcomes: Outcomes, *events: Event, hook: Webhook | None = None
) -> list[str]:
    """Send events; return their outcomes once each has one."""
    all_finished = asyncio.Event()

    def finish(type_: str, result: str) -> None:
        if result == "retried":
            outcomes.retried += 1
            return
        outcomes.append((type_, result))
        if len(outcomes) == len(events):
            all_finished.set()

    sender = WebhookSender(hook or webhook(), endpoint, finish, outcomes.outbox)
    for each in events:
        sender.put(each)
    await asyncio.wait_for(all_finished.wait(), 20)
    sender.cancel()
    return [result for _, result in outcomes]


@pytest.mark.parametrize("failure", [None, 500, 503, 429, 408])
async def test_failed_attempt_is_repeated_with_the_same_id(
    outcomes: Outcomes, failure: int | None
) -> None:
    endpoint = Endpoint(failure, failure, 204)

    assert await send(endpoint, outcomes, event()) == ["sent"]
    assert len(endpoint.bodies) == 3
    assert outcomes.retried == 2
    assert len({body["id"] for body in endpoint.bodies}) == 1


@pytest.mark.parametrize("status", [302, 400, 403, 404])
async def test_rejected_event_is_not_repeated(outcomes: Outcomes, status: int) -> None:
    endpoint = Endpoint(status)

    assert await send(endpoint, outcomes, event(), event()) == ["rejected", "rejected"]
    assert len(endpoint.bodies) == 2


async def test_retries_end_after_a_day(outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "GIVE_UP_SECONDS", 1e-5)

    assert await send(Endpoint(None), outcomes, event()) == ["failed"]


def test_delays_grow_to_an_hour_within_a_day() -> None:
    delays = list(sender_module._delays())

    assert delays[:3] == [1, 2, 4]
    assert max(delays) == 3600
    assert sum(delays) - delays[-1] < 86_400 <= sum(delays)


async def test_events_of_other_types_are_not_sent(outcomes: Outcomes) -> None:
    endpoint = Endpoint(200)
    sender = WebhookSender(webhook(["record_away"]), endpoint, lambda *_: None, outcomes.outbox)
    sender.put(event("provider_down"))
    sender.cancel()

    await send(endpoint, outcomes, event("record_away"), hook=webhook(["record_away"]))

    assert [body["type"] for body in endpoint.bodies] == ["record_away"]


async def test_waiting_events_are_bounded(outbox: Outbox) -> None:
    found: list[str] = []
    sender = WebhookSender(
        webhook(), Endpoint(None), lambda _, result: found.append(result), outbox
    )

    for _ in range(MAX_WAITING + 3):
        sender.put(event())

    assert found == ["dropped"] * 3
    sender.cancel()


async def test_alerts_report_the_record_and_follow_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
    outbox: Outbox,
) -> None:
    monkeypatch.setattr(alerts_module, "CHECK_SECONDS", 1e-4)
    monkeypatch.setattr("aibridge_addon.telemetry.alerts.record_watch.AWAY_SECONDS", 0)
    endpoint, sent = Endpoint(200), asyncio.Event()
    subject = Alerts(is_recording=lambda: False, on_outcome=lambda *_: sent.set(), outbox=outbox)
    subject._post = endpoint

    subject.apply([webhook()])
    await asyncio.wait_for(sent.wait(), 20)
    assert [body["type"] for body in endpoint.bodies] == ["record_away"]

    subject.apply([])
    subject.publish(event())
    subject.close()
    assert len(endpoint.bodies) == 1


def test_without_webhooks_nothing_is_checked(outbox: Outbox) -> None:
    subject = Alerts(
        is_recording=lambda: pytest.fail("not asked"),
        on_outcome=lambda *_: None,
        outbox=outbox,
        has_earlier=lambda *_: pytest.fail("not asked"),
    )
    handler: Callable[[Any], None] = subject.handlers[InterceptionEnded]

    subject.apply([])
    for _ in range(DOWN_AFTER):
        handler(outcome(503))
    subject.close()


async def test_events_that_wait_are_sent_after_a_restart_with_the_same_id(
    outcomes: Outcomes, outbox: Outbox
) -> None:
    before = WebhookSender(webhook(), Endpoint(None), lambda *_: None, outbox)
    waiting = [event(), Event(type="budget_warning", text="y", figures={"spent": 3})]
    for each in waiting:
        before.put(each)
    before.cancel()
    assert outbox.waiting(webhook().url) == waiting
    assert outbox.waiting("https://other.example") == []

    endpoint, arrived = Endpoint(200), asyncio.Event()
    left = [1, 1]

    def finish(*_: str) -> None:
        left.pop()
        if not left:
            arrived.set()

    after = WebhookSender(webhook(), endpoint, finish, outbox)
    await asyncio.wait_for(arrived.wait(), 20)
    after.cancel()

    assert endpoint.bodies == [json.loads(each.body()) for each in waiting]
    assert outbox.waiting(webhook().url) == []


def test_outbox_forgets_events_of_a_day_ago_and_broken_files(
    outbox: Outbox, tmp_path: Path
) -> None:
    old, new = event(), event()
    for each in (old, new):
        outbox.add("https://a.example/secret", each)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "alerts").iterdir()} == {0o600}
    files = sorted((tmp_path / "alerts").glob("*.json"))
    assert not any(b"secret" in path.read_bytes() for path in files)
    [old_file] = [path for path in files if old.id in path.name]
    past = old_file.stat().st_mtime - KEEP_SECONDS - 1
    os.utime(old_file, (past, past))
    (tmp_path / "alerts" / files[0].name.replace(old.id, "x")).write_bytes(b'{"type": "prov')

    assert outbox.waiting("https://a.example/secret") == [new]
    assert not old_file.exists()


HOOK = "https://a.example/secret"
PROCESS = f"""
import sys
from pathlib import Path
from aibridge_addon.telemetry.alerts.event import Event
from aibridge_addon.telemetry.alerts.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for number in range(3):
    outbox.add({HOOK!r}, Event(type="key_back", text=str(number)))
print(flush=True)
sys.stdin.read()
"""


def test_events_of_a_killed_process_are_taken_over_by_exactly_one_other(tmp_path: Path) -> None:
    folder = tmp_path / "alerts"
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        first, second = Outbox(folder), Outbox(folder)
        assert first.waiting(HOOK) == [], "their process lives"
        process.kill()
    taken = first.waiting(HOOK)
    assert [each.text for each in taken] == ["0", "1", "2"]
    assert second.waiting(HOOK) == []
    first.remove(HOOK, taken[0])
    first.close()
    assert second.waiting(HOOK) == taken[1:], "after an end without a crash, too"
    second.close()
    assert {path.name for path in folder.glob("*.lock")} == {"turn.lock"}


def test_event_in_a_file_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    subject, waiting = Outbox(tmp_path), event()
    subject.add(HOOK, waiting)
    [path] = tmp_path.glob("*.json")
    path.rename(path.with_name(path.name.split(".")[0] + ".json"))
    assert subject.waiting(HOOK) == [waiting]


async def test_each_event_is_sent_once_by_processes_that_start_at_once(tmp_path: Path) -> None:
    before = Outbox(tmp_path)
    waiting = [event() for _ in range(5)]
    for each in waiting:
        before.add(webhook().url, each)
    before.close()
    endpoint, sent = Endpoint(200), asyncio.Semaphore(0)
    outboxes = [Outbox(tmp_path) for _ in range(3)]
    senders = [
        WebhookSender(webhook(), endpoint, lambda *_: sent.release(), outbox) for outbox in outboxes
    ]
    for _ in waiting:
        await asyncio.wait_for(sent.acquire(), 20)
    for sender in senders:
        sender.cancel()
    assert sorted(body["id"] for body in endpoint.bodies) == sorted(each.id for each in waiting)


def test_outbox_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "alerts").write_text("in the way")
    outbox = Outbox(tmp_path / "alerts")
    outbox.add("https://a.example", event())
    assert outbox.waiting("https://a.example") == []


async def test_actor_is_new_only_at_the_first_request_in_the_record() -> None:
    events: list[Event] = []
    asked: list[str] = []

    def has_earlier(actor: str, before: str) -> bool:
        asked.append(actor)
        return actor == "known"

    subject = ActorWatch(events.append, has_earlier)
    for actor in ("new", "known", "new", "anonymous", "other"):
        subject.note(ended(started(initiator_id=actor)))
    subject.note(ended(started(initiator_id="stranger"), status=Status.REFUSED))
    await asyncio.gather(*subject._checks)

    assert sorted(asked) == ["known", "new", "other"]
    assert sorted(str(each.figures["actor"]) for each in events) == ["new", "other"]
    again = ActorWatch(events.append, has_earlier)
    again.note(ended(started(initiator_id="new")))
    await asyncio.gather(*again._checks)
    assert events[-1].id in {each.id for each in events[:2]}, "receivers can tell repetitions"
