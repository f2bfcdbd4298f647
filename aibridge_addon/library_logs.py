"""Silences the logs of libraries, whose users log the same events once.

HTTP and MCP libraries log URLs, which may hold secrets, and `mcp` a traceback at each attempt;
`psycopg` logs that a pipeline with an error ends with an error.
"""

import logging


def silence_libraries() -> None:
    """Raise the levels of their loggers."""
    levels = {"mcp": logging.CRITICAL, "httpx2": logging.WARNING, "psycopg": logging.ERROR}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
