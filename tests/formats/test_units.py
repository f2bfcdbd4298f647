"""Tests of the amounts that a request will probably be billed, for budgets."""

import json

from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.tool_protocol import Members
from aibridge_addon.raw_json import members


def given(**values: object) -> Members:
    return members(json.dumps(values).encode()) or {}


def test_speech_is_estimated_by_its_characters() -> None:
    assert FORMATS["openai_speech"].units(given(input="Hello")) == {"input_characters": 5}


def test_transcription_is_estimated_by_the_size_of_its_file() -> None:
    request = given(model="whisper-1", file={"filename": "a.mp3", "bytes": 80_000})
    assert FORMATS["openai_transcriptions"].units(request) == {"input_audio_seconds": 10}


def test_embeddings_have_no_output() -> None:
    assert FORMATS["openai_embeddings"].output_limit(given(input="Hello")) == 0


def test_other_formats_are_estimated_by_their_tokens() -> None:
    assert FORMATS["openai_chat"].units(given(messages=[])) == {}
