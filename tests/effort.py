"""Scales the number of examples of every property test with one figure.

`HYPOTHESIS_EXAMPLES` sets it: 8 in the whole suite, 2 with `-m "not e2e"`.
"""

from hypothesis import settings

WHOLE_SUITE = 8
WHILE_WORKING = 2


def examples(count: int) -> int:
    """Return the number of examples to try where the whole suite tries `count`."""
    return max(1, count * settings().max_examples // WHOLE_SUITE)
