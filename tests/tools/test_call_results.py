"""Invalid blocks of a result become text: a call that was run must not be reported as failed."""

from typing import Any

import pytest

from aibridge_addon.tools.call_results import MAX_MENDED
from tools.running import Connect, StartScripted, by_url, offered

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"type": "text", "text": "done"}

ODD: dict[str, tuple[dict[str, Any], str]] = {
    "null block": ({"content": [None, DONE]}, "null\ndone"),
    "text in place of a block": ({"content": ["sent", DONE]}, "sent\ndone"),
    "null content": ({"content": None}, "(no output)"),
    "structured content only": ({"structuredContent": {"a": 1}}, '{"a":1}'),
    "structured list": ({"content": [], "structuredContent": [1]}, '{"result":[1]}'),
    "null error flag": ({"content": [DONE], "isError": None}, "done"),
    "odd metadata": ({"content": [DONE], "_meta": []}, "done"),
    "odd annotations": ({"content": [DONE | {"annotations": {"priority": 5}}]}, "done"),
    "block without a type": ({"content": [{"text": "done"}]}, "done"),
    "text that is a number": (
        {"content": [{"type": "text", "text": 5}, DONE]},
        '{"type":"text","text":5}\ndone',
    ),
    "block of an unknown type": (
        {"content": [{"type": "video", "data": "AAAA"}]},
        '{"type":"video","data":"[4 characters of base64]"}',
    ),
    "resource without its URI": (
        {"content": [{"type": "resource", "resource": {"blob": "AAAA"}}, DONE]},
        '{"type":"resource","resource":{"blob":"[4 characters of base64]"}}\ndone',
    ),
}


@pytest.mark.parametrize(("answer", "said"), ODD.values(), ids=ODD)
async def test_invalid_blocks_of_a_result_become_text(
    connect: Connect, scripted: StartScripted, answer: Any, said: str
) -> None:
    servers, _ = await connect(by_url("s", "http", await scripted(answer)))

    found = await servers.call(offered(servers, "bmcp_s_tool"), {})

    assert (found.as_text, found.is_error) == (said, False)


async def test_error_flag_given_as_text_is_understood(
    connect: Connect, scripted: StartScripted
) -> None:
    servers, _ = await connect(by_url("s", "http", await scripted({"isError": "true"})))

    assert (await servers.call(offered(servers, "bmcp_s_tool"), {})).is_error


async def test_odd_result_of_very_many_blocks_is_cut(
    connect: Connect, scripted: StartScripted
) -> None:
    blocks = [DONE] * (MAX_MENDED + 5) + [None]
    servers, _ = await connect(by_url("s", "http", await scripted({"content": blocks})))

    found = await servers.call(offered(servers, "bmcp_s_tool"), {})

    assert len(found.parts) == MAX_MENDED + 1
    assert found.parts[-1].text == "[6 further parts are left out]"
