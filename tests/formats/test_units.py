"""Tests of the amounts that a request will probably be billed, for budgets."""

import json
from typing import Any

import pytest

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


def test_audio_of_a_transcription_is_estimated_in_tokens_for_models_that_bill_them() -> None:
    request = given(model="gpt-4o-transcribe", file={"filename": "a.mp3", "bytes": 80_000})
    assert FORMATS["openai_transcriptions"].spoken_input(request).audio_tokens == 100


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ({}, 8_300),
        ({"size": "auto"}, 8_300),
        ({"size": "1024x1024"}, 7_100),
        ({"size": "2880x2880"}, 23_800),
        ({"size": "as large as possible"}, 23_800),
        ({"size": "1024x1024", "partial_images": "3"}, 7_400),
    ],
)
def test_image_has_at_most_the_tokens_of_its_size(size: dict[str, Any], tokens: int) -> None:
    """Of all models and qualities, those of gpt-image-2 in high quality are the most."""
    images = FORMATS["openai_images"]
    assert tokens - 100 < (images.output_limit(given(prompt="x", **size)) or 0) < tokens


def test_each_of_several_images_is_estimated() -> None:
    images, file = FORMATS["openai_images"], {"filename": "a.png", "bytes": 9}
    assert images.choices(given(n="10")) == 10
    assert images.spoken_input(given(image=file, mask=file)).image_tokens == 4_000
    fine = given(image=[file] * 3, input_fidelity="high")
    assert images.spoken_input(fine).image_tokens == 21_000
    assert images.spoken_input(given(images=[{"file_id": "file-1"}])).image_tokens == 0


def test_embeddings_have_no_output() -> None:
    assert FORMATS["openai_embeddings"].output_limit(given(input="Hello")) == 0


def test_other_formats_are_estimated_by_their_tokens() -> None:
    assert FORMATS["openai_chat"].units(given(messages=[])) == {}
