"""Numbers in requests that bound the output: limits of tokens, and choices. Sans-io."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from aibridge_addon.raw_json import JSON, pairs, read, with_changes

type Places = Mapping[str, Places | None]
"""Names of members that limit the output tokens; where one holds others, their names."""

_MOST_TOKENS = 2**63 - 1
_MOST_CHOICES = 10_000
"""More than any provider makes for a request."""


def number(value: JSON) -> float | None:
    """Return a number from 0, which lenient servers also read from text; None for other values."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if value >= 0 else None


def choices_in(*values: JSON) -> int:
    """Return the largest stated number of choices, and at least 1."""
    return max(1, *(int(min(number(value) or 0, _MOST_CHOICES)) for value in values))


def places(*names: str, within: Sequence[str] = ()) -> Places:
    """Return the places of limits: these members, or these in each of the members `within`.

    Names are found in any case, as servers written in Go read them.
    """
    limits: Places = dict.fromkeys(map(str.casefold, names))
    return in_members(within, limits) if within else limits


def in_members(names: Iterable[str], limits: Places) -> Places:
    """Return the places of limits in each of these members."""
    return dict.fromkeys(map(str.casefold, names), limits)


def largest_limit(members: Mapping[str, msgspec.Raw], places: Places) -> int | None:
    """Return the largest limit of output tokens that a request states; None if it states none."""
    return max(_limits(members.items(), places), default=None)


def _limits(members: Iterable[tuple[str, msgspec.Raw]], places: Places) -> Iterator[int]:
    for name, value in members:
        if (folded := name.casefold()) not in places:
            continue
        if (inner := places[folded]) is not None:
            yield from _limits(pairs(value) or (), inner)
        elif (limit := number(read(value))) is not None:
            yield int(min(limit, _MOST_TOKENS))


def lowered(data: bytes, places: Places, most: int) -> bytes:
    """Lower each limit of output tokens above `most`; every other byte stays as it is."""

    def change(name: str, value: msgspec.Raw) -> bytes | None:
        if (folded := name.casefold()) not in places:
            return None
        if (inner := places[folded]) is not None:
            return lowered(bytes(value), inner, most)
        return str(most).encode() if (number(read(value)) or 0) > most else None

    return with_changes(data, change)
