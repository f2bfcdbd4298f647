"""The announcement of the running proxy, when several run."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from aibridge_addon.observe.announcement import Announcement, RunningProxy, from_json, load
from aibridge_addon.observe.announcement import state_path as path_of_state


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return path_of_state()


@pytest.fixture
def first() -> Iterator[RunningProxy]:
    """A proxy of another process, which accepts connections."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield from_json(
            {
                "pid": os.getppid(),
                "forward_url": url,
                "reverse_url": None,
                "ca": "/ca",
                "database": "/db",
                "config": "",
                "metrics_url": None,
                "hosts": [],
                "plain_hosts": [],
                "started_at": "2026-01-01T00:00:00+00:00",
            }
        )


def test_end_of_a_second_proxy_announces_the_first_again(path: Path, first: RunningProxy) -> None:
    first.save(path)
    announcement = Announcement()
    announcement.make(replace(first, pid=os.getpid()))
    announcement.make(replace(first, pid=os.getpid(), hosts=("reloaded.test",)))
    announcement.end()
    assert load(path) == first


def test_end_of_a_proxy_leaves_that_of_a_newer_one(path: Path, first: RunningProxy) -> None:
    announcement = Announcement()
    announcement.make(replace(first, pid=os.getpid()))
    first.save(path)
    announcement.end()
    assert load(path) == first


def test_proxy_that_has_ended_is_not_announced_again(path: Path, first: RunningProxy) -> None:
    replace(first, forward_url="http://127.0.0.1:1").save(path)
    announcement = Announcement()
    announcement.make(replace(first, pid=os.getpid()))
    announcement.end()
    assert load(path) is None
