"""Wording that several checks share."""


def count(number: int, thing: str) -> str:
    """Return a number with its unit, in the plural if need be."""
    return f"{number:,} {thing}{'s' * (number != 1)}"
