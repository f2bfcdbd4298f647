import json
import math
from typing import Any, TypedDict

import msgspec
import pytest
from formats.any_json import json_values
from formats.helpers import thorough
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon import raw_json as wire

DEEP = b"[" * 100_000 + b"]" * 100_000


def raw(value: dict[str, msgspec.Raw] | list[msgspec.Raw] | None) -> Any:
    if isinstance(value, dict):
        return {name: bytes(member) for name, member in value.items()}
    return value and [bytes(element) for element in value]


@thorough
@given(json_values)
def test_json_written_by_python_is_decoded(value: Any) -> None:
    decoded = wire.decode(json.dumps(value).encode())
    # A number at the edge of what a float holds comes as written, NaN is not itself.
    assert json.dumps(decoded) == json.dumps(value)


@pytest.mark.parametrize(
    "broken", [b"", b" ", b"{", b"{]", b'"\xff"', b"[1,]", b"\x00", b"1" * 5000, DEEP]
)
def test_decoding_invalid_json_raises_a_value_error(broken: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the message is the decoder's
        wire.decode(broken)
    assert wire.read(broken) is None


@thorough
@given(st.binary(max_size=20))
def test_reading_never_raises(data: bytes) -> None:
    wire.read(data)
    wire.members(data)
    wire.elements(data)


def test_half_a_surrogate_pair_and_nan_are_decoded() -> None:
    assert wire.decode(rb'"\ud83d"') == "\ud83d"
    assert math.isnan(wire.decode(b"NaN"))


def test_members_keep_their_spelling() -> None:
    given = b' {"a" : { "b":1.0 } , "c":"\\u0041", "d": 1e400}'
    assert raw(wire.members(given)) == {"a": b'{ "b":1.0 }', "c": b'"\\u0041"', "d": b"1e400"}


def test_last_of_two_members_with_one_name_counts() -> None:
    assert raw(wire.members(b'{"a":1,"a":2}')) == {"a": b"2"}


@pytest.mark.parametrize("other", [b"[]", b'"a"', b"1", b"null", b"", b"{", b"[NaN]", DEEP])
def test_members_of_a_value_that_is_not_an_object_are_none(other: bytes) -> None:
    assert wire.members(other) is None


def test_members_are_split_beside_values_that_only_lenient_decoders_accept() -> None:
    assert raw(wire.members(rb'{"a":NaN,"b":"\ud83d","\ud83d":1}')) == {
        "a": b"NaN",
        "b": rb'"\ud83d"',
        "\ud83d": b"1",
    }


def test_elements_keep_their_spelling() -> None:
    assert raw(wire.elements(b'[ {"a" :1} ,"\\u0041",1.0 ]')) == [b'{"a" :1}', b'"\\u0041"', b"1.0"]


def test_elements_are_split_beside_values_that_only_lenient_decoders_accept() -> None:
    assert raw(wire.elements(b'[NaN,{"a": 1}]')) == [b"NaN", b'{"a": 1}']


@pytest.mark.parametrize(
    "other", [None, b"{}", b'"a"', b"1", b"null", b"", b"[", b"[}", DEEP, b"[NaN}", b"[NaN,]"]
)
def test_elements_of_a_value_that_is_not_an_array_are_empty(other: bytes | None) -> None:
    assert wire.elements(other) == []


def test_member_is_decoded_when_it_is_asked_for() -> None:
    members = wire.members(b'{"a":[1],"broken":"\xff"}')
    assert members is not None
    assert [wire.member(members, name) for name in ("a", "broken", "missing")] == [[1], None, None]


@thorough
@given(json_values)
def test_decoded_values_are_encoded_as_strict_json(value: Any) -> None:
    encoded = wire.encode(wire.decode(json.dumps(value).encode()))
    encoded.encode()
    msgspec.json.decode(encoded)


def test_json_is_encoded_compactly() -> None:
    assert wire.encode({"a": [1, "é", None]}) == '{"a":[1,"é",null]}'


def test_characters_that_no_store_holds_are_replaced_when_encoding() -> None:
    assert wire.encode({"a": "x\ud83d", "b": float("nan"), "c": 2**70}) == (
        f'{{"a":"x\ufffd","b":null,"c":{2**70}}}'
    )


@pytest.mark.parametrize("value", ["", "plain", "é 🌕", "\x00"])
def test_text_returns_a_string_unchanged(value: str) -> None:
    assert wire.text(value) == value


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["a"], b"a"])
def test_text_of_another_type_is_none(value: Any) -> None:
    assert wire.text(value) is None


def test_lone_surrogate_is_replaced() -> None:
    assert wire.text("a\ud83d") == "a\ufffd"
    assert wire.text("\ude00é\ud83d\ud83d!") == "\ufffdé\ufffd\ufffd!"


def test_pair_of_surrogates_is_made_whole() -> None:
    assert wire.text("\ud83c" + "\udf15") == "🌕"


@thorough
@given(st.text(st.characters(codec="utf-8") | st.just("\ud83d")))
def test_only_lone_surrogates_are_replaced(value: str) -> None:
    assert wire.text(value) == value.replace("\ud83d", "\ufffd")


@pytest.mark.parametrize("value", [{}, {"a": 1}])
def test_mapping_returns_an_object_unchanged(value: Any) -> None:
    assert wire.mapping(value) is value
    assert wire.sequence(value) == []


@pytest.mark.parametrize("value", [[], [1]])
def test_sequence_returns_an_array_unchanged(value: Any) -> None:
    assert wire.sequence(value) is value
    assert wire.mapping(value) == {}


@pytest.mark.parametrize(("value", "number"), [(0, 0), (7, 7), (7.0, 7), (2**63 - 1, 2**63 - 1)])
def test_count_returns_a_whole_number(value: float, number: int) -> None:
    assert wire.count(value) == number
    assert type(wire.count(value)) is int


@pytest.mark.parametrize(
    "value",
    [None, True, False, "7", [], {}, -1, 1.5, 2**63, 1e300, math.nan, math.inf, -math.inf],
)
def test_count_of_a_value_that_a_store_cannot_hold_is_none(value: Any) -> None:
    assert wire.count(value) is None


def test_expect_returns_a_value_of_the_expected_type() -> None:
    assert wire.expect(str, "a") == "a"


def test_expect_raises_a_type_error_that_names_both_types() -> None:
    with pytest.raises(TypeError, match="expected str, got NoneType"):
        wire.expect(str, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("", {}),
        (" \n", {}),
        ("[1]", [1]),
        ("null", None),
        ('{"a": ', '{"a": '),
        ("ls -la", "ls -la"),
        ('{"a": "\ud83d"}', {"a": "\ufffd"}),
        ("\ud83d", "\ufffd"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=range(10),
)
def test_arguments_are_decoded_or_stay_text(given: str, expected: Any) -> None:
    assert wire.arguments(given) == expected


@given(st.lists(st.tuples(st.text(max_size=3), st.integers() | st.lists(st.text())), max_size=6))
@pytest.mark.parametrize("other", ["1", "NaN", '"\\ud800"', '{"b": [{"a": 1, "a": NaN}, {}]}'])
def test_pairs_keep_all_members_of_one_name_in_their_order(
    other: str, given_: list[tuple[str, Any]]
) -> None:
    written = [*((name, json.dumps(value)) for name, value in given_), ("a", other), ("a", "2")]
    data = f"{{{','.join(f'{json.dumps(name)}: {value}' for name, value in written)}}}"

    found = wire.pairs(data.encode())

    assert found is not None
    assert not wire.are_all_members(data.encode(), wire.members(data.encode()) or {})
    assert [name for name, _ in found] == [name for name, _ in written]
    assert [bytes(value).decode().replace(" ", "") for _, value in found] == [
        value.replace(" ", "") for _, value in written
    ]


@given(st.dictionaries(st.text("ab é", max_size=3), st.integers() | st.lists(st.text())))
@pytest.mark.parametrize("indent", [None, 1])
def test_object_without_repeated_members_consists_of_those_it_was_read_as(
    indent: int | None, given_: dict[str, Any]
) -> None:
    data = json.dumps(given_, ensure_ascii=False, indent=indent).encode()
    assert wire.are_all_members(data, wire.members(data) or {})


@pytest.mark.parametrize(
    "data",
    [
        *(b'{"a":1,"a":1}', b'{"a": 1, "a": 12}', b'{"a": 12, "a": 1}', b'{"a":1,"\\u0061":1}'),
        # Read leniently: values are encoded anew, and may be longer than they were written.
        *(b'{"a":1E20,"x":NaN,"a":1E20}', b'{"a":{"b":NaN,"b":NaN}}'),
    ],
)
def test_object_with_a_repeated_member_is_more_than_it_was_read_as(data: bytes) -> None:
    assert not wire.are_all_members(data, wire.members(data) or {})


LENIENT = rb""" { "a" : NaN ,"b":[ Infinity,{"a":1 , "a": 2}] , "\u0061":"\ud800" } """


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_json_that_only_lenient_parsers_accept_is_split_and_changed_as_it_is_written(
    encoding: str,
) -> None:
    data = LENIENT.decode().encode(encoding)
    assert wire.pairs(data) == [
        ("a", msgspec.Raw(b"NaN")),
        ("b", msgspec.Raw(b'[ Infinity,{"a":1 , "a": 2}]')),
        ("a", msgspec.Raw(rb'"\ud800"')),
    ]
    changed = wire.with_values(data, {"a": 1})
    assert changed.decode(encoding) == LENIENT.decode().replace("NaN", "1").replace(
        r'"\ud800"', "1"
    )
    assert wire.with_values(data, {"c": 1}) == data
    found = wire.members(LENIENT)
    assert found
    assert [bytes(each["a"]) for each in wire.readings(LENIENT, found)] == [rb'"\ud800"', b"NaN"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a":1,"b":2}', [2]),
        (b' {"a": 1, "b": 2}\n', [2]),
        (b'{"b":1,"b":2}', [2, 1]),
        (b'{"b":1,"b":3,"b":2}', [2, 1]),
        (b'{"\\u0062":1,"b":2}', [2, 1]),
        (b'\xef\xbb\xbf{"b":1,"b":2}', [2, 1]),
        (b'{"b":2,"\xc3\xa9":"\xc3\xa9"}', [2]),
        (b'{"b":2,"\xff":1}', []),
        (b"--form", []),
        (b"", []),
    ],
)
def test_readings_differ_in_repeated_members(data: bytes, expected: list[int]) -> None:
    found = wire.readings(data, wire.members(data) or {})
    assert [wire.member(each, "b") for each in found if each] == expected


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"[[]]", b"1", b"{", b'{"a":1}x', b"{}x", b"{" * 100_000),
        *(b'{"a" NaN}', b'{"a":NaN', b'{"a":NaN]', b"{NaN:1}", b'{"a":NaN,}', b'{"a":}', b"\xff"),
    ],
)
def test_pairs_of_a_value_that_is_not_an_object_are_none(data: bytes) -> None:
    assert wire.pairs(data) is None


@given(
    given=st.dictionaries(
        st.text(max_size=8),
        st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=4),
        min_size=1,
    ),
    indent=st.sampled_from([None, 1, 3]),
    new=st.integers(),
    ascii_only=st.booleans(),
)
def test_replaced_value_leaves_every_other_byte_as_it_was(
    given: dict[str, Any], indent: int | None, new: int, ascii_only: bool
) -> None:
    name = next(iter(given))
    text = json.dumps(given, indent=indent, ensure_ascii=ascii_only)
    data = text.encode("utf-8", "surrogatepass")
    replaced = wire.with_values(data, {name: new})
    assert json.loads(replaced) == {**given, name: new}
    marked = {**given, name: "\0" * 30}
    expected = json.dumps(marked, indent=indent, ensure_ascii=ascii_only)
    expected = expected.replace(json.dumps("\0" * 30), str(new), 1)
    assert replaced == expected.encode("utf-8", "surrogatepass")


class Shape(TypedDict, total=False):
    a: Any
    b: str | None


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b'[{"a": [1], "b": "x", "c": {"large": 1}}, {}]', [{"a": [1], "b": "x"}, {}]),
        (b'[{"b": null, "a": 1, "a": 2}]', [{"b": None, "a": 2}]),
        (b"[]", []),
        (None, []),
        (b'{"a": 1}', []),
    ],
)
def test_array_is_read_with_only_the_members_of_a_shape(data: bytes | None, read: Any) -> None:
    assert wire.array_reader(Shape)(data) == read


@pytest.mark.parametrize(
    "data", [b'[{"a": 1, "b": 2, "c": 3}]', b"[1, null, [2]]", b'[{"b": "\\ud800", "c": NaN}]']
)
def test_array_with_an_element_of_another_shape_is_read_completely(data: bytes) -> None:
    assert json.dumps(wire.array_reader(Shape)(data)) == json.dumps(json.loads(data))


@pytest.mark.parametrize("depth", [100, 3_000, 100_000])
def test_json_that_is_nested_too_deeply_is_not_split(depth: int) -> None:
    deep = b"[[NaN,%b%b]]" % (b"[" * depth, b"]" * depth)

    assert len(wire.elements(deep)) == (depth < 100_000)
    assert (wire.pairs(b'{"a": %b}' % deep) is None) == (depth == 100_000)
