"""Processes that are alive, by the signs of life in the store, on a clock that tests move."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from access.policies.test_rate_limits import Clock, Limited, asked_by, limit

from aibridge_addon.access.limits.share import Share
from aibridge_addon.exchange.live_processes import LEASE_SECONDS, LiveProcesses
from aibridge_addon.report.processes import ProcessRow

START = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)


class Processes:
    """The table of processes, as one of them sees it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wall = START
        self.rows: dict[str, ProcessRow] = {}
        self._live = LiveProcesses("own", self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall += timedelta(seconds=seconds)

    def beat(self, id_: str, *, ahead: float = 0, has_ended: bool = False) -> None:
        """Write a sign of life; `ahead` is the error of the process's clock."""
        at = (self.wall + timedelta(seconds=ahead)).isoformat()
        self.rows[id_] = ProcessRow(
            id=id_,
            host="h",
            pid=1,
            version="1",
            started_at=START.isoformat(),
            seen_at=at,
            ended_at=at if has_ended else None,
            open_requests=0,
            requests=0,
            cpu_percent=0.0,
            read_at=at,
        )

    def share(self) -> Share:
        read_at = self.wall.isoformat()
        return self._live.see(replace(row, read_at=read_at) for row in self.rows.values())


def test_process_counts_itself_before_its_first_sign_is_stored() -> None:
    assert Processes().share() == Share(processes=1, rank=0)


def test_processes_divide_a_limit_and_take_their_ranks_by_id() -> None:
    processes = Processes()
    for id_ in ("a", "own", "z"):
        processes.beat(id_)
    assert processes.share() == Share(processes=3, rank=1)


def test_dead_process_gives_its_share_back_after_its_lease() -> None:
    processes = Processes()
    processes.beat("other")
    assert processes.share().processes == 2
    processes.wait(LEASE_SECONDS - 1)
    assert processes.share().processes == 2
    processes.wait(1)
    assert processes.share().processes == 1


def test_process_that_stops_gives_its_share_back_at_once() -> None:
    processes = Processes()
    processes.beat("other")
    assert processes.share().processes == 2
    processes.beat("other", has_ended=True)
    assert processes.share().processes == 1


def test_process_that_died_before_the_start_of_this_one_does_not_count() -> None:
    processes = Processes()
    processes.beat("other")
    processes.wait(LEASE_SECONDS)
    assert processes.share().processes == 1


def test_steps_and_errors_of_wall_clocks_end_no_lease() -> None:
    processes = Processes()
    processes.beat("late", ahead=-50)
    processes.beat("early", ahead=3600)
    assert processes.share().processes == 3
    for step in (3600, -7200, 86_400):
        processes.wall += timedelta(seconds=step)
        processes.wait(5)
        processes.beat("late", ahead=-500)
        processes.beat("early", ahead=3600)
        assert processes.share().processes == 3
    processes.wait(LEASE_SECONDS)
    assert processes.share().processes == 1, "a clock that is ahead prolongs no lease"


def test_three_processes_admit_together_what_a_limit_allows() -> None:
    rules = (limit("rate", requests_per_minute=90), limit("slots", open_requests=100, per="total"))
    admitted = 0
    for rank in range(3):
        limited = Limited(*rules)
        limited.policy.counters.share = Share(processes=3, rank=rank)
        admitted += sum(limited.ask(asked_by("alice")) is None for _ in range(100))
    assert admitted == 90


def test_slots_of_a_dead_process_are_free_for_the_others() -> None:
    limited = Limited(limit(open_requests=5))
    limited.policy.counters.share = Share(processes=2, rank=1)
    assert [limited.ask(asked_by("alice")) is None for _ in range(3)] == [True, True, False]
    limited.policy.counters.share = Share()
    assert [limited.ask(asked_by("alice")) is None for _ in range(4)] == [True] * 3 + [False]


def test_refusal_names_the_limit_and_the_part_of_this_process() -> None:
    limited = Limited(limit("rate", requests_per_minute=10), limit("slots", open_requests=5))
    limited.policy.counters.share = Share(processes=4, rank=0)
    messages = [refusal.message for _ in range(3) if (refusal := limited.ask(asked_by("alice")))]
    assert messages == [
        "aibridge: limit 'slots' allows 5 requests at the same time for actor alice"
        " (2 in this one of 4 processes)."
    ]
    limited.policy.limits = limited.policy.limits[:1]
    refusal = limited.ask(asked_by("alice"))
    assert refusal
    assert "10 requests per minute for actor alice (2.5 in this one of 4 processes)" in (
        refusal.message
    )
