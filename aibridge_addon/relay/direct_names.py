"""Checks that the installed versions have the private names that the direct way reads."""

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from h11._readers import ChunkedReader
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import Http1Connection, HttpStream
from mitmproxy.proxy.layers.tls import TLSLayer
from mitmproxy.proxy.server import ConnectionHandler

logger = logging.getLogger(__name__)

_NAMES: tuple[tuple[Callable[..., Any], tuple[str, ...]], ...] = (
    (asyncio.StreamReader.__init__, ("_buffer",)),
    (asyncio.StreamReaderProtocol.data_received, ("feed_data",)),
    (asyncio.Lock.__init__, ("_waiters",)),
    (ChunkedReader.__init__, ("_bytes_in_chunk", "_bytes_to_discard", "_reading_trailer")),
    (Layer.__init__, ("_paused",)),
    (TLSLayer.receive_data, ("tls", "bio_write", "recv")),
    (Http1Connection.read_body, ("body_reader", "buf")),
    (HttpStream.__init__, ("client_state", "server_state")),
    (ConnectionHandler.__init__, ("_server_event_lock", "timeout_watchdog", "transports")),
)
"""Functions that must use these names."""


def missing_names() -> list[str]:
    """Return the names that the installed versions do not have."""
    return [
        f"{function.__module__}.{function.__qualname__}: {name}"
        for function, names in _NAMES
        for name in names
        if name not in function.__code__.co_names
    ]


@cache
def has_all_names() -> bool:
    """Return True if there is a direct way in the installed versions; log once if not."""
    if missing := missing_names():
        logger.warning(
            "aibridge: streamed responses pass through all layers of mitmproxy, which costs more"
            " CPU time: not found in the installed versions: %s",
            ", ".join(missing),
        )
    return not missing
