"""Reports that a proxy has started: to the terminal, and to other `aibridge` commands."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from aibridge_addon import __version__
from aibridge_addon.cli.databases import requires_token
from aibridge_addon.observe.announcement import Announcement, RunningProxy

if TYPE_CHECKING:
    from aibridge_addon.cli.dashboard import Dashboard

type Report = Callable[[RunningProxy], None]


class StartupReporter:
    """Prints a message when the proxy has started, and announces it to other processes."""

    def __init__(
        self, report: Report, *, announce: bool, dashboard: "Dashboard | None" = None
    ) -> None:
        self._report = report
        self._dashboard = dashboard
        self._announcement = Announcement() if announce else None

    def started(self, proxy: RunningProxy) -> None:
        """Report that the proxy works."""
        if self._announcement:
            self._announce(self._announcement, proxy)
        self._report(self._with_page(proxy))
        sys.stdout.flush()

    def changed(self, proxy: RunningProxy) -> None:
        """Renew the announcement after a reload: the provider hosts may have changed."""
        if self._announcement and self._announcement.is_made:
            self._announce(self._announcement, proxy)

    def ended(self) -> None:
        """Remove the announcement."""
        if self._announcement:
            self._announcement.end()

    def _with_page(self, proxy: RunningProxy) -> RunningProxy:
        return self._dashboard.start(proxy) if self._dashboard else proxy

    def _announce(self, announcement: Announcement, proxy: RunningProxy) -> None:
        try:
            announcement.make(self._with_page(proxy))
        except OSError as error:
            click.echo(f"Other aibridge commands cannot find this proxy: {error}", err=True)


def report_to_parent(proxy: RunningProxy) -> None:
    """Print the description of the proxy as JSON, for `aibridge run`."""
    click.echo(json.dumps(asdict(proxy)))


def report_as_log(proxy: RunningProxy) -> None:
    """Print the message as a line of a JSON log."""
    warning = _warning(proxy)
    record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "warning" if warning else "info",
        "logger": __name__,
        "message": ". ".join(filter(None, (_headline(proxy), warning))),
        "proxy": asdict(proxy),
    }
    click.echo(json.dumps(record))


def report_as_text(proxy: RunningProxy) -> None:
    """Print the message for people."""
    warning = _warning(proxy)
    lines = [f"{_headline(proxy)}.", "", *([f"  {warning}.", ""] if warning else [])]
    lines += [f"  {name:20}{value}" for name, value in _properties(proxy)]
    click.echo("\n".join((*lines, _NEXT)))


_NEXT = """
  aibridge run -- claude       run a program through this proxy
  eval "$(aibridge env)"       set up a shell
  aibridge usage               show requests, tokens and cost
  aibridge web                 show them in a browser
"""

REPORTS: dict[str, Report] = {"text": report_as_text, "json": report_as_log}
"""By log format."""


def _headline(proxy: RunningProxy) -> str:
    return f"aibridge {__version__} is up, process {proxy.pid}"


def _warning(proxy: RunningProxy) -> str:
    if proxy.open_on and not (proxy.needs_login or requires_token(proxy)):
        return "OPEN: anyone who can reach this proxy can use it"
    return ""


def _properties(proxy: RunningProxy) -> list[tuple[str, str]]:
    lines = [("database", proxy.database or "not used: another recorder is configured")]
    if proxy.records:
        lines += [("records", proxy.records)]
    if proxy.open_on:
        lines += [("listens on", f"{proxy.open_on}: other machines can connect")]
    lines += [("access tokens", "required" if requires_token(proxy) else "not required")]
    if proxy.forward_url:
        lines += [("HTTPS_PROXY", proxy.forward_url), ("CA certificate", proxy.ca)]
    if proxy.reverse_url:
        lines += [
            ("ANTHROPIC_BASE_URL", f"{proxy.reverse_url}/anthropic"),
            ("OPENAI_BASE_URL", f"{proxy.reverse_url}/openai/v1"),
        ]
    if proxy.metrics_url:
        lines += [
            ("metrics", f"{proxy.metrics_url}/metrics"),
            ("health", f"{proxy.metrics_url}/healthz"),
        ]
    if proxy.dashboard_url:
        from aibridge_addon.cli.dashboard import announced_link

        lines += [("page", announced_link(proxy.dashboard_url))]
    return lines
