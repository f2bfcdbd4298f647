"""Decodes content codings chunk by chunk, for observation. Sans-io.

Relayed bytes keep their coding; this decodes the copy that is read. Output is bounded by
`max_bytes` against decompression bombs; the output of a buffered body is also bounded by its size,
so that a few bytes never cost much time.
"""

import zlib
from collections.abc import Callable

import brotli
import zstandard

type Decode = Callable[[bytes], bytes]

MAX_CODINGS = 8
"""Number of codings that a body may have gone through; each one has a state of its own."""
MAX_GROWTH = 300
"""Largest ratio of decoded to coded size, for bodies that decode to more than `FREE_GROWTH`.

A repetitive conversation grows tens of times, a bomb a thousand times and more."""
FREE_GROWTH = 4 * 1024 * 1024
"""Bytes that a body may always decode to."""


class UndecodableError(ValueError):
    """The coding is unknown, the bytes are broken, or they decode to more than the bound."""


class ContentDecoder:
    """Undoes a `Content-Encoding`, which may name several codings, in the order applied.

    Raises:
        UndecodableError: from the constructor for an unknown coding, or too many; from `feed` for
            broken bytes.
    """

    def __init__(self, content_encoding: str, *, max_bytes: int) -> None:
        names = _named(content_encoding) if content_encoding else []
        if len(names) > MAX_CODINGS:
            raise UndecodableError(
                f"the body has {len(names)} content codings, more than {MAX_CODINGS}"
            )
        self._steps = [_step(name, max_bytes) for name in reversed(names)]
        self.left = max_bytes
        """Bytes that the body may still decode to."""

    @property
    def is_identity(self) -> bool:
        """True if there is no coding to undo."""
        return not self._steps

    def feed(self, data: bytes) -> bytes:
        """Return the bytes that a chunk decodes to; the rest follows with later chunks."""
        try:
            for step in self._steps:
                data = step(data)
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise UndecodableError(str(error)) from error
        self.left -= len(data)
        if self.left < 0:
            raise UndecodableError("the body decodes to more bytes than the limit")
        return data


def decode_body(body: bytes, content_encoding: str, *, max_bytes: int) -> bytes:
    """Decode a buffered body.

    Raises:
        UndecodableError: see `ContentDecoder`; also for a decompression bomb.
    """
    max_bytes = min(max_bytes, max(FREE_GROWTH, MAX_GROWTH * len(body)))
    return ContentDecoder(content_encoding, max_bytes=max_bytes).feed(body)


_IDENTITY = {"", "identity"}


def _named(content_encoding: str) -> list[str]:
    listed = [name.strip().lower() for name in content_encoding.split(",")]
    return [name for name in listed if name not in _IDENTITY]


def _step(name: str, max_bytes: int) -> Decode:
    match name:
        case "gzip" | "x-gzip":
            return _inflate(zlib.MAX_WBITS | 16, max_bytes)
        case "deflate":
            return _deflate(max_bytes)
        case "br":
            return _brotli(max_bytes)
        case "zstd":
            return _zstandard(max_bytes)
    raise UndecodableError(f"unknown content coding {name!r}")


def _inflate(window_bits: int, max_bytes: int) -> Decode:
    decompressor = zlib.decompressobj(window_bits)

    def step(data: bytes) -> bytes:
        nonlocal decompressor
        out = bytearray()
        # The rest after a member is copied: small steps keep many small members linear.
        for start in range(0, len(data), _INFLATE_STEP):
            rest = data[start : start + _INFLATE_STEP]
            while rest:
                if decompressor.eof:  # a further gzip member
                    decompressor = zlib.decompressobj(window_bits)
                out += decompressor.decompress(rest, max_bytes + 1)
                if len(out) > max_bytes:
                    raise UndecodableError("the body decodes to more bytes than the limit")
                rest = decompressor.unused_data
        return bytes(out)

    return step


def _deflate(max_bytes: int) -> Decode:
    # RFC 9110 means the zlib format; some servers send raw deflate. The first byte shows which.
    inner: Decode | None = None

    def step(data: bytes) -> bytes:
        nonlocal inner
        if inner is None:
            if not data:
                return b""
            inner = _inflate(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS, max_bytes)
        return inner(data)

    return step


def _brotli(max_bytes: int) -> Decode:
    decompressor = brotli.Decompressor()

    def step(data: bytes) -> bytes:
        out = decompressor.process(data, output_buffer_limit=max_bytes + 1)
        if not decompressor.can_accept_more_data():
            raise UndecodableError("the body decodes to more bytes than the limit")
        return out  # type: ignore[no-any-return]

    return step


def _zstandard(max_bytes: int) -> Decode:
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj(
        read_across_frames=True
    )
    left = max_bytes

    def step(data: bytes) -> bytes:
        nonlocal left
        out = bytearray()
        # The library has no limit on output: small steps of input limit the output of each.
        for start in range(0, len(data), _ZSTD_STEP):
            out += decompressor.decompress(data[start : start + _ZSTD_STEP])
            if len(out) > left:
                raise UndecodableError("the body decodes to more bytes than the limit")
        left -= len(out)
        return bytes(out)

    return step


_INFLATE_STEP = 16 * 1024
"""Bytes of input per step."""

_ZSTD_STEP = 1024
"""Bytes. A block of a few bytes makes 128 KiB at most, so one step stays below 64 MiB."""
