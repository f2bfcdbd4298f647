"""Results: conversion of an MCP result for a model."""

from typing import Any

import mcp_types as types
import pytest

from aibridge_addon.formats.central_tool import ResultPart, ToolResult
from aibridge_addon.tools import results
from aibridge_addon.tools.results import fitting, read_result


def text(*parts: str, is_error: bool = False) -> ToolResult:
    found = tuple(ResultPart(kind="text", text=part) for part in parts)
    return ToolResult(parts=found, is_error=is_error)


def call_result(*blocks: types.ContentBlock, **more: Any) -> ToolResult:
    return read_result(types.CallToolResult(content=list(blocks), **more))


def text_block(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


@pytest.mark.parametrize(
    ("blocks", "structured"),
    [
        (['{ "a": [1, 2] }'], {"a": [1, 2]}),
        (["3"], {"result": 3}),
        (["three"], {"result": "three"}),
        (["1", "2"], {"result": [1, 2]}),
        (["text", '{"a": 1}'], {"a": 1}),
    ],
)
def test_structured_content_repeated_in_text_is_left_out(
    blocks: list[str], structured: Any
) -> None:
    found = call_result(*map(text_block, blocks), structured_content=structured)

    assert found == text(*blocks)


@pytest.mark.parametrize("blocks", [[], ["something else"], ['{"a": 2}']])
def test_structured_content_not_repeated_in_text_is_passed_on(
    blocks: list[str],
) -> None:
    found = call_result(*map(text_block, blocks), structured_content={"a": "ü"})

    assert found.parts[-1] == ResultPart(kind="other", text='{"a":"ü"}')
    assert len(found.parts) == len(blocks) + 1


def test_empty_result_gets_a_note() -> None:
    assert call_result() == text("(no output)")
    assert call_result(is_error=True) == text("The tool failed and gave no reason.", is_error=True)


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_blank_texts_are_left_out(blank: str) -> None:
    assert call_result(text_block(blank), text_block("a"), text_block(blank)) == text("a")
    assert call_result(text_block(blank)) == text("(no output)")
    assert call_result(text_block(blank), is_error=True) == text(
        "The tool failed and gave no reason.", is_error=True
    )


def test_lone_surrogate_in_a_text_is_replaced() -> None:
    found = call_result(text_block("half \ud83d"), structured_content={"\udc00": 1})

    assert [part.text for part in found.parts] == ["half \ufffd", '{"\ufffd":1}']


def test_missing_structured_content_is_noted() -> None:
    result = types.CallToolResult(content=[text_block("done")])

    found = read_result(result, is_structured=True)
    assert not found.is_error
    assert found.parts[0].text == "done"
    assert "promises structured content" in found.parts[1].text
    assert read_result(result) == text("done")


def test_structured_content_nested_too_deeply_is_described() -> None:
    deep: object = {}
    for _ in range(100_000):
        deep = {"x": deep}
    found = call_result(structured_content={"deep": deep})

    assert "nested too deeply" in found.as_text


def screenshot(size: int) -> types.ImageContent:
    return types.ImageContent(type="image", data="A" * size, mime_type="image/png")


def test_image_does_not_repeat_structured_content() -> None:
    result = call_result(text_block("a screenshot"), screenshot(1000))

    assert fitting(result, 100) is result


def test_images_beyond_their_limit_are_left_out_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "MAX_IMAGES", 2000)
    found = fitting(call_result(screenshot(1200), screenshot(1200), text_block("end")), 100)

    assert [part.kind for part in found.parts] == ["image", "text", "text"]
    assert "1 of its 3 parts are left out" in found.parts[2].text


def test_nul_in_a_text_is_replaced() -> None:
    assert call_result(text_block("a\0b")) == text("a\ufffdb")


def test_image_in_a_resource_is_passed_on_as_an_image() -> None:
    image = types.BlobResourceContents(uri="x:y", blob="AAAA", mime_type="image/png")
    found = call_result(types.EmbeddedResource(type="resource", resource=image))
    part = ResultPart(kind="image", data="AAAA", media_type="image/png")
    assert found == ToolResult(parts=(part,))
