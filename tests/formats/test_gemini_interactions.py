"""Assembly of streamed interactions whose steps and texts are not as documented."""

from typing import Any

import pytest

from aibridge_addon.formats.gemini_interactions import FORMAT
from formats.helpers import sse

STARTED = {"event_type": "interaction.created", "interaction": {"id": "v1", "status": "completed"}}


def start(**step: Any) -> dict[str, Any]:
    step = {"type": "model_output", **step}
    return {"event_type": "step.start", "index": 0, "step": step}


def piece(text: Any) -> dict[str, Any]:
    return {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": text}}


HELLO = {"type": "text", "text": "Hello"}


@pytest.mark.parametrize(
    ("events", "texts"),
    [
        ([start(), piece(None), piece("a"), piece("b")], ["ab"]),
        ([start(content=[HELLO, HELLO]), piece("!")], ["Hello", "Hello!"]),
        ([start(content=HELLO), piece("!")], ["Hello!"]),
        ([start(content=[{"type": "text"}]), piece("a")], ["a"]),
        ([start(content="x"), piece("a")], ["a"]),
        ([start(content=[1]), piece("a")], ["a"]),
        ([start(), piece("a"), start(content=[HELLO])], ["Hello"]),
        ([start(), piece("a"), start(), piece("b")], ["b"]),
    ],
)
def test_pieces_of_text_continue_the_last_text_of_their_step(
    events: list[Any], texts: list[str]
) -> None:
    assert FORMAT.view
    parts = FORMAT.view.read_response(sse(STARTED, *events)).message.parts
    assert [part.text for part in parts if part.kind == "text"] == texts
