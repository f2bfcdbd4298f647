"""Joins what mitmproxy sends to one peer in a row into one write."""

from typing import Any

from mitmproxy.proxy import commands, layer

type Commands = layer.CommandGenerator[Any]

LARGEST_JOINED = 1024 * 1024
"""Bytes. To copy a larger part costs more than to write it on its own."""


def joined(original: Commands) -> Commands:
    """Run what handles an event, with what it sends to one peer in a row sent in one go.

    mitmproxy sends each part of a message on its own, be it a chunk of a few bytes: a system call,
    and in TLS a record. Nothing is held for what may come later: an event is handled without a
    wait, and any other command, such as a hook, comes after what was to be sent before it.
    """
    unsent: list[commands.SendData] = []
    try:
        for command in original:  # replies come as events, not into this generator
            if unsent and not _can_join(unsent[-1], command):
                parts, unsent = unsent, []
                yield _as_one(parts)
            if isinstance(command, commands.SendData):
                unsent.append(command)
            else:
                yield command
    finally:  # after an error too; wherever it can be closed instead, nothing is unsent
        if unsent:
            yield _as_one(unsent)


def _can_join(before: commands.SendData, command: commands.Command) -> bool:
    """Whether a command is only more of what was sent before it."""
    return (
        isinstance(command, commands.SendData)
        and command.connection is before.connection
        and command.connection.transport_protocol == "tcp"  # a datagram has borders
        and len(before.data) + len(command.data) <= LARGEST_JOINED
    )


def _as_one(parts: list[commands.SendData]) -> commands.SendData:
    if len(parts) == 1:
        return parts[0]
    return commands.SendData(parts[0].connection, b"".join(part.data for part in parts))
