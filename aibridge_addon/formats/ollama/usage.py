"""Tokens of Ollama's API, which stand on the last line of a stream. Sans-io."""

from collections.abc import Sequence

from aibridge_addon.facts import Usage
from aibridge_addon.formats.usage import optional_count
from aibridge_addon.raw_json import JSON, count

_PROMPT, _CACHED, _OUTPUT = "prompt_eval_count", "prompt_eval_cached_count", "eval_count"
_COUNTS = (_PROMPT, _CACHED, _OUTPUT)
_RAW = (
    *_COUNTS,
    *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
)

_SUMMED = (_OUTPUT, "eval_duration", "total_duration", "load_duration")


def usage_members(line: dict[str, JSON]) -> dict[str, JSON]:
    """Return the members of a line that count tokens and time."""
    return {name: line[name] for name in _RAW if line.get(name) is not None}


def states_tokens(usage: dict[str, JSON]) -> bool:
    """Return True if members state tokens, in a form that may be unreadable."""
    return any(usage.get(name) for name in _COUNTS)


def read_usage(usage: dict[str, JSON]) -> Usage | None:
    """Return the tokens; None if none are counted.

    The count of the prompt is left out by older servers if the prompt was cached: then the input is
    unknown. Thinking is part of the output.
    """
    prompt, output = count(usage.get(_PROMPT)), count(usage.get(_OUTPUT))
    if prompt is None and output is None:
        return None
    cached = optional_count(usage, (_CACHED,))
    plain = None
    if prompt is not None and cached is not None:
        plain = prompt - cached if cached <= prompt else prompt
    if plain is None and output is None:
        return None
    return Usage(
        input_tokens=plain,
        output_tokens=output,
        cache_read_input_tokens=cached,
        raw=usage,
    )


def with_summed_usage(line: dict[str, JSON], before: Sequence[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the last line of a response with the output and the time of all: the client sees one.

    The counts of the prompt and its time stay those of the last, which describe the client's
    context.
    """
    summed = {
        name: sum(count(one.get(name)) or 0 for one in (*before, line))
        for name in _SUMMED
        if before and name in line
    }
    return {**line, **summed}
