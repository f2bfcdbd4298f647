"""Strategies for any JSON, made of drawn bytes: a draw for each part would cost five times more."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

SPECIAL_NUMBERS = (-1, 0, 2**63, 2**64, 10**400, float("inf"), float("nan"), 0.5, -(2**63) - 1)
SPECIAL_STRINGS = (
    *("", "\ud83d", "\ude00", "\0", "é", "\U0001f600"),
    *('{"session_id": 1}', "_session_", "<system-reminder>"),
)
MOST_IN_ONE = 3


class _Drawn:
    """Drawn bytes, read one after the other; zeros follow, which give the simplest value."""

    def __init__(self, data: bytes) -> None:
        self._rest: Iterator[int] = iter(data)

    def byte(self) -> int:
        return next(self._rest, 0)

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size))

    def bytes(self, size: int) -> bytes:
        return bytes(self.byte() for _ in range(size))

    def below(self, end: int) -> int:
        """Return a number from 0 to `end`, without `end`."""
        return self.number(1 if end <= 256 else 3) % end

    def one_of[T](self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]


def _any_float(drawn: _Drawn) -> float:
    [value] = struct.unpack(">d", drawn.bytes(8))
    return float(value)


def _any_text(drawn: _Drawn) -> str:
    size = drawn.below(9)
    return "".join(
        chr(drawn.byte() if drawn.byte() % 2 else drawn.number(3) % 0x110000) for _ in range(size)
    )


def _any_string(drawn: _Drawn) -> str:
    return _any_text(drawn) if drawn.byte() % 2 else drawn.one_of(SPECIAL_STRINGS)


def _any_list(drawn: _Drawn) -> list[Any]:
    return [_any_value(drawn) for _ in range(drawn.below(MOST_IN_ONE + 1))]


def _any_object(drawn: _Drawn) -> dict[str, Any]:
    size = drawn.below(MOST_IN_ONE + 1)
    return {_any_string(drawn): _any_value(drawn) for _ in range(size)}


def _any_integer(drawn: _Drawn) -> int:
    value = drawn.number(drawn.below(12))
    return -value if drawn.byte() % 2 else value


_NUMBERS: tuple[Callable[[_Drawn], Any], ...] = (
    lambda drawn: drawn.byte() - 128,
    _any_integer,
    lambda drawn: drawn.one_of(SPECIAL_NUMBERS),
    _any_float,
)
_KINDS: tuple[Callable[[_Drawn], Any], ...] = (
    lambda drawn: None,
    lambda drawn: bool(drawn.byte() % 2),
    *_NUMBERS,
    _any_string,
    _any_string,
    *(3 * (_any_list,)),
    *(3 * (_any_object,)),
)


def _any_value(drawn: _Drawn) -> Any:
    return drawn.one_of(_KINDS)(drawn)


def _mutate(value: Any, drawn: _Drawn) -> Any:
    if isinstance(value, dict | list) and value and drawn.below(6) != 5:
        key = drawn.one_of(list(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        copy[key] = _mutate(value[key], drawn)
        return copy
    return _any_value(drawn)


def _cut(data: bytes, drawn: _Drawn) -> list[bytes]:
    borders = [i for i in range(len(data)) if data[i] in b"\r\n"] or [0]
    positions = [
        drawn.one_of(borders) if drawn.byte() % 2 else drawn.below(len(data) + 1)
        for _ in range(drawn.below(13))
    ]
    return [data[start:end] for start, end in pairwise([0, *sorted(positions), len(data)])]


def _from_bytes[T](
    make: Callable[[_Drawn], T], least: int = 16, most: int = 64
) -> st.SearchStrategy[T]:
    return st.binary(min_size=least, max_size=most).map(lambda data: make(_Drawn(data)))


numbers: st.SearchStrategy[float] = _from_bytes(lambda drawn: drawn.one_of(_NUMBERS)(drawn), 9, 20)

json_values: st.SearchStrategy[Any] = _from_bytes(_any_value)
"""Any JSON, with what other people's encoders let through: NaN, lone surrogates, huge numbers."""

lists_of_json: st.SearchStrategy[list[Any]] = _from_bytes(
    lambda drawn: [_any_value(drawn) for _ in range(drawn.below(8))], 32, 160
)


def objects_with(names: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects that have any JSON in some of these members."""
    return _from_bytes(
        lambda drawn: {name: _any_value(drawn) for name in names if drawn.byte() % 2}, 48, 200
    )


def mutated(value: Any) -> st.SearchStrategy[Any]:
    """Return the value with one part of it, however deep, replaced by any JSON."""
    return _from_bytes(lambda drawn: _mutate(value, drawn), 24, 96)


def pieces(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Return the data, cut anywhere: often at and inside line ends, where it hurts."""
    return _from_bytes(lambda drawn: _cut(data, drawn), 24, 52)
