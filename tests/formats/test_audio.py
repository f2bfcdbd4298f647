"""Audio in requests is estimated by its length, and not by its base64."""

import base64
import json
import struct
from typing import Any

import pytest

from aibridge_addon.facts import SpokenInput
from aibridge_addon.formats import FORMATS
from aibridge_addon.formats.form import read_form
from aibridge_addon.raw_json import members


def wave(seconds: int, bytes_per_second: int) -> bytes:
    """Return a file of 16 bits that states a wrong number of bytes per second, as some do."""
    samples = bytes_per_second // 2
    coding = struct.pack("<IHHIIHH", 16, 1, 1, samples, 2**31, 2, 16)
    head = b"RIFF" + bytes(4) + b"WAVEfmt " + coding + b"data" + bytes(4)
    return head + bytes(seconds * bytes_per_second)


def spoken(api: str, request: dict[str, Any]) -> SpokenInput:
    found = members(json.dumps(request).encode())
    assert found is not None
    return FORMATS[api].spoken_input(found)


def chat(content: bytes, kind: str) -> dict[str, Any]:
    audio = {"data": base64.b64encode(content).decode(), "format": kind}
    said = [{"type": "text", "text": "hi"}, {"type": "input_audio", "input_audio": audio}]
    return {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": said}]}


def gemini(content: bytes, media_type: str) -> dict[str, Any]:
    blob = {"mimeType": media_type, "data": base64.b64encode(content).decode()}
    return {"contents": [{"role": "user", "parts": [{"text": "hi"}, {"inlineData": blob}]}]}


@pytest.mark.parametrize(
    ("api", "request_", "tokens"),
    [
        ("openai_chat", chat(wave(20, 48_000), "wav"), 200),
        ("openai_chat", chat(wave(20, 16_000), "wav"), 200),
        ("openai_chat", chat(bytes(20 * 8_000), "mp3"), 200),
        ("gemini", gemini(bytes(20 * 8_000), "audio/mp3"), 640),
        ("gemini", gemini(wave(20, 32_000), "audio/wav"), 640),
        ("gemini", gemini(bytes(20 * 48_000), "audio/L16;rate=24000"), 640),
        ("gemini", {"request": gemini(bytes(20 * 8_000), "audio/ogg")}, 640),
    ],
)
def test_audio_is_measured_by_its_coding(api: str, request_: dict[str, Any], tokens: int) -> None:
    found = spoken(api, request_)
    assert found.audio_tokens == pytest.approx(tokens, abs=2)
    assert (found.blobs, found.is_answered_in_audio) == (1, False)


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (wave(20, 192_000), 20),
        (bytes(20 * 8_000), 20),
        (b"RIFF" + bytes(20 * 8_000), 20),
        (wave(20, 8_000).replace(struct.pack("<IH", 16, 1), struct.pack("<IH", 16, 85)), 20),
        (wave(0, 0), 0),
        (b"RIFF", 0),
    ],
)
def test_uploaded_audio_is_measured_by_its_coding(content: bytes, seconds: int) -> None:
    disposition = b'Content-Disposition: form-data; name="file"; filename="a.wav"'
    form = b"--b\r\n" + disposition + b"\r\n\r\n" + content + b"\r\n--b--\r\n"
    found = members(read_form("multipart/form-data; boundary=b", form)) or {}
    assert FORMATS["openai_transcriptions"].units(found) == {"input_audio_seconds": seconds}


@pytest.mark.parametrize(
    ("api", "request_"),
    [
        ("openai_chat", {"modalities": ["text", "audio"], "messages": []}),
        ("gemini", {"contents": [], "generationConfig": {"responseModalities": ["AUDIO"]}}),
        ("gemini", {"contents": [], "generation_config": {"response_modalities": ["audio"]}}),
    ],
)
def test_request_for_audio_is_recognised(api: str, request_: dict[str, Any]) -> None:
    assert spoken(api, request_) == SpokenInput(is_answered_in_audio=True)


@pytest.mark.parametrize("odd", [None, 1, "x", [], {}, [1], {"data": 1}, {"data": None}])
def test_anything_else_is_no_audio(odd: Any) -> None:
    for request in (
        {"messages": odd},
        {"messages": [odd]},
        {"messages": [{"content": [{"input_audio": odd}]}]},
        {"contents": odd},
        {"contents": [{"parts": [{"inlineData": odd}], "x": "audio/"}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": odd, "data": "AA"}}], "x": "audio/"}]},
    ):
        for api in ("openai_chat", "gemini", "anthropic_messages"):
            assert spoken(api, request).audio_tokens <= 1
