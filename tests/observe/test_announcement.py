"""Tests of reading announcements: a file of another version, or garbage, is no running proxy."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aibridge_addon.observe.announcement import RunningProxy, accepts_connections, load

PROXY = RunningProxy(
    pid=os.getpid(),
    forward_url="http://127.0.0.1:8080",
    reverse_url=None,
    ca="/ca.pem",
    database="/db",
    config="",
    metrics_url=None,
    hosts=("api.anthropic.com",),
    plain_hosts=(),
    started_at="2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxy.json"


def test_saved_announcement_is_read_again(path: Path) -> None:
    PROXY.save(path)
    assert load(path) == PROXY


def test_members_of_a_newer_version_are_ignored(path: Path) -> None:
    PROXY.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"newer": [1]}))
    assert load(path) == PROXY


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "abc"},
        {"pid": None},
        {"pid": 1.5},
        {"pid": -1},
        {"pid": 0},
        {"pid": 2**70},
        {"forward_url": 5},
        {"forward_url": ["a"]},
        {"forward_url": "http://127.0.0.1:99999"},
        {"forward_url": "http://[::1"},
        {"hosts": None},
    ],
    ids=str,
)
def test_impossible_announcement_is_no_running_proxy(path: Path, change: dict[str, Any]) -> None:
    PROXY.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert load(path) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"null", b'{"pid":', b"{}", pytest.param(b"[" * 100_000, id="deep")],
)
def test_garbage_is_no_running_proxy(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert load(path) is None


@pytest.mark.parametrize("host", ["a..b", "a" * 300, "\ud83d"], ids=["empty", "long", "half"])
def test_impossible_host_accepts_no_connections(host: str) -> None:
    assert not accepts_connections(f"http://{host}:1")
