"""Usage of Anthropic Messages: the model calls that the top level of a usage object leaves out."""

from typing import Any

import pytest

from aibridge_addon.formats.anthropic_messages.usage import read_hidden_usages, summed_usage

MODEL = "claude-opus-4-5-20251101"


def iteration(kind: str, given: int, output: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "input_tokens": given, "output_tokens": output, **fields}


def hidden(given: int, output: int, *iterations: Any) -> list[tuple[Any, ...]]:
    usage = {"input_tokens": given, "output_tokens": output, "iterations": list(iterations)}
    found = read_hidden_usages(usage, MODEL)
    return [(row.call, row.model, row.input_tokens, row.output_tokens) for row in found]


COMPACTION = iteration("compaction", 180_000, 3_500)
ADVISOR = iteration("advisor_message", 800, 1_600, model="claude-dear")
DECLINED = iteration("message", 90, 4, model="claude-asked")
SERVED = iteration("fallback_message", 90, 40, model=MODEL)


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        ([COMPACTION], [("compaction", MODEL, 180_000, 3_500)]),
        ([ADVISOR], [("advisor_message", "claude-dear", 800, 1_600)]),
        ([{**ADVISOR, "model": None}], [("advisor_message", None, 800, 1_600)]),
        (
            [COMPACTION, ADVISOR, ADVISOR],
            [
                ("compaction", MODEL, 180_000, 3_500),
                ("advisor_message", "claude-dear", 800, 1_600),
                ("advisor_message", "claude-dear", 800, 1_600),
            ],
        ),
        ([DECLINED], [("message", "claude-asked", 90, 4)]),
        ([iteration("new_kind", 5, 6)], [("new_kind", None, 5, 6)]),
    ],
    ids=["compaction", "advisor", "advisor-unnamed", "several", "declined", "unknown-kind"],
)
@pytest.mark.parametrize("answer", [iteration("message", 90, 40), SERVED], ids=["own", "fallback"])
def test_iteration_that_the_top_level_leaves_out_has_a_row(
    answer: Any, iterations: list[Any], expected: list[Any]
) -> None:
    assert hidden(90, 40, *iterations, answer) == expected


@pytest.mark.parametrize(
    ("top", "iterations"),
    [
        ((30, 11), [iteration("message", 10, 5), iteration("message", 20, 6)]),
        ((10, 11), [iteration("message", 10, 5), iteration("message", 20, 6)]),
        ((10, 5), [iteration("message", 10, 5, model="claude-opus-4-5")]),
        ((180, 44), [DECLINED, SERVED]),
        ((180_090, 3_540), [COMPACTION, SERVED]),
        ((90, 40), [SERVED]),
        ((90, 40), []),
    ],
    ids=[
        "sum of all turns",
        "input of the first turn only",
        "alias of the model",
        "sum over models",
        "sum with compaction",
        "fallback without a declined attempt",
        "none",
    ],
)
def test_iteration_that_the_top_level_includes_has_no_row(
    top: tuple[int, int], iterations: list[Any]
) -> None:
    assert hidden(*top, *iterations) == []


def test_turns_of_two_models_in_the_sum_leave_the_advisor_out() -> None:
    assert hidden(180, 44, DECLINED, ADVISOR, SERVED) == [
        ("advisor_message", "claude-dear", 800, 1_600)
    ]


@pytest.mark.parametrize("given", [None, 7, "x", {}, [None, 7, "x", []]])
def test_iterations_of_another_shape_are_ignored(given: Any) -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "iterations": given}
    assert read_hidden_usages(usage, MODEL) == ()


def test_summed_usage_of_several_responses_lists_all_of_their_iterations() -> None:
    first = {
        "input_tokens": 10,
        "output_tokens": 5,
        "iterations": [COMPACTION],
        "output_tokens_details": {"thinking_tokens": 3},
        "server_tool_use": {"web_search_requests": 1},
    }
    second = {"input_tokens": 20, "output_tokens": 6}
    last = {
        "input_tokens": 30,
        "output_tokens": 7,
        "iterations": [ADVISOR],
        "output_tokens_details": {"thinking_tokens": 4},
    }
    assert summed_usage(last, [first, second]) == {
        "input_tokens": 30,
        "output_tokens": 18,
        "iterations": [COMPACTION, ADVISOR],
        "output_tokens_details": {"thinking_tokens": 7},
        "server_tool_use": {"web_search_requests": 1},
    }
    assert summed_usage(last, []) == last
