"""Numbers in requests that bound the output: limits of tokens, and choices. Sans-io."""

from aibridge_addon.raw_json import JSON

_MOST_CHOICES = 10_000
"""More than any provider makes for a request."""


def amount(value: JSON) -> float:
    """Return a positive number, which lenient servers also read from text; 0 for other values."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(0, value)


def choices_in(*values: JSON) -> int:
    """Return the largest stated number of choices, and at least 1."""
    return max(1, *(int(min(amount(value), _MOST_CHOICES)) for value in values))
