"""Lengths of audio in requests, by its size and its stated format. Sans-io."""

import re

import msgspec

from aibridge_addon.raw_json import JSON, count, mapping, text

BYTES_PER_SECOND = 8_000
"""Of speech in a usual coding, and of telephone audio."""
_PCM = 2
"""Bytes of a sample of PCM, with one channel."""
_OPENAI_RATE = 24_000
_GOOGLE_RATE = 16_000
_LONG = 1_024
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
