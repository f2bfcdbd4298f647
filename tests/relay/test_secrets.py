"""Headers: masked fields hold no secret, and outgoing fields equal the received ones."""

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aibridge_addon.headers import Fields, lowered
from aibridge_addon.providers.credentials import SECRET_FIELDS
from aibridge_addon.relay.secrets import mask_fields, outgoing_fields

SECRET = b"sk-ant-api03-0123456789abcdef"


def cased(name: str) -> st.SearchStrategy[bytes]:
    """Generate a name in mixed case."""
    return st.sampled_from([name, name.title(), name.upper()]).map(str.encode)


END_TO_END_NAMES = st.sampled_from(
    ["accept", "anthropic-beta", "x-custom", "content-length", "transfer-encoding", "upgrade"]
).flatmap(cased)
HOP_NAMES = st.sampled_from(["keep-alive", "proxy-connection", "te"]).flatmap(cased)
SECRET_NAMES = st.sampled_from(
    sorted(name.decode() for name in SECRET_FIELDS - {b"proxy-authorization"})
).flatmap(cased)
VALUES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", b"a=1", b"b=2", b"Bearer a", b"Bearer b", b"Basic ", b"... (2)"]),
    st.tuples(st.sampled_from([b"Bearer ", b"basic ", b"x "]), st.binary(max_size=30)).map(
        b"".join
    ),
)


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(st.tuples(END_TO_END_NAMES | SECRET_NAMES, VALUES), max_size=8).map(tuple))
@example(((b"Cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"a=1")))
@example(((b"cookie", b"a"), (b"cookie", b"b"), (b"cookie", b"... (2)"), (b"cookie", b"c")))
def test_outgoing_headers_equal_the_received_ones_in_order_and_case(fields: Fields) -> None:
    shown, secrets = mask_fields(fields)

    assert [name for name, _ in shown] == [name for name, _ in fields]
    assert outgoing_fields(shown, secrets) == fields


@settings(deadline=None, max_examples=examples(100))
@given(
    name=SECRET_NAMES | st.just(b"Proxy-Authorization"),
    before=st.sampled_from([b"", b"Bearer ", b"BASIC ", b"Token ", b"session=", b"a=b; c="]),
    after=st.sampled_from([b"", b"; Path=/", b" x", b"\xff"]),
    secret=st.permutations(list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")).map(bytes),
    length=st.integers(12, 36),
)
def test_hint_shows_only_the_ends_of_a_secret(
    name: bytes, before: bytes, after: bytes, secret: bytes, length: int
) -> None:
    secret = secret[:length]

    shown, _ = mask_fields(((b"accept", b"*/*"), (name, before + secret + after)))

    assert shown[0] == (b"accept", b"*/*")
    assert shown[1][0] == name
    assert not any(secret[i : i + 5] in shown[1][1] for i in range(length - 4))


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ((b"X-Api-Key", SECRET), b"sk-a...cdef"),
        ((b"Authorization", b"Bearer " + SECRET), b"Bearer sk-a...cdef"),
        ((b"authorization", b"Basic " + SECRET), b"Basic sk-a...cdef"),
        ((b"authorization", SECRET + b" x"), b"sk-a...ef x"),
        ((b"Cookie", b"id=" + SECRET + b"; a=b"), b"id=s... a=b"),
        ((b"api-key", b"abc"), b"..."),
    ],
)
def test_masked_header_shows_the_scheme_and_a_hint(field: tuple[bytes, bytes], hint: bytes) -> None:
    shown, _ = mask_fields((field,))

    assert shown == ((field[0], hint),)


def test_secrets_with_equal_hints_stay_distinct() -> None:
    fields = ((b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"cookie", b"a=1"))

    shown, secrets = mask_fields(fields)

    assert [value for _, value in shown] == [b"...", b"... (2)", b"..."]
    assert outgoing_fields(shown[1:], secrets) == fields[1:]


@settings(deadline=None, max_examples=examples(100))
@given(
    st.lists(
        st.tuples(END_TO_END_NAMES | SECRET_NAMES, VALUES).map(lambda field: (field, True))
        | st.tuples(HOP_NAMES | cased("proxy-authorization"), VALUES).map(
            lambda field: (field, False)
        ),
        max_size=8,
    )
)
def test_hop_by_hop_headers_are_removed_and_all_others_are_sent(
    marked: list[tuple[tuple[bytes, bytes], bool]],
) -> None:
    shown, secrets = mask_fields(tuple(field for field, _ in marked))

    assert outgoing_fields(shown, secrets) == tuple(field for field, goes_on in marked if goes_on)


def test_headers_named_by_connection_are_removed() -> None:
    fields = (
        (b"Connection", b"close, X-Hop"),
        (b"connection", b"x-other"),
        (b"x-hop", b"1"),
        (b"X-Other", b"2"),
        (b"x-end", b"3"),
    )

    assert outgoing_fields(fields, {}) == ((b"x-end", b"3"),)


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"content-length", b"Host"])
def test_connection_header_cannot_remove_the_framing_of_the_body(name: bytes) -> None:
    assert outgoing_fields(((b"connection", name), (name, b"x")), {}) == ((name, b"x"),)


@pytest.mark.parametrize(
    "name",
    [
        *(b"Content-Encoding", b"content-type", b"X-Api-Key", b"authorization", b"api-key"),
        *(b"x-goog-api-key", b"anthropic-version", b"Anthropic-Beta", b"OpenAI-Organization"),
    ],
)
def test_connection_header_cannot_remove_credentials_or_provider_headers(name: bytes) -> None:
    shown, secrets = mask_fields(
        ((b"Connection", b"x-hop, " + name), (name, SECRET), (b"x-hop", b"1"))
    )

    assert outgoing_fields(shown, secrets) == ((name, SECRET),)


def test_headers_of_an_upgrade_are_all_sent() -> None:
    fields = (
        (b"Connection", b"keep-alive, Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Key", b"x"),
    )

    assert outgoing_fields(fields, {}) == fields


def test_header_changed_by_another_addon_is_sent_as_changed() -> None:
    shown, secrets = mask_fields(((b"x-api-key", SECRET), (b"accept", b"*/*")))

    changed = ((b"x-api-key", b"another"), *shown[1:])

    assert outgoing_fields(changed, secrets) == ((b"x-api-key", b"another"), (b"accept", b"*/*"))


def test_headers_are_read_by_lower_case_name_and_the_first_wins() -> None:
    fields = ((b"User-Agent", "ü".encode()), (b"X-A", b"1"), (b"x-a", b"2"), (b"x-b", b"\xff"))

    assert lowered(fields) == {"user-agent": "ü", "x-a": "1", "x-b": "\ufffd"}
