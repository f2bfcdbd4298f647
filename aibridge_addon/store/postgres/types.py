"""Types of parameters and results, as SQLite has them: truth values and sums are integers."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

if TYPE_CHECKING:
    from psycopg import Connection

_REPLACEMENT = "\ufffd"
"""Stands for NUL, the only character that PostgreSQL cannot store."""


class TextDumper(StrDumper):
    """Dumps text."""

    def dump(self, obj: str) -> Buffer | None:
        """Return the text in UTF-8."""
        return super().dump(obj.replace("\0", _REPLACEMENT) if "\0" in obj else obj)


class TruthDumper(Dumper):
    """Dumps truth values as 0 and 1."""

    oid = Int8Dumper.oid

    def dump(self, obj: bool) -> Buffer | None:
        """Return a digit."""
        return b"1" if obj else b"0"


class NumberLoader(Loader):
    """Loads sums of integers as integers."""

    def load(self, data: Buffer) -> int | float:
        """Return the number."""
        number = Decimal(str(bytes(data), "ascii"))
        return int(number) if number == number.to_integral_value() else float(number)


def adapt(raw: "Connection[Any]") -> None:
    """Let a connection take and return the types that SQLite has."""
    raw.adapters.register_dumper(str, TextDumper)
    raw.adapters.register_dumper(int, Int8Dumper)
    raw.adapters.register_dumper(bool, TruthDumper)
    raw.adapters.register_loader("numeric", NumberLoader)
