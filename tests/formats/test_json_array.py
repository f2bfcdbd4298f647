"""A streamed JSON array is split into its elements, wherever it is cut."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.decoders.json_array import JSONArrayParser
from aibridge_addon.formats.decoders.sse import Event, EventTooLargeError
from formats.helpers import raw_of, thorough

ARRAY = b'[{"a": "}]\\"{"}\n,\r\n{"b": [{}, []], "c\\\\": "\\u0041"},{}\n]\n'

objects = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=6,
    ),
    max_size=3,
)


def parse(chunks: Iterable[bytes]) -> list[Event]:
    parser = JSONArrayParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    if last := parser.close():
        events.append(last)
    assert parser.pending == 0
    return events


def values(events: Iterable[Event]) -> list[Any]:
    return [json.loads(event.data) for event in events if event.data]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_array_is_split_into_its_elements_in_chunks_of_any_size(size: int) -> None:
    events = parse(ARRAY[n : n + size] for n in range(0, len(ARRAY), size))
    assert values(events) == json.loads(ARRAY)
    assert raw_of(events) == ARRAY


@thorough
@given(st.data(), st.lists(objects, max_size=4), st.sampled_from([None, 1]))
def test_any_array_is_split_into_its_elements_wherever_it_is_cut(
    data: st.DataObject, elements: list[Any], indent: int | None
) -> None:
    array = json.dumps(elements, indent=indent, ensure_ascii=data.draw(st.booleans())).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(array)), max_size=6)))
    events = parse(array[a:b] for a, b in pairwise([0, *cuts, len(array)]))
    assert values(events) == elements
    assert raw_of(events) == array


def test_element_is_returned_as_soon_as_it_is_complete() -> None:
    parser = JSONArrayParser()
    assert parser.feed(b'[{"a":1') == []
    assert parser.pending == 7
    assert parser.feed(b"}") == [Event(b"", b'{"a":1}', b'[{"a":1}')]
    assert parser.feed(b",\n{}") == [Event(b"", b"{}", b",\n{}")]


def test_cut_element_is_returned_at_the_end() -> None:
    assert parse([b'[{},{"a"'])[-1] == Event(b"", b'{"a"', b',{"a"')


def test_lone_object_and_objects_in_a_row_are_elements() -> None:
    assert values(parse([b'{"a":1}'])) == [{"a": 1}]
    assert values(parse([b'{"a":1}\n{"b":2}'])) == [{"a": 1}, {"b": 2}]


def test_element_beyond_the_bound_is_an_error() -> None:
    with pytest.raises(EventTooLargeError):
        JSONArrayParser(max_event_bytes=10).feed(b'[{"a": "12345')
