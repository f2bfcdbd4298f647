"""Inspects the folder of a database, for `aibridge doctor`: waiting files, and the free space."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from aibridge_addon.findings import Finding

_FULL_MIB, _NEARLY_FULL_MIB = 4, 256


def inspect_files(path: Path) -> list[Finding]:
    """Return the state of the spools and rejected statements beside a database."""
    found = []
    waiting = len(list(path.parent.glob(f"{path.name}.spool-*.jsonl")))
    if waiting:
        found.append(
            Finding(
                about="spool",
                level="note",
                what=f"{waiting} file{'s' * (waiting != 1)} waiting beside the database",
                to_do="a proxy reads them when it starts or when the database is available again",
            )
        )
    rejected = path.with_name(f"{path.name}.rejected.jsonl")
    if rejected.exists():
        found.append(
            Finding(
                about="records",
                level="note",
                what=f"the database rejected some statements: {rejected}",
                to_do="please report its contents, without the values, as a bug",
            )
        )
    return found


def inspect_disk(path: Path) -> Iterator[Finding]:
    """Yield a finding if there is little space for a database and its spools."""
    folder = next(each for each in path.parents if each.exists())
    free = shutil.disk_usage(folder).free / 2**20
    if free < _NEARLY_FULL_MIB:
        yield Finding(
            about="disk",
            level="bad" if free < _FULL_MIB else "note",
            what=f"{free:,.1f} MiB are free for records in {folder}",
            to_do="delete other files, or name a database on another disk with --db",
        )
