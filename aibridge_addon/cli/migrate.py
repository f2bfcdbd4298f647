"""`aibridge migrate`: copies a SQLite database into PostgreSQL."""

from pathlib import Path

import click

from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.report.numbers import count
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.waiting_files import inspect_files

_SCHEMES = ("postgresql://", "postgres://")


@click.command(short_help="Copy a SQLite database into PostgreSQL.")
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("target", type=DatabaseLocation(), metavar="postgresql://…")
def command(source: Path, target: str) -> None:
    """Copy everything recorded in a SQLite file into a PostgreSQL database.

    Proxies may go on writing to both. If the copy is stopped, run it again: it continues. After the
    last run, rows and sums are compared. So copy once, let the proxies record in the new database,
    and copy again what they wrote to the old one meanwhile.
    """
    if not target.lower().startswith(_SCHEMES):
        raise click.UsageError("the target must be a PostgreSQL database: postgresql://…")
    from aibridge_addon.store.postgres.copying import Copied
    from aibridge_addon.store.postgres.store import PostgresStore

    def report(copied: Copied) -> None:
        name = copied.table.removeprefix("aibridge_")
        click.echo(f"{name:22} {count(copied.rows):>12} rows {count(copied.written):>12} copied")

    try:
        store = open_store(target)
        assert isinstance(store, PostgresStore)
        store.copy_file(source, report)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Everything in {source} is in {store.location}.")
    for finding in inspect_files(source):
        if finding.about == "spool":
            click.echo(f"But {finding.what}: {finding.to_do}. Then copy again.", err=True)
