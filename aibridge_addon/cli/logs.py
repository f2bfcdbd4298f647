"""Log of a running proxy on stderr, as text or JSON: warnings, errors and few other messages."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

FORMATS = ("text", "json")


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 logging's name
        """Ignore the error: stderr is closed."""


class _JSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line of JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if client := getattr(record, "client", None):
            entry["client"] = ":".join(map(str, client[:2]))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _Text(logging.Formatter):
    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text for people."""
        client = getattr(record, "client", None)
        address = f"[{client[0]}:{client[1]}] " if client else ""
        text = f"{self.formatTime(record)} {record.levelname.lower():7} {address}"
        text += record.getMessage()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


@contextlib.contextmanager
def log_to_stderr(form: str, *, verbose: bool) -> Iterator[None]:
    """Log to stderr within this context: messages of the addon, and warnings of everything else."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JSON() if form == "json" else _Text())
    with log_levels(verbose=verbose):
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def log_levels(*, verbose: bool) -> Iterator[None]:
    """Set the levels of loggers in this context: mitmproxy's messages on connections are costly."""
    loggers = {
        logging.getLogger("aibridge_addon"): logging.INFO,
        logging.getLogger("mitmproxy"): logging.INFO if verbose else logging.WARNING,
    }
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
