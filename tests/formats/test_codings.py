import contextlib
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.decoders.codings import (
    FREE_GROWTH,
    MAX_CODINGS,
    MAX_GROWTH,
    ContentDecoder,
    UndecodableError,
    decode_body,
)
from formats.any_json import pieces
from formats.helpers import STREAMS, Scenario, read_stream, thorough

MIB = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
}
BOMBS: dict[str, Any] = {
    "gzip": lambda: gzip.compress(bytes(64 * MIB), 1),
    "gzip of many members": lambda: gzip.compress(bytes(MIB), 1) * 256,
    "deflate": lambda: zlib.compress(bytes(64 * MIB), 1),
    "br": lambda: brotli.compress(bytes(64 * MIB), quality=1),
    "zstd": lambda: zstandard.compress(bytes(4 * MIB)) * 128,
}
PEAKS = {"zstd": 100 * MIB}
"""Bytes of memory that a bomb may cost where it is more than a few times the bound."""

codings = pytest.mark.parametrize("coding", ENCODERS)


@codings
def test_body_is_decoded(coding: str) -> None:
    name, encode = ENCODERS[coding]
    assert decode_body(encode(b"hello" * 100), name, max_bytes=1000) == b"hello" * 100


@codings
def test_empty_body_is_decoded(coding: str) -> None:
    name, encode = ENCODERS[coding]
    assert decode_body(b"", name, max_bytes=10) == b""
    assert decode_body(encode(b""), name, max_bytes=10) == b""


@codings
@given(st.data())
def test_any_split_of_a_coded_stream_gives_the_same_facts(coding: str, data: st.DataObject) -> None:
    name, encode = ENCODERS[coding]
    scenario: Scenario = data.draw(st.sampled_from(STREAMS))
    decoder = ContentDecoder(name, max_bytes=MIB)
    chunks = [decoder.feed(piece) for piece in data.draw(pieces(encode(scenario.stream())))]
    assert b"".join(chunks) == scenario.stream()
    assert read_stream(scenario.wire_format, chunks) == scenario.response_facts()


@codings
def test_body_is_decoded_byte_by_byte(coding: str) -> None:
    name, encode = ENCODERS[coding]
    decoder = ContentDecoder(name, max_bytes=MIB)
    assert b"".join(decoder.feed(bytes([byte])) for byte in encode(b"hello")) == b"hello"


def test_flushed_data_is_decoded_at_once() -> None:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    decoder = ContentDecoder("gzip", max_bytes=100)
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        coded = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert decoder.feed(coded) == event


@codings
def test_truncated_coded_body_is_decoded_as_far_as_it_came(coding: str) -> None:
    name, encode = ENCODERS[coding]
    text = "".join(str(number) for number in range(50_000)).encode()
    coded = encode(text)
    decoded = decode_body(coded[: len(coded) // 2], name, max_bytes=MIB)
    assert text.startswith(decoded)
    assert len(decoded) < len(text)


@codings
def test_body_of_exactly_the_limit_is_decoded(coding: str) -> None:
    name, encode = ENCODERS[coding]
    assert decode_body(encode(b"x" * 1000), name, max_bytes=1000) == b"x" * 1000


@codings
def test_body_one_byte_over_the_limit_is_an_error(coding: str) -> None:
    name, encode = ENCODERS[coding]
    with pytest.raises(UndecodableError, match="more bytes than the limit"):
        decode_body(encode(b"x" * 1001), name, max_bytes=1000)


@pytest.mark.parametrize("content_encoding", ["", "gzip", "deflate", "br", "zstd", "gzip, br"])
def test_limit_applies_to_all_chunks_together(content_encoding: str) -> None:
    coded = b"x" * 1001
    for name in filter(None, content_encoding.split(", ")):
        coded = ENCODERS[name][1](coded)
    feed = ContentDecoder(content_encoding, max_bytes=1000).feed
    with pytest.raises(UndecodableError, match="more bytes than the limit"):
        b"".join(feed(bytes([byte])) for byte in coded)


@pytest.mark.parametrize("coding", BOMBS)
def test_decompression_bomb_is_stopped_at_the_limit(coding: str) -> None:
    bomb = BOMBS[coding]()
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableError, match="more bytes than the limit"):
            decode_body(bomb, coding.split()[0], max_bytes=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PEAKS.get(coding, 4 * MIB)


def test_decompression_bomb_inside_another_coding_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(gzip.compress(bytes(64 * MIB), 1), 1)
    with pytest.raises(UndecodableError, match="more bytes than the limit"):
        decode_body(bomb, "gzip, gzip", max_bytes=MIB)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_output_limit_of_a_body_depends_on_its_size(coding: str) -> None:
    bomb = ENCODERS[coding][1](bytes(FREE_GROWTH + 1))
    assert len(bomb) * MAX_GROWTH < FREE_GROWTH
    with pytest.raises(UndecodableError, match="more bytes than the limit"):
        decode_body(bomb, coding, max_bytes=64 * MIB)
    assert len(decode_body(ENCODERS[coding][1](bytes(FREE_GROWTH)), coding, max_bytes=64 * MIB))


def test_repetitive_conversation_is_decoded() -> None:
    body = json.dumps([f"message {number}, as it was said" for number in range(400_000)]).encode()
    assert len(body) > 3 * FREE_GROWTH
    for coding in ("gzip", "br", "zstd"):
        coded = brotli.compress(body, quality=4) if coding == "br" else ENCODERS[coding][1](body)
        assert decode_body(coded, coding, max_bytes=64 * MIB) == body


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate"])
def test_body_with_too_many_content_codings_is_an_error(name: str) -> None:
    ContentDecoder(", ".join([name, "identity"] * MAX_CODINGS), max_bytes=10)
    with pytest.raises(UndecodableError, match=f"{MAX_CODINGS + 1} content codings"):
        ContentDecoder(", ".join([name] * (MAX_CODINGS + 1)), max_bytes=10)


def test_gzip_members_follow_each_other_wherever_they_are_cut() -> None:
    coded = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    for cut in range(len(coded) + 1):
        decoder = ContentDecoder("gzip", max_bytes=100)
        assert decoder.feed(coded[:cut]) + decoder.feed(coded[cut:]) == b"one two"


@pytest.mark.timeout(20)
def test_many_small_gzip_members_take_linear_time() -> None:
    coded = gzip.compress(b"x") * 200_000
    assert decode_body(coded, "gzip", max_bytes=MIB) == b"x" * 200_000


def test_zstd_frames_follow_each_other() -> None:
    coded = zstandard.compress(b"one ") + zstandard.compress(b"two")
    assert decode_body(coded, "zstd", max_bytes=100) == b"one two"


@pytest.mark.parametrize("content_encoding", ["", "identity", " Identity ", ",", "identity,"])
def test_body_without_a_coding_is_unchanged(content_encoding: str) -> None:
    decoder = ContentDecoder(content_encoding, max_bytes=10)
    assert decoder.is_identity
    assert decoder.feed(b"\x1f\x8b") == b"\x1f\x8b"


@pytest.mark.parametrize("content_encoding", ["gzip", "GZip", " gzip ", "x-gzip", "identity, gzip"])
def test_names_of_codings_are_read_in_any_case_and_with_aliases(content_encoding: str) -> None:
    decoder = ContentDecoder(content_encoding, max_bytes=10)
    assert not decoder.is_identity
    assert decoder.feed(gzip.compress(b"x")) == b"x"


def test_several_codings_are_undone_from_the_last_to_the_first() -> None:
    coded = brotli.compress(gzip.compress(zstandard.compress(b"x")))
    assert decode_body(coded, "zstd, gzip, br", max_bytes=1000) == b"x"


@pytest.mark.parametrize("name", ["compress", "dcb", "gzip;q=1", "aws-chunked, gzip"])
def test_unknown_coding_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(UndecodableError, match=f"unknown content coding '{name.split(',')[0]}'"):
        ContentDecoder(name, max_bytes=10)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_broken_bytes_are_an_error(name: str) -> None:
    with pytest.raises(UndecodableError):
        decode_body(b"\xff\xfe this is not coded at all", name, max_bytes=1000)


@codings
def test_bytes_after_the_end_are_an_error(coding: str) -> None:
    name, encode = ENCODERS[coding]
    decoder = ContentDecoder(name, max_bytes=1000)
    assert decoder.feed(encode(b"x")) == b"x"
    with pytest.raises(UndecodableError):
        decoder.feed(b"\xfftrailing")


@codings
@thorough
@given(st.data())
def test_flipped_bytes_decode_or_are_an_error(coding: str, data: st.DataObject) -> None:
    name, encode = ENCODERS[coding]
    coded = bytearray(encode(b"hello hello hello"))
    coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableError):
        assert len(decode_body(bytes(coded), name, max_bytes=1000)) <= 1000
