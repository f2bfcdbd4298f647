"""Reads the usage of OpenAI's APIs for audio: tokens, or seconds. Sans-io."""

from aibridge_addon.facts import Usage
from aibridge_addon.formats.openai_usage import AUDIO_NAMES, read_usage
from aibridge_addon.raw_json import JSON


def read_audio_usage(usage: dict[str, JSON]) -> Usage | None:
    """Read a usage object; None if it states neither tokens nor seconds."""
    if own := read_usage(usage, AUDIO_NAMES):
        return own
    seconds = usage.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    if not 0 <= seconds < _MOST_SECONDS:
        return None
    extra = {"input_audio_seconds": seconds}
    return Usage(input_tokens=None, output_tokens=None, extra=extra, raw=usage)


_MOST_SECONDS = 2**31
"""No recording is as long; larger numbers could not be priced either."""
