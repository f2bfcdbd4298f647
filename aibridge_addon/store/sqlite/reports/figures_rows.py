"""Sums of requests and of the roll-up as `Figures`."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aibridge_addon.report.figures import Figures
from aibridge_addon.store.sqlite.figures import MEASURES, MONEY

MOST_MODELS = 20
"""Most unpriced models that figures name."""
_MOST_COUNTED = 200
_COUNTS = [name for name in MEASURES if name not in MONEY]
_SUBSCRIPTION = "credential_kind = 'subscription'"

SUMS = (
    *(f"sum({name}) AS {name}" for name in _COUNTS),
    f"sum(cost) FILTER (WHERE NOT {_SUBSCRIPTION}) AS cost",
    f"sum(cost) FILTER (WHERE {_SUBSCRIPTION}) AS list_price",
    f"sum(saved) FILTER (WHERE NOT {_SUBSCRIPTION}) AS saved",
    "sum(provider_cost) AS provider_cost",
    "max(latest) AS latest",
)
"""Columns that sum up requests or rows of the roll-up."""
SUMS_OF_SUMS = (
    *(f"sum({name}) AS {name}" for name in (*_COUNTS, "cost", "list_price")),
    "sum(saved) AS saved",
    "sum(provider_cost) AS provider_cost",
    "max(latest) AS latest",
    "top_models(model, unpriced) FILTER (WHERE unpriced > 0) AS unpriced_models",
)
"""Columns that sum up `SUMS` by model."""
_FIELDS = (*_COUNTS, "cost_nano_usd", "list_price_nano_usd", "saved_nano_usd")
_ALL_FIELDS = (*_FIELDS, "provider_cost_nano_usd", "latest", "unpriced_models")


class TopModels:
    """Aggregate function `top_models(model, requests)`: the models as JSON, in bounded memory."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    def step(self, model: str, requests: int) -> None:
        """Count the requests of a model."""
        name = model or "unknown"
        if name in self._requests or len(self._requests) < _MOST_COUNTED:
            self._requests[name] += requests

    def finalize(self) -> str:
        """Return the models, most requests first."""
        ordered = sorted(self._requests.items(), key=lambda item: (-item[1], item[0]))
        return json.dumps([model for model, _ in ordered[:MOST_MODELS]])


def to_figures(values: Sequence[Any]) -> Figures:
    """Return the figures of a row of `SUMS_OF_SUMS`."""
    named = dict(zip(_ALL_FIELDS, values, strict=True))
    if not named["requests"]:
        return Figures()
    models = tuple(json.loads(named["unpriced_models"] or "[]"))
    return Figures(**named | {"unpriced_models": models})
