"""Checks the health that a running proxy reports about itself."""

import contextlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from aibridge_addon.cli.checks.installation import NETWORK_S, Installation
from aibridge_addon.findings import Finding


def check_health(installation: Installation) -> Iterator[Finding]:
    """Check `/healthz` of the running proxy."""
    proxy = installation.proxy
    if proxy is None or proxy.metrics_url is None:
        return
    try:
        report = request_health(proxy.metrics_url)
        down = [name for name, state in report["mcp_servers"].items() if state == "down"]
        has_database = report["database"] == "ok"
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError):
        what = f"{proxy.metrics_url}/healthz does not respond as expected"
        yield Finding(about="health", level="note", what=what, to_do="read the proxy's log")
        return
    if not has_database:
        what = "the proxy cannot reach its database, and stores records in files beside it"
        to_do = "read the proxy's log, and see `database` below"
        yield Finding(about="health", level="bad", what=what, to_do=to_do)
    if down:
        what = f"the proxy is not connected to {', '.join(down)}"
        to_do = "read the proxy's log, and check its environment variables"
        yield Finding(about="health", level="note", what=what, to_do=to_do)
    if has_database and not down:
        yield Finding(about="health", level="ok", what="the proxy reports no problem")


def request_health(url: str) -> dict[str, Any]:
    """Return the health that a proxy reports at the address of its metrics.

    Raises:
        OSError, HTTPException, ValueError: it does not respond as expected.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=NETWORK_S)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        report: dict[str, Any] = json.loads(connection.getresponse().read())
    return report
