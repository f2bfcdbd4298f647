"""The report of `aibridge usage --by host`: tunnels to AI services that are not read."""

from collections.abc import Sequence
from datetime import datetime

import click

from aibridge_addon.cli.tables import make_table, print_table, printable
from aibridge_addon.report.numbers import count, duration, size
from aibridge_addon.report.periods import short_time
from aibridge_addon.report.rows import TunnelRow

HOST = "host"
"""The grouping of `aibridge usage` that shows this report."""
_TITLE = "AI traffic outside of what is recorded: tunnels that were counted, and never decrypted"


def print_tunnels(rows: Sequence[TunnelRow], period: str, limit: int | None) -> None:
    """Print the tunnels as a table, with the sums."""
    click.secho(period, dim=True)
    click.secho(_TITLE, bold=True)
    table, now = make_table(), datetime.now().astimezone()
    by_actor = any(row.actor is not None for row in rows)
    for name in ("host", "service", "actor" if by_actor else "actors"):
        table.add_column(name, no_wrap=True)
    for name in ("tunnels", "sent", "received", "time", "latest"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows[:limit]:
        table.add_row(
            printable(row.host),
            row.service,
            count(row.actors) if row.actor is None else printable(row.actor),
            count(row.tunnels),
            size(row.bytes_sent),
            size(row.bytes_received),
            duration(row.duration_ms),
            short_time(datetime.fromisoformat(row.latest).astimezone(), now),
        )
    print_table(table)
    if limit is not None and (more := len(rows) - limit) > 0:
        click.echo(f"… {more:,} more")
