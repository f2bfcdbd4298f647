"""Limits of open client connections, in total and per address, and their log line."""

import logging

import pytest
from mitmproxy import connection

from aibridge_addon.access.connection_limit import LOG_INTERVAL_S, ConnectionLimit


class Counted(ConnectionLimit):
    """A connection limit with a manual clock, which collects the reasons of refusals."""

    def __init__(self, most: int | None) -> None:
        self.now = 0.0
        self.refused: list[str] = []
        super().__init__(on_refused=self.refused.append, clock=lambda: self.now)
        self.most = most


def client(error: str | None = None, address: str = "127.0.0.1") -> connection.Client:
    made = connection.Client(peername=(address, 50000), sockname=("127.0.0.1", 8080))
    made.error = error
    return made


def admitted(connections: ConnectionLimit, *clients: connection.Client) -> list[bool]:
    for each in clients:
        connections.admit(each)
    return [each.error is None for each in clients]


def test_connections_above_the_limit_are_refused_until_others_close() -> None:
    connections = Counted(2)
    first, second, third = client(), client(), client()

    assert admitted(connections, first, second, third) == [True, True, False]
    assert connections.refused == ["too_many_connections"]

    connections.forget(third)  # mitmproxy reports the end of a refused connection too
    assert admitted(connections, client()) == [False]
    connections.forget(first)
    assert admitted(connections, client(), client()) == [True, False]


def test_all_connections_are_admitted_without_a_limit() -> None:
    connections = Counted(None)

    assert all(admitted(connections, *(client() for _ in range(100))))


def test_lowered_connection_limit_does_not_close_open_connections() -> None:
    connections = Counted(None)
    clients = [client() for _ in range(3)]
    admitted(connections, *clients)

    connections.most = 2
    connections.forget(clients[0])

    assert admitted(connections, client()) == [False]
    connections.forget(clients[1])
    assert admitted(connections, client()) == [True]


def test_connection_limit_per_address_counts_each_address_separately() -> None:
    connections = Counted(5)
    connections.most_per_address = 2
    first, second, third = (client(address="10.0.0.1") for _ in range(3))

    assert admitted(connections, first, second, third) == [True, True, False]
    assert connections.refused == ["too_many_connections_of_address"]
    assert third.error
    assert third.error.endswith("(aibridge_max_connections_per_address)")
    assert admitted(connections, client(address="10.0.0.2")) == [True]
    connections.forget(third)
    assert admitted(connections, client(address="10.0.0.1")) == [False]
    connections.forget(first)
    assert admitted(connections, client(address="10.0.0.1")) == [True]


def test_connection_refused_by_another_addon_is_not_counted() -> None:
    connections = Counted(1)

    admitted(connections, client("Connection killed by block_private."))

    assert connections.refused == []
    assert admitted(connections, client()) == [True]


def test_refused_connections_are_logged_once_per_interval_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    connections = Counted(0)

    for connections.now in (0.0, 1.0, LOG_INTERVAL_S - 1, LOG_INTERVAL_S, LOG_INTERVAL_S + 1):
        admitted(connections, client())

    assert [record.args for record in caplog.records] == [(0, 1), (0, 3)]
    assert "aibridge_max_connections" in caplog.text
