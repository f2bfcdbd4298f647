"""Shortage of file descriptors: a log line per interval, and one retry per failed accept."""

import asyncio
import errno
import logging
import socket
import sys
from typing import Any, cast

import pytest

from aibridge_addon.observe.descriptors import LOG_EVERY_S, ShortageLog, limit_accept_retries


def unhandled_error_record(error: Exception) -> logging.LogRecord:
    """Return the log record that mitmproxy writes for an unhandled error."""
    try:
        raise error
    except type(error):
        name = "mitmproxy.master"
        return logging.LogRecord(
            name, logging.ERROR, "", 0, "Unhandled error in task.", (), sys.exc_info()
        )


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_repeated_descriptor_shortage_is_logged_once_per_interval(
    caplog: pytest.LogCaptureFixture, number: int
) -> None:
    now = 100.0
    log = ShortageLog(clock=lambda: now)

    for _ in range(50):
        assert not log.filter(unhandled_error_record(OSError(number, "Too many open files")))
    assert len(caplog.records) == 1
    now += LOG_EVERY_S
    assert not log.filter(unhandled_error_record(OSError(number, "Too many open files")))

    first, second = (record.getMessage() for record in caplog.records)
    assert "out of file descriptors (Too many open files; 1 times" in first
    assert "; 50 times since the last such line" in second
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "No such file"), ValueError("other")])
def test_other_errors_are_logged_unchanged(error: Exception) -> None:
    assert ShortageLog().filter(unhandled_error_record(error))


def test_log_records_without_an_error_are_unchanged() -> None:
    assert ShortageLog().filter(logging.LogRecord("x", logging.INFO, "", 0, "text", (), None))


def test_mitmproxy_errors_are_filtered_until_the_filter_is_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = ShortageLog()
    log.install()
    logger = logging.getLogger("mitmproxy.master")
    logger.handle(unhandled_error_record(OSError(errno.EMFILE, "Too many open files")))
    log.remove()
    logger.handle(unhandled_error_record(OSError(errno.EMFILE, "Too many open files")))

    assert [record.name for record in caplog.records] == [
        "aibridge_addon.observe.descriptors",
        "mitmproxy.master",
    ]


class ExhaustedSocket:
    """A listening socket whose first accepts fail."""

    def __init__(self, failures: int) -> None:
        self.real = socket.create_server(("127.0.0.1", 0))
        self.real.setblocking(False)
        self.failures = failures
        self.tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.tries <= self.failures:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.real.accept()

    def fileno(self) -> int:
        return self.real.fileno()


async def test_each_failed_accept_is_retried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0)
    loop = asyncio.get_running_loop()
    failures = []
    loop.set_exception_handler(lambda loop, context: failures.append(context["exception"].errno))
    limit_accept_retries(loop)
    limit_accept_retries(loop)  # as after a script is reloaded
    accepted = asyncio.Event()
    listening = ExhaustedSocket(failures=3)
    writer = None
    try:
        start_serving = getattr(loop, "_start_serving")  # noqa: B009 it is private
        start_serving(lambda: _SetsEvent(accepted), listening)
        _, writer = await asyncio.open_connection(*listening.real.getsockname())
        await asyncio.wait_for(accepted.wait(), 10)
    finally:
        loop.remove_reader(listening.real)
        listening.real.close()
        if writer:
            writer.close()

    assert failures == [errno.EMFILE] * 3


class _SetsEvent(asyncio.Protocol):
    """Sets an event when a connection was accepted, and closes it."""

    def __init__(self, accepted: asyncio.Event) -> None:
        self._accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._accepted.set()
        transport.close()


def test_event_loop_with_another_accept_is_unchanged() -> None:
    class OtherLoop:
        pass

    loop = OtherLoop()
    limit_accept_retries(cast(asyncio.AbstractEventLoop, loop))
    assert vars(loop) == {}
