"""Audio in Chat requests. Sans-io."""

import re
from collections.abc import Iterator

import msgspec

from aibridge_addon.facts import SpokenInput
from aibridge_addon.formats.audio import OPENAI_TOKENS, file_rate, spoken_input
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import elements, member, members, sequence

_AUDIO = re.compile(rb'"input_audio"')


def read_spoken_input(request: Members) -> SpokenInput:
    """Return the audio of a request, and whether it asks for audio."""
    asks = "audio" in sequence(member(request, "modalities"))
    return spoken_input(_audio(request), OPENAI_TOKENS, is_answered_in_audio=asks)


def _audio(request: Members) -> Iterator[tuple[msgspec.Raw, int]]:
    messages = request.get("messages")
    if messages is None or not _AUDIO.search(memoryview(messages)):
        return
    for message in elements(messages):
        for part in elements((members(message) or {}).get("content")):
            audio = (members(part) or {}).get("input_audio")
            data = None if audio is None else (members(audio) or {}).get("data")
            if data is not None:
                yield data, file_rate(data)
