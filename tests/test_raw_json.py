import json
import math
from typing import Any

import msgspec
import pytest
from formats.helpers import json_values, thorough
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
def test_whatever_json_python_writes_is_decoded(value: Any) -> None:
    decoded = wire.decode(json.dumps(value).encode())
    # A number at the edge of what a float holds comes as written, NaN is not itself.
    assert json.dumps(decoded) == json.dumps(value)


@pytest.mark.parametrize(
    "broken", [b"", b" ", b"{", b"{]", b'"\xff"', b"[1,]", b"\x00", b"1" * 5000, DEEP]
)
def test_what_is_not_json_is_a_value_error(broken: bytes) -> None:
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


def test_members_are_left_as_they_were_written() -> None:
    given = b' {"a" : { "b":1.0 } , "c":"\\u0041", "d": 1e400}'
    assert raw(wire.members(given)) == {"a": b'{ "b":1.0 }', "c": b'"\\u0041"', "d": b"1e400"}


def test_the_last_of_two_members_with_one_name_counts() -> None:
    assert raw(wire.members(b'{"a":1,"a":2}')) == {"a": b"2"}


@pytest.mark.parametrize("other", [b"[]", b'"a"', b"1", b"null", b"", b"{", b"[NaN]", DEEP])
def test_what_is_not_an_object_has_no_members(other: bytes) -> None:
    assert wire.members(other) is None


def test_members_are_found_beside_what_only_lenient_decoders_take() -> None:
    assert raw(wire.members(rb'{"a":NaN,"b":"\ud83d","\ud83d":1}')) == {
        "a": b"NaN",
        "b": rb'"\ud83d"',
        "\ud83d": b"1",
    }


def test_elements_are_left_as_they_were_written() -> None:
    assert raw(wire.elements(b'[ {"a" :1} ,"\\u0041",1.0 ]')) == [b'{"a" :1}', b'"\\u0041"', b"1.0"]


def test_elements_are_found_beside_what_only_lenient_decoders_take() -> None:
    assert raw(wire.elements(b'[NaN,{"a": 1}]')) == [b"NaN", b'{"a": 1}']


@pytest.mark.parametrize("other", [None, b"{}", b'"a"', b"1", b"null", b"", b"[", b"[}", DEEP])
def test_what_is_not_an_array_has_no_elements(other: bytes | None) -> None:
    assert wire.elements(other) == []


def test_a_member_is_decoded_when_it_is_asked_for() -> None:
    members = wire.members(b'{"a":[1],"broken":"\xff"}')
    assert members is not None
    assert [wire.member(members, name) for name in ("a", "broken", "missing")] == [[1], None, None]


@thorough
@given(json_values)
def test_whatever_was_decoded_is_encoded_as_strict_json(value: Any) -> None:
    encoded = wire.encode(wire.decode(json.dumps(value).encode()))
    encoded.encode()
    msgspec.json.decode(encoded)


def test_json_is_encoded_compactly() -> None:
    assert wire.encode({"a": [1, "é", None]}) == '{"a":[1,"é",null]}'


def test_what_no_store_can_hold_is_replaced_when_encoding() -> None:
    assert wire.encode({"a": "x\ud83d", "b": float("nan"), "c": 2**70}) == (
        f'{{"a":"x\ufffd","b":null,"c":{2**70}}}'
    )


@pytest.mark.parametrize("value", ["", "plain", "é 🌕", "\x00"])
def test_text_is_itself(value: str) -> None:
    assert wire.text(value) == value


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["a"], b"a"])
def test_what_is_not_text_is_none(value: Any) -> None:
    assert wire.text(value) is None


def test_a_lone_surrogate_is_replaced() -> None:
    assert wire.text("a\ud83d") == "a\ufffd"
    assert wire.text("\ude00é\ud83d\ud83d!") == "\ufffdé\ufffd\ufffd!"


def test_a_pair_of_surrogates_is_made_whole() -> None:
    assert wire.text("\ud83c" + "\udf15") == "🌕"


@thorough
@given(st.text(st.characters(codec="utf-8") | st.just("\ud83d")))
def test_only_lone_surrogates_are_replaced(value: str) -> None:
    assert wire.text(value) == value.replace("\ud83d", "\ufffd")


@pytest.mark.parametrize("value", [{}, {"a": 1}])
def test_a_mapping_is_itself(value: Any) -> None:
    assert wire.mapping(value) is value
    assert wire.sequence(value) == []


@pytest.mark.parametrize("value", [[], [1]])
def test_a_sequence_is_itself(value: Any) -> None:
    assert wire.sequence(value) is value
    assert wire.mapping(value) == {}


@pytest.mark.parametrize(("value", "number"), [(0, 0), (7, 7), (7.0, 7), (2**63 - 1, 2**63 - 1)])
def test_a_whole_number_counts(value: float, number: int) -> None:
    assert wire.count(value) == number
    assert type(wire.count(value)) is int


@pytest.mark.parametrize(
    "value",
    [None, True, False, "7", [], {}, -1, 1.5, 2**63, 1e300, math.nan, math.inf, -math.inf],
)
def test_what_is_not_a_whole_number_that_a_store_holds_does_not_count(value: Any) -> None:
    assert wire.count(value) is None


def test_a_value_of_the_expected_kind_is_itself() -> None:
    assert wire.expect(str, "a") == "a"


def test_a_value_of_another_kind_is_a_type_error_that_names_both() -> None:
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
def test_arguments_are_json_or_the_text_that_they_were(given: str, expected: Any) -> None:
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
    assert [name for name, _ in found] == [name for name, _ in written]
    assert [bytes(value).decode().replace(" ", "") for _, value in found] == [
        value.replace(" ", "") for _, value in written
    ]


@pytest.mark.parametrize("data", [b"", b"[]", b"[[]]", b"1", b"{", b'{"a":1}x', b"{" * 100_000])
def test_what_is_no_object_has_no_pairs(data: bytes) -> None:
    assert wire.pairs(data) is None
