"""Look-ups in headers give what mitmproxy's own give."""

from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.coretypes.multidict import _MultiDict

from aibridge_addon.relay.header_lookups import contains, get, get_all, pop

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"x-a", b"X-\xc3\xa4", b"x-\xff"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=5)), max_size=6)


class Original(http.Headers):
    """Headers with the methods as mitmproxy has them."""

    def get_all(self, name: str | bytes) -> list[str]:
        values: list[Any] = _MultiDict.get_all(self, http._always_bytes(name))
        return [http._native(value) for value in values]

    def __contains__(self, name: object) -> bool:
        return bool(self.get_all(name))  # type: ignore[arg-type]


@given(fields=FIELDS, name=NAMES, as_text=st.booleans())
def test_lookups_find_what_the_original_finds(
    fields: list[tuple[bytes, bytes]], name: bytes, as_text: bool
) -> None:
    headers, original = http.Headers(fields), Original(fields)
    asked = name.decode("utf-8", "surrogateescape") if as_text else name
    assert get_all(headers, asked) == original.get_all(asked)
    assert contains(headers, asked) == (asked in original)
    assert get(headers, asked, "none") == original.get(asked, "none")
    assert pop(headers, asked, "none") == MutableMapping.pop(original, asked, "none")
    assert headers.fields == original.fields


def test_header_that_is_missing_cannot_be_removed_without_a_default() -> None:
    with pytest.raises(KeyError):
        pop(http.Headers(), "x")


@pytest.mark.parametrize("look_up", [get_all, get, contains])
def test_names_of_other_types_are_refused(look_up: Callable[..., object]) -> None:
    with pytest.raises(TypeError):
        look_up(http.Headers(), 1)
