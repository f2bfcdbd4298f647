"""What an MCP result is to a model."""

import mcp_types as types
import pytest

from aibridge_addon.tools.model import ResultPart, ToolResult
from aibridge_addon.tools.results import read_result


def text(*parts: str, is_error: bool = False) -> ToolResult:
    found = tuple(ResultPart(kind="text", text=part) for part in parts)
    return ToolResult(parts=found, is_error=is_error)


def call_result(*blocks: types.ContentBlock, **more: object) -> ToolResult:
    return read_result(types.CallToolResult(content=list(blocks), **more))


def said(words: str) -> types.TextContent:
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
def test_structured_content_that_the_text_repeats_is_not_given_twice(blocks, structured):
    found = call_result(*map(said, blocks), structured_content=structured)

    assert found == text(*blocks)


@pytest.mark.parametrize("blocks", [[], ["something else"], ['{"a": 2}']])
def test_structured_content_that_the_text_does_not_repeat_is_given(blocks):
    found = call_result(*map(said, blocks), structured_content={"a": "ü"})

    assert found.parts[-1] == ResultPart(kind="other", text='{"a":"ü"}')
    assert len(found.parts) == len(blocks) + 1


def test_a_result_of_nothing_says_so():
    assert call_result() == text("(no output)")
    assert call_result(is_error=True) == text("The tool failed and gave no reason.", is_error=True)
