"""Inspects the files beside a database, for `aibridge doctor`: spools, and rejected statements."""

from pathlib import Path

from aibridge_addon.findings import Finding


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
