"""A fleet under load loses and repeats no record, and overruns no budget, whatever dies.

`scripts/faults` plays every fault, with more workers and the pauses of production.
"""

import os
import random
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

import httpx2
import psycopg
import pytest
from e2e.clients import ANTHROPIC_KEY
from postgres_server import folder_of_programs
from standin import Server as StandIn

from cli.command import Home, wait_until
from cli.fleet import HAPROXY, LARGEST, LIMIT, NGINX, Fleet, Member, documented_haproxy
from cli.fleet_clients import Conversation, Crowd, ask, first_of_websocket, user
from cli.test_proxy import HELLO, open_stream
from cli.test_workers import metric

PLAYS_ALL = os.environ.get("FLEET_FAULTS") == "all"
CLIENTS = 4
SPENDERS = 2
LOCK_S = 60.0
REVOCATION_S = 1.0
"""Seconds after its revocation in which an access token may still be accepted."""
CHARGE = 120 * 10**6
"""Nano-USD of a request of a client."""
pytestmark = [
    pytest.mark.skipif(not (HAPROXY and NGINX), reason="HAProxy or nginx is not installed"),
    pytest.mark.skipif(not folder_of_programs(), reason="PostgreSQL is not installed"),
    pytest.mark.timeout(900 if PLAYS_ALL else 120),
]


class Scene:
    """A fleet, and the clients that ask while a fault happens."""

    def __init__(self, fleet: Fleet, load: Crowd) -> None:
        self.fleet = fleet
        self.load = load

    def wait(self, seconds: float = 0.0) -> None:
        """Let clients get some responses, for a time if all faults are played."""
        until = time.monotonic() + (seconds if PLAYS_ALL else 0.0)
        self.load.wait_for_more()
        wait_until(lambda: time.monotonic() >= until, "the time is over", seconds + 60)

    def first(self) -> Member:
        """Return the proxy with the most workers."""
        return self.fleet.members[0]


def kill_worker(scene: Scene) -> None:
    member = scene.first()
    victim = random.choice(member.worker_pids())
    os.kill(victim, SIGKILL)
    member.process.wait_for(rf"worker \d \(process {victim}\) ended with code -9; it is replaced")
    address = f"127.0.0.1:{member.metrics_port}"
    wait_until(
        lambda: metric(address, "aibridge_workers") == member.workers, "the worker is not replaced"
    )
    assert metric(address, "aibridge_worker_exits_total") == 1
    scene.wait()


def kill_process(scene: Scene) -> None:
    member = scene.fleet.members[-1]
    member.kill()
    scene.wait(3)
    member.start()


def kill_supervisor(scene: Scene) -> None:
    member = scene.first()
    workers = member.worker_pids()
    member.process.kill()
    wait_until(lambda: not any(map(is_alive, workers)), "workers outlive their supervisor")
    member.start()


def stop_process(scene: Scene) -> None:
    member = scene.fleet.members[1]
    assert member.process.stop() == 0, member.process.text
    member.start()


def restart_database(scene: Scene) -> None:
    scene.fleet.server.stop()
    scene.wait(5)
    scene.fleet.server.start()


def kill_database_and_process(scene: Scene) -> None:
    """Kill a process whose records are in its spool, and move the server to another port."""
    scene.fleet.server.stop(SIGKILL)
    scene.wait(5)
    member = scene.fleet.members[-1]
    member.kill()
    scene.wait(2)
    scene.fleet.move_server()
    member.start()


def stall_network(scene: Scene) -> None:
    scene.fleet.network.stall()
    scene.wait(15)
    scene.fleet.network.cut()
    scene.fleet.network.flow()


def lock_tables(scene: Scene) -> None:
    with psycopg.connect(scene.fleet.database.location) as other:
        other.execute("LOCK TABLE aibridge_interceptions IN ACCESS EXCLUSIVE MODE")
        scene.wait(LOCK_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, and the requests that it may break off."""

    happens: Callable[[Scene], None]
    breaks_off: bool = False
    """True if requests that are open at a process end with it."""
    in_suite: bool = True


FAULTS = (
    Fault(happens=kill_worker, breaks_off=True),
    Fault(happens=kill_process, breaks_off=True, in_suite=False),
    Fault(happens=kill_supervisor, breaks_off=True, in_suite=False),
    Fault(happens=stop_process, in_suite=False),
    Fault(happens=restart_database, in_suite=False),
    Fault(happens=stall_network),
    Fault(happens=lock_tables),
    Fault(happens=kill_database_and_process, breaks_off=True),
)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@pytest.fixture
def fleet(home: Home) -> Iterator[Fleet]:
    with ExitStack() as stack:
        workers = (4, 2, 1) if PLAYS_ALL else (2, 1)
        kinds = ("talker", "leaver", "spender")
        actors = ["asker", *(f"{kind}-{n}" for kind in kinds for n in range(len(FAULTS)))]
        yield Fleet(home, stack, workers=workers, actors=actors, quick=not PLAYS_ALL)
        for process in home.processes:
            process.kill()


def test_documented_configuration_of_haproxy_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(documented_haproxy() + "\n")
    subprocess.run([str(HAPROXY), "-c", "-f", str(path)], check=True, capture_output=True)


def test_fleet_keeps_its_promises_whatever_dies(fleet: Fleet, standin: StandIn) -> None:
    assert_nginx_passes_everything(fleet, fleet.tokens["asker"])
    load = Crowd(fleet.urls, fleet.tokens["asker"], "load", CLIENTS)
    with load.running():
        load.wait_for_more()
        for number, fault in enumerate(FAULTS):
            if fault.in_suite or PLAYS_ALL:
                play(fault, number, Scene(fleet, load), standin)
        assert fleet.members[1].process.stop() == 0
        load.wait_for_more()
    assert load.outcomes.keys() <= {"200", "broken"}


def assert_nginx_passes_everything(fleet: Fleet, token: str) -> None:
    """Pass a stream event by event, a WebSocket, and a connection of a forward proxy."""
    with open_stream(fleet.nginx, "GATE:never", token) as events:
        assert next(events)
    opened = first_of_websocket(fleet.nginx, token, b"session.created")
    assert opened.startswith(b"HTTP/1.1 101")
    assert b"session.created" in opened
    context = ssl.create_default_context(cafile=fleet.ca)
    proxy = fleet.nginx_forward.replace("://", f"://any:{token}@")
    with httpx2.Client(proxy=proxy, verify=context, trust_env=False) as client:
        headers = {"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2023-06-01"}
        answer = client.post("https://api.anthropic.com/v1/messages", json=HELLO, headers=headers)
    assert answer.status_code == 200, answer.text


def play(fault: Fault, number: int, scene: Scene, standin: StandIn) -> None:
    """Let a fault happen under load, and check every promise after it."""
    fleet, load = scene.fleet, scene.load
    begun, broken, seen = time.monotonic(), load.outcomes["broken"], len(load.answered)
    conversation = Conversation(fleet.tokens[f"talker-{number}"])
    conversation.begin(fleet.members[number % len(fleet.members)].url)
    leaver = fleet.tokens[f"leaver-{number}"]
    name = f"spender-{number}"
    spender = Crowd(fleet.urls, fleet.tokens[name], name, SPENDERS)
    with spender.running():
        spender.wait_for("200")
        fault.happens(scene)
        happened = time.monotonic()
        wait_until_recorded(fleet, load)
        recovered = time.monotonic()
        spender.wait_for("spent", "429")
    assert spender.outcomes.keys() <= {"200", "spent", "429", "503", "broken"}
    broken = load.outcomes["broken"] - broken
    assert broken <= (CLIENTS if fault.breaks_off else 0)
    assert_recorded_once(fleet, [*load.answered, *spender.answered])
    assert_budget_is_not_overrun(fleet, name, standin)
    conversation.go_on(fleet.members[(number + 1) % len(fleet.members)].url)
    assert_revocation_is_seen(fleet, leaver, f"leaver-{number}")
    print(
        f"{fault.happens.__name__}: {happened - begun:.1f} s, all recorded after"
        f" {recovered - happened:.1f} s; {len(load.answered) - seen} responses, {broken} broken"
        f" off; budgeted: {dict(spender.outcomes)}"
    )


def recorded(fleet: Fleet) -> "Counter[str]":
    return Counter(
        prompt
        for (prompt,) in fleet.database.select(
            "SELECT prompt FROM aibridge_user_prompts WHERE prompt LIKE '% client %'"
        )
    )


def wait_until_recorded(fleet: Fleet, load: Crowd) -> None:
    """Wait until spools are stored, and each process commits to the database again."""
    load.wait_for_more()
    seen = list(load.answered)
    wait_until(lambda: recorded(fleet).keys() >= set(seen), "spools are not stored")


def assert_recorded_once(fleet: Fleet, answered: list[str]) -> None:
    wait_until(lambda: recorded(fleet).keys() >= set(answered), "a response is not recorded")
    assert set(recorded(fleet).values()) == {1}
    ends = fleet.database.select(
        "SELECT count(*), count(DISTINCT interception_id) FROM aibridge_endings"
    )
    assert ends[0][0] == ends[0][1]


def assert_budget_is_not_overrun(fleet: Fleet, actor: str, standin: StandIn) -> None:
    upstream = sum(f"{actor} client".encode() in request.body for request in standin.requests)
    assert 0 < upstream * CHARGE <= LIMIT + LARGEST
    ((spent,),) = fleet.database.select(
        "SELECT max(spent) FROM aibridge_budget_counters WHERE scope = ?", [actor]
    )
    assert spent <= LIMIT + LARGEST


def assert_revocation_is_seen(fleet: Fleet, token: str, actor: str) -> None:
    """Ask every process until each refuses the access token, none of them too late."""
    for member in fleet.members:
        assert ask(member.url, token, [user("before")]).status == 200
    assert fleet.database.store.revoke_access_tokens(actor)
    revoked = time.monotonic()
    while time.monotonic() < revoked + REVOCATION_S:
        for member in fleet.members:
            ask(member.url, token, [user("meanwhile")])
    for member in fleet.members:
        for _ in range(3 * member.workers):
            assert ask(member.url, token, [user("after")]).status == 400
