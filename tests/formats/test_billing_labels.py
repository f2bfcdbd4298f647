"""Labels of requests that change the price of a call."""

from typing import Any

import pytest

from aibridge_addon.formats import FORMATS
from formats.helpers import read_request


@pytest.mark.parametrize("name", ["anthropic_messages", "openai_chat", "openai_responses"])
def test_labels_of_a_request_are_read(name: str) -> None:
    asked: dict[str, Any] = {"service_tier": "flex", "speed": "fast", "inference_geo": "us"}
    assert read_request(FORMATS[name], asked).billing_labels == asked


@pytest.mark.parametrize("value", [None, 7, "", {}, []])
def test_label_that_is_no_text_is_ignored(value: Any) -> None:
    assert read_request(FORMATS["openai_chat"], {"service_tier": value}).billing_labels == {}


def test_long_label_is_cut() -> None:
    labels = read_request(FORMATS["openai_chat"], {"speed": "x" * 1000}).billing_labels
    assert labels == {"speed": "x" * 64}


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ({"model": "gpt-5", "web_search_options": {}}, {"web_search": "requested"}),
        ({"model": "gpt-4o-search-preview"}, {"web_search": "requested"}),
        ({"model": "gpt-5"}, {}),
        ({}, {}),
    ],
)
def test_chat_request_that_searches_the_web_is_labelled(
    asked: dict[str, Any], labels: dict[str, str]
) -> None:
    assert read_request(FORMATS["openai_chat"], asked).billing_labels == labels
