"""Audio in requests of the Gemini API. Sans-io."""

import re
from collections.abc import Iterator

import msgspec

from aibridge_addon.facts import SpokenInput
from aibridge_addon.formats.audio import GOOGLE_TOKENS, file_rate, google_rate, spoken_input
from aibridge_addon.formats.gemini.envelope import inner_request
from aibridge_addon.formats.gemini.names import member_named, named, raw_named
from aibridge_addon.formats.gemini.request import contents_of
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import elements, mapping, members, sequence, text

_AUDIO = re.compile(rb'"audio/')


def read_spoken_input(request: Members) -> SpokenInput:
    """Return the audio of a request, and whether it asks for audio."""
    inner = inner_request(request)
    return spoken_input(_audio(inner), GOOGLE_TOKENS, is_answered_in_audio=asks_for_audio(inner))


def asks_for_audio(request: Members) -> bool:
    """Return True if a request, or the set-up of a session, asks for audio."""
    config = mapping(member_named(request, "generationConfig"))
    modalities = map(str, sequence(named(config, "responseModalities")))
    return "AUDIO" in {name.upper() for name in modalities}


def _audio(request: Members) -> Iterator[tuple[msgspec.Raw, int]]:
    for content in contents_of(request):
        if not _AUDIO.search(memoryview(content)):
            continue
        for part in elements((members(content) or {}).get("parts")):
            given = raw_named(members(part) or {}, "inlineData")
            blob = {} if given is None else members(given) or {}
            media_type = text(member_named(blob, "mimeType")) or ""
            if media_type.startswith("audio/") and "data" in blob:
                is_raw = "pcm" in media_type or "l16" in media_type.lower()
                data = blob["data"]
                yield data, google_rate(media_type) if is_raw else file_rate(data)
