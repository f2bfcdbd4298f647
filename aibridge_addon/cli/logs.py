"""What a running proxy says on stderr: warnings and errors, and little else, as text or JSON."""

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
        """Say nothing: it is stderr that is closed."""


class _JSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
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
        """Return a record as people read it."""
        client = getattr(record, "client", None)
        whence = f"[{client[0]}:{client[1]}] " if client else ""
        text = f"{self.formatTime(record)} {record.levelname.lower():7} {whence}"
        text += record.getMessage()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


@contextlib.contextmanager
def log_to_stderr(form: str, *, verbose: bool) -> Iterator[None]:
    """Say, while this lasts, what is of interest: our own news, and warnings of everybody else."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JSON() if form == "json" else _Text())
    set_levels(verbose=verbose)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def set_levels(*, verbose: bool) -> None:
    """Let mitmproxy make records of its connections only where somebody reads them."""
    logging.getLogger("aibridge_addon").setLevel(logging.INFO)
    logging.getLogger("mitmproxy").setLevel(logging.INFO if verbose else logging.WARNING)
