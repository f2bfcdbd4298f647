"""Generators of commands, as mitmproxy's layers are made of: an empty one, and a changed one."""

from collections.abc import Callable
from typing import Any

from mitmproxy.proxy import commands, layer

type Commands = layer.CommandGenerator[Any]


def nothing() -> Commands:
    """Return a generator without commands."""
    yield from ()


def mapped(original: Commands, change: Callable[[commands.Command], commands.Command]) -> Commands:
    """Run a generator of commands with each command changed; pass replies back to it."""
    reply = None
    while True:
        try:
            command = original.send(reply)
        except StopIteration:
            return
        reply = yield change(command)
