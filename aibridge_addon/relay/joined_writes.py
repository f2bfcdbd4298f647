"""Joins consecutive writes of mitmproxy to the same peer into one."""

from typing import Any

from mitmproxy.proxy import commands, layer

type Commands = layer.CommandGenerator[Any]

LARGEST_JOINED = 1024 * 1024
"""Bytes. Copying more costs more than a separate write."""


def joined(original: Commands) -> Commands:
    """Run the handler of an event with its consecutive writes to the same peer joined.

    mitmproxy writes each chunk of a message separately, which costs a system call, and in TLS a
    record. No write waits for a later event, and the order of all commands stays the same.
    """
    unsent: list[commands.SendData] = []
    try:
        for command in original:  # replies arrive as events, not in this generator
            if unsent and not _can_join(unsent[-1], command):
                writes, unsent = unsent, []
                yield _as_one(writes)
            if isinstance(command, commands.SendData):
                unsent.append(command)
            else:
                yield command
    finally:  # after an error too; if the generator is closed, nothing is unsent
        if unsent:
            yield _as_one(unsent)


def _can_join(before: commands.SendData, command: commands.Command) -> bool:
    """Return True if a command can be joined with the write before it."""
    return (
        isinstance(command, commands.SendData)
        and command.connection is before.connection
        and command.connection.transport_protocol == "tcp"  # datagrams must stay separate
        and len(before.data) + len(command.data) <= LARGEST_JOINED
    )


def _as_one(writes: list[commands.SendData]) -> commands.SendData:
    if len(writes) == 1:
        return writes[0]
    return commands.SendData(writes[0].connection, b"".join(write.data for write in writes))
