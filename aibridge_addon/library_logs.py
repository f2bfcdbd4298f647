"""Silences the logs of HTTP and MCP libraries: both log URLs, which may hold secrets.

`mcp` also logs a traceback at each attempt. The code that uses them logs the same events once.
"""

import logging


def silence_libraries() -> None:
    """Raise the levels of their loggers."""
    for name, level in (("mcp", logging.CRITICAL), ("httpx2", logging.WARNING)):
        logging.getLogger(name).setLevel(level)
