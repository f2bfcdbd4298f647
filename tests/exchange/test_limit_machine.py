"""Limits with a waiting room, against an oracle: clock steps, clients that leave, and reloads."""

import asyncio
import dataclasses
from typing import Any

from access.policies.test_rate_limits import Clock, asked_by, ended
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aibridge_addon.access.asked import Asked, Refusal
from aibridge_addon.access.limits.counters import LimitCounters
from aibridge_addon.access.limits.rules import Limit
from aibridge_addon.access.limits.share import Share
from aibridge_addon.access.policies import RateLimits
from aibridge_addon.access.selection import Selection
from aibridge_addon.exchange.limit_queue import LimitQueue
from aibridge_addon.facts import InterceptionEnded

ACTORS = st.sampled_from(["alice", "bob", "carol"])


@dataclasses.dataclass(eq=False)
class Client:
    """A client with its request, and the task that decides about it."""

    asked: Asked
    task: "asyncio.Task[Refusal | None]"
    has_left: bool = False


class Room:
    """Exact room of a rate: what a process may still admit."""

    def __init__(self, rate: float) -> None:
        self.rate = self.level = rate

    def wait(self, seconds: float) -> None:
        self.level = min(self.rate, self.level + seconds * self.rate / 60)

    def change(self, rate: float) -> None:
        self.level, self.rate = min(self.level, rate), rate


class LimitMachine(RuleBasedStateMachine):
    """Everything that happens to the limits of a process."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.latest = 0.0
        self.limits = RateLimits(lambda *_: None, LimitCounters(self.clock))
        self.queue = LimitQueue(self.limits, lambda *_: None)
        self.running: dict[str, Client] = {}
        self.waiting: list[Client] = []
        self.room = Room(6)
        self.configure(open_requests=2, rate=6)

    def configure(self, **bounds: int) -> None:
        self.bounds = bounds
        values: dict[str, Any] = {"name": "one", "selection": Selection(), "per": "total"}
        values |= {"queue": 4, "queue_wait_s": 1e6, "open_requests": bounds.get("open_requests")}
        limit = Limit(**values, requests_per_minute=bounds.get("rate"))
        self.limits.limits = (limit,) if bounds else ()
        self.resize()

    def resize(self) -> None:
        """Change the oracle's room, and the bucket now and not at the next look at its rate."""
        if self.limits.limits:
            self.room.change(self.limits.counters.share.rate_of(self.bounds["rate"]))
            self.limits.counters._counter(self.limits.limits[0], "total", self.clock())

    def settle(self) -> None:
        """Serve those who wait, let their tasks run, and check who was admitted."""
        self.queue.serve()
        self.turn()

    def turn(self) -> None:
        for _ in range(4):
            self.loop.run_until_complete(asyncio.sleep(0))
        for client in self.waiting.copy():
            if client.task.done():
                self.waiting.remove(client)
                if not client.task.cancelled() and client.task.result() is None:
                    self.note(client)

    def note(self, client: Client) -> None:
        """Check that there was room for a request that was admitted."""
        assert client.asked.interception
        assert not client.has_left
        if "open_requests" in self.bounds:
            most = self.limits.counters.share.slots_of(self.bounds["open_requests"])
            assert len(self.counted()) < most
        if "rate" in self.bounds:
            self.room.level -= 1
            assert self.room.level > -1e-6
        self.running[client.asked.interception.id] = client

    def counted(self) -> list[str]:
        """Return the requests that were admitted while there was a limit, and run."""
        return [id_ for id_ in self.running if self.limits.counters.is_running(id_)]

    @rule(actor=ACTORS)
    def ask(self, actor: str) -> None:
        client: Client
        asked = dataclasses.replace(asked_by(actor), has_left=lambda: client.has_left)

        async def decide() -> Refusal | None:
            shortage = self.queue.shortage_of(asked)
            if shortage:
                return await self.queue.wait(asked, shortage)
            self.limits.admit(asked)
            return None

        client = Client(asked, self.loop.create_task(decide()))
        self.waiting.append(client)
        self.turn()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), is_next_cancelled=st.booleans())
    def end(self, data: st.DataObject, *, is_next_cancelled: bool) -> None:
        client = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        fact = ended(client.asked)
        for handlers in (self.limits.handlers, self.queue.handlers):
            handlers[InterceptionEnded](fact)
        if is_next_cancelled:
            for client in self.waiting:
                client.task.cancel()
        self.turn()

    @precondition(lambda self: self.waiting)
    @rule(number=st.integers(0, 9), is_cancelled=st.booleans())
    def leave(self, number: int, *, is_cancelled: bool) -> None:
        client = self.waiting[number % len(self.waiting)]
        if is_cancelled:
            client.task.cancel()
        else:
            client.has_left = True
        self.settle()

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.room.wait(max(0.0, self.clock.now - self.latest))
        self.latest = max(self.latest, self.clock.now)
        self.settle()

    @rule(seconds=st.floats(0, 3600))
    def step_back(self, seconds: float) -> None:
        self.clock.now -= seconds
        self.settle()

    @rule(open_requests=st.integers(1, 4), rate=st.integers(1, 20))
    def reload(self, open_requests: int, rate: int) -> None:
        self.configure(open_requests=open_requests, rate=rate)
        self.settle()

    @rule()
    def remove_limit(self) -> None:
        self.configure()
        self.settle()
        assert not self.waiting, "nobody waits for a limit that does not exist any more"

    @rule(processes=st.integers(1, 4), rank=st.integers(0, 3))
    def share(self, processes: int, rank: int) -> None:
        self.limits.counters.share = Share(processes=processes, rank=rank % processes)
        self.resize()
        self.settle()

    @invariant()
    def first_in_each_queue_has_no_room(self) -> None:
        self.settle()
        for client in self.waiting:
            ahead = [w for w in self.waiting if w.asked.sender == client.asked.sender]
            if ahead[0] is client:
                assert self.limits.find_shortage(client.asked)

    def teardown(self) -> None:
        try:
            for client in self.waiting:
                client.task.cancel()
            self.settle()
            for client in self.running.values():
                self.limits.handlers[InterceptionEnded](ended(client.asked))
            assert not any(counter.open for counter in self.limits.counters._scopes.values())
            assert not self.limits.counters._running
            assert not any(map(len, self.queue._rooms.values()))
        finally:
            self.loop.close()


LimitMachine.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=30, deadline=None
)
TestLimitMachine = LimitMachine.TestCase
