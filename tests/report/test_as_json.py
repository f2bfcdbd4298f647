"""Values of reports as JSON."""

import pytest
from report.rows import request_row

from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.figures import Figures


@pytest.mark.parametrize(
    ("figures", "tokens"),
    [
        (Figures(requests=1, calls=1, input=5), (5, 0)),
        (Figures(requests=1, calls=1), (None, None)),  # seconds of audio, or free of charge
        (Figures(requests=1, calls=1, input=5, incomplete=1), (5, None)),
        (Figures(requests=1, without_usage=1), (None, None)),
    ],
)
def test_unknown_tokens_are_null_wherever_figures_are_written(
    figures: Figures, tokens: tuple[int | None, int | None]
) -> None:
    written = as_json(request_row(figures=figures))["figures"]
    assert (written["input"], written["output"]) == tokens
