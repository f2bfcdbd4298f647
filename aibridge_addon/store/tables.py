"""Tables as values: `sqlite.description` describes those of a migrated database."""

from dataclasses import dataclass
from typing import Literal

type ColumnType = Literal["TEXT", "INTEGER", "REAL", "BLOB"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    type: ColumnType
    is_required: bool = False
    default: str | None = None
    """SQL of the default value."""
    is_number_of_row: bool = False
    """True if the database numbers new rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index of a table."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool = False
    condition: str = ""
    """SQL of the rows that a partial index has; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Columns of the primary key, in order."""
    unique: tuple[tuple[str, ...], ...] = ()
    """Columns of further unique constraints."""
    indexes: tuple[Index, ...] = ()
