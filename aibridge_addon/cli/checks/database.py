"""Checks the database, and the records that wait beside it."""

from collections.abc import Iterable

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.findings import Finding
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError


def check_database(installation: Installation) -> Iterable[Finding]:
    """Check the store of the proxy; a recorder of the user's own is only named."""
    settings = installation.settings
    if settings.recorder:
        what = f"not used: {settings.recorder} records"
        return [Finding(about="database", level="note", what=what)]
    try:
        return open_store(settings.database).inspect()
    except StoreError as error:
        to_do = "name another database with --db, or the module of the store in aibridge_plugins"
        return [Finding(about="database", level="bad", what=str(error), to_do=to_do)]
