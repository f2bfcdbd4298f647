"""Running out of file descriptors: one line now and then, and one retry for each failure."""

import asyncio
import errno
import logging
import socket
import sys

import pytest

from aibridge_addon.observe.descriptors import LOG_EVERY_S, ShortageLog, limit_accept_retries


def report_of(error):
    """What mitmproxy logs of an error that nobody handled."""
    try:
        raise error
    except type(error):
        name = "mitmproxy.master"
        return logging.LogRecord(
            name, logging.ERROR, "", 0, "Unhandled error in task.", (), sys.exc_info()
        )


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_reports_of_one_shortage_become_one_line_in_a_while(caplog, number):
    now = 100.0
    log = ShortageLog(clock=lambda: now)

    for _ in range(50):
        assert not log.filter(report_of(OSError(number, "Too many open files")))
    assert len(caplog.records) == 1
    now += LOG_EVERY_S
    assert not log.filter(report_of(OSError(number, "Too many open files")))

    first, second = (record.getMessage() for record in caplog.records)
    assert "out of file descriptors (Too many open files; 1 times" in first
    assert "; 50 times since the last such line" in second


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "No such file"), ValueError("other")])
def test_reports_of_other_errors_stay(error):
    assert ShortageLog().filter(report_of(error))


def test_records_without_an_error_stay():
    assert ShortageLog().filter(logging.LogRecord("x", logging.INFO, "", 0, "text", (), None))


def test_reports_of_mitmproxy_are_filtered_until_the_filter_is_removed(caplog):
    log = ShortageLog()
    log.install()
    logger = logging.getLogger("mitmproxy.master")
    logger.handle(report_of(OSError(errno.EMFILE, "Too many open files")))
    log.remove()
    logger.handle(report_of(OSError(errno.EMFILE, "Too many open files")))

    assert [record.name for record in caplog.records] == [
        "aibridge_addon.observe.descriptors",
        "mitmproxy.master",
    ]


class Full:
    """A listening socket that cannot accept for so many times."""

    def __init__(self, failures):
        self.real = socket.create_server(("127.0.0.1", 0))
        self.real.setblocking(False)
        self.failures = failures
        self.tries = 0

    def accept(self):
        self.tries += 1
        if self.tries <= self.failures:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.real.accept()

    def fileno(self):
        return self.real.fileno()


async def test_each_failure_to_accept_is_retried_once_until_it_succeeds(monkeypatch):
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0)
    loop = asyncio.get_running_loop()
    failures = []
    loop.set_exception_handler(lambda loop, context: failures.append(context["exception"].errno))
    limit_accept_retries(loop)
    limit_accept_retries(loop)  # as after a script is reloaded
    accepted = asyncio.Event()
    listening = Full(failures=3)
    writer = None
    try:
        loop._start_serving(lambda: _Tells(accepted), listening)
        _, writer = await asyncio.open_connection(*listening.real.getsockname())
        await asyncio.wait_for(accepted.wait(), 10)
    finally:
        loop.remove_reader(listening.real)
        listening.real.close()
        if writer:
            writer.close()

    assert failures == [errno.EMFILE] * 3


class _Tells(asyncio.Protocol):
    """Tells that a connection was accepted, and closes it."""

    def __init__(self, accepted):
        self._accepted = accepted

    def connection_made(self, transport):
        self._accepted.set()
        transport.close()


def test_an_event_loop_that_accepts_otherwise_stays_as_it_is():
    class OtherLoop:
        pass

    loop = OtherLoop()
    limit_accept_retries(loop)
    assert vars(loop) == {}
