"""Estimates of tokens."""

import base64
import json
import os

from aibridge_addon.budgets.tokens import InputEstimates, OutputEstimates, input_tokens


def test_image_counts_as_an_image_and_not_by_its_base64() -> None:
    data = base64.b64encode(os.urandom(300_000)).decode()
    for image in ({"data": data}, {"url": f"data:image/png;base64,{data}"}):
        assert input_tokens(json.dumps({"text": "hi", "image": image}).encode()) < 2_100


def test_short_blob_between_texts_counts_as_an_image() -> None:
    for place in range(0, 1_200, 97):
        body = b'{"text": "%s", "image": "%s", "more": "y"}' % (b"a b" * place, b"A" * 1_024)
        text = len(body) - 1_026
        assert input_tokens(body) == text // 3 + 2_000


def test_blob_counts_as_an_image_wherever_it_begins() -> None:
    for start in (0, 1, 511, 512, 513, 5_000):
        body = b'%s"%s"%s' % (b"\n" * start, b"A" * 1_024, b" \n" * 300)
        assert input_tokens(body) == (start + 600) // 3 + 2_000


def test_text_counts_by_its_length() -> None:
    assert input_tokens(b"x" * 3_000) == 1_000


def test_conversation_counts_only_what_it_has_not_sent_before() -> None:
    inputs = InputEstimates()
    assert inputs.uncached("s", 1_000) == 1_000
    inputs.add("s", 1_000)
    assert inputs.uncached("s", 1_200) == 200
    assert inputs.uncached("s", 300) == 300, "a compacted conversation is new"
    assert inputs.uncached(None, 1_200) == 1_200


def test_likely_output_is_the_95th_percentile_of_the_model_and_at_least_1000() -> None:
    outputs = OutputEstimates()
    assert outputs.likely("m") == 1_000
    for tokens in range(100):
        outputs.add("m", tokens * 100)
    assert outputs.likely("m") == 9_500
    for _ in range(200):
        outputs.add("m", 2_000)
    assert outputs.likely("m") == 2_000, "older outputs are forgotten"
    assert outputs.likely("other") == 1_000
