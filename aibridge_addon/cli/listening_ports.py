"""Chooses and checks the ports of `aibridge proxy` before mitmproxy is loaded."""

import contextlib
import errno
import os
import socket

import click

from aibridge_addon.cli import running

DEFAULT_PORT = 8080
DEFAULT_REVERSE_PORT = 8081


class Port(click.ParamType[int | None]):
    """A port number, or `off`."""

    name = "port"

    def convert(
        self, value: str | int | None, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the port; None for `off`."""
        if value is None or value == "off":
            return None
        try:
            port = int(value)
        except ValueError:
            port = -1
        if not 0 <= port <= 65535:
            self.fail(f"{value!r} is neither a port nor 'off'")
        return port


def choose_ports(
    host: str, port: int | None, reverse_port: int | None
) -> tuple[int | None, int | None]:
    """Check that both ports are free, and replace 0 by free ports.

    mitmproxy cannot choose both: two modes need different ports.

    Raises:
        ClickException: a port cannot be used.
    """
    if port == reverse_port and port:
        raise click.UsageError("--port and --reverse-port must differ")
    with contextlib.ExitStack() as both:
        return (
            _bind(both, host, port, "--port"),
            _bind(both, host, reverse_port, "--reverse-port"),
        )


def check_port(host: str, port: int, option: str) -> None:
    """Check that a port is free.

    Raises:
        ClickException: it cannot be used; the message names the option.
    """
    with contextlib.ExitStack() as stack:
        _bind(stack, host, port, option)


def listen(host: str, port: int, option: str) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ClickException: the port cannot be used; the message names the option.
    """
    try:
        listener = _listener(host, port)
        listener.listen()
    except OSError as error:
        raise click.ClickException(_explain(error, host, port, option)) from error
    return listener


def is_free(host: str, port: int) -> bool:
    """Return True if this process can listen on a port."""
    try:
        _listener(host, port).close()
    except OSError:
        return False
    return True


def _bind(stack: contextlib.ExitStack, host: str, port: int | None, option: str) -> int | None:
    if port is None:
        return None
    try:
        return stack.enter_context(_listener(host, port)).getsockname()[1]  # type: ignore[no-any-return]
    except OSError as error:
        raise click.ClickException(_explain(error, host, port, option)) from error


def _listener(host: str, port: int) -> socket.socket:
    [(family, _, _, _, address), *_] = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _explain(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is used by {_user_of(port)}. Choose another with {option}"
    if error.errno == errno.EACCES:
        return f"no permission to use port {port}. Choose another with {option}"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"


def _user_of(port: int) -> str:
    """Return a description of the program that uses a port."""
    known = running.find()
    urls = (*known.urls, known.metrics_url or "", known.dashboard_url or "") if known else ()
    if known and any(url.endswith(f":{port}") for url in urls):
        return f"the running aibridge proxy (process {known.pid})"
    return "another program"
