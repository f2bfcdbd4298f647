"""Lengths of audio in requests, by its size and its stated format. Sans-io."""

import re
import struct
from base64 import b64decode
from collections.abc import Iterable
from math import ceil

import msgspec

from aibridge_addon.facts import NOTHING_SPOKEN, SpokenInput
from aibridge_addon.raw_json import JSON, count, mapping, text

BYTES_PER_SECOND = 8_000
"""Of speech in a usual coding, and of telephone audio."""
OPENAI_TOKENS = 10
"""Tokens of a second of what a person says; a transcript of it has fewer."""
GOOGLE_TOKENS = 32
_PCM = 2
"""Bytes of a sample of PCM, with one channel."""
_OPENAI_RATE = 24_000
_GOOGLE_RATE = 16_000
_LONG = 1_024
WAVE_HEAD = 36
"""Bytes of the head of a WAV file that tell its coding."""
_UNCOMPRESSED = 1
_FORMAT = struct.Struct("<HHI6xH")
"""Coding, channels, samples per second and bits of a sample, from the 20th byte."""
_RATE = re.compile(r";\s*rate=(\d{1,6})")


def openai_rate(coding: JSON) -> int:
    """Return the bytes per second of an audio format of OpenAI Realtime, in either spelling."""
    name = text(coding) or text(mapping(coding).get("type")) or "pcm"
    if "pcm" not in name or name.endswith(("pcmu", "pcma")):
        return BYTES_PER_SECOND
    return _PCM * (count(mapping(coding).get("rate")) or _OPENAI_RATE)


def google_rate(media_type: str) -> int:
    """Return the bytes per second of audio of a media type such as `audio/pcm;rate=16000`."""
    if "pcm" not in media_type and "l16" not in media_type.lower():
        return BYTES_PER_SECOND
    found = _RATE.search(media_type)
    return _PCM * (int(found[1]) if found else _GOOGLE_RATE) or BYTES_PER_SECOND


def base64_seconds(value: msgspec.Raw, bytes_per_second: int) -> float:
    """Return the length of audio that is a text in base64."""
    return max(0, memoryview(value).nbytes - 2) * 3 / 4 / bytes_per_second


def is_blob(value: msgspec.Raw) -> bool:
    """Return True if the estimate of a request's text takes a value for one with fixed tokens."""
    return memoryview(value).nbytes > _LONG + 2


def wave_rate(head: bytes) -> int | None:
    """Return the bytes per second of an uncompressed WAV file; None for another file.

    Computed as decoders do, which do not look at what the head states beside.
    """
    if len(head) < WAVE_HEAD or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    coding, channels, rate, bits = _FORMAT.unpack_from(head, 20)
    return channels * rate * bits // 8 or None if coding == _UNCOMPRESSED else None


def file_rate(value: msgspec.Raw) -> int:
    """Return the bytes per second of a file of audio in base64."""
    head = bytes(memoryview(value)[1:65])
    try:
        start = b64decode(head, validate=True)
    except ValueError:
        return BYTES_PER_SECOND
    return wave_rate(start) or BYTES_PER_SECOND


def spoken_input(
    audio: Iterable[tuple[msgspec.Raw, int]], tokens: int, *, is_answered_in_audio: bool
) -> SpokenInput:
    """Return the audio of a request, given with its bytes per second.

    Args:
        audio: the values in base64.
        tokens: of a second.
        is_answered_in_audio: True if the request asks for audio.
    """
    given = list(audio)
    if not given and not is_answered_in_audio:
        return NOTHING_SPOKEN
    return SpokenInput(
        audio_tokens=ceil(sum(base64_seconds(value, rate) for value, rate in given) * tokens),
        blobs=sum(is_blob(value) for value, _ in given),
        is_answered_in_audio=is_answered_in_audio,
    )
