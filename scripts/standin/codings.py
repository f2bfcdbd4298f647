"""Content codings for both directions: bodies are coded part by part, each part flushed.

Flushing keeps a compressed stream live: every part can be decoded as soon as it arrives.
"""

import zlib
from collections.abc import Callable

import brotli
import zstandard

type Coder = Callable[[bytes], bytes]

CODINGS = ("identity", "gzip", "br", "zstd")


class StreamCoder:
    """Compresses a body; every part can be decoded on its own."""

    def __init__(self, coding: str) -> None:
        self.part, self.end = _CODERS[coding]()


def _gzip() -> tuple[Coder, Callable[[], bytes]]:
    coder = zlib.compressobj(6, zlib.DEFLATED, 31)
    return lambda data: coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH), coder.flush


def _brotli() -> tuple[Coder, Callable[[], bytes]]:
    coder = brotli.Compressor(quality=4)
    return lambda data: coder.process(data) + coder.flush(), coder.finish


def _zstd() -> tuple[Coder, Callable[[], bytes]]:
    coder = zstandard.ZstdCompressor().compressobj()
    return (
        lambda data: coder.compress(data) + coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK),
        coder.flush,
    )


_CODERS = {"gzip": _gzip, "br": _brotli, "zstd": _zstd}


def encode(body: bytes, coding: str | None) -> bytes:
    """Compress a whole body."""
    if coding in (None, "identity"):
        return body
    coder = StreamCoder(coding)
    return coder.part(body) + coder.end()


def decode(body: bytes, coding: str | None) -> bytes:
    """Decompress a whole body.

    Raises:
        ValueError: the coding is unknown.
    """
    match coding:
        case None | "" | "identity":
            return body
        case "gzip":
            return zlib.decompress(body, 31)
        case "deflate":
            return zlib.decompress(body)
        case "br":
            return bytes(brotli.decompress(body))
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    raise ValueError(f"unknown content coding {coding!r}")
