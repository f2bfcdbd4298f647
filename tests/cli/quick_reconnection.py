"""A plugin of the proxies of a fleet: it shortens the pauses before a new connection."""

from aibridge_addon.store import record_writer

record_writer.RETRY_SECONDS = (0.1, 0.4)
