"""Sums of requests and of the roll-up as `Figures`."""

import json
from collections.abc import Sequence
from typing import Any

from aibridge_addon.report.figures import Figures
from aibridge_addon.store.sql.figures import MEASURES, MONEY

MOST_MODELS = 20
"""Most unpriced models that figures name."""
_COUNTS = [name for name in MEASURES if name not in MONEY]
_SUBSCRIPTION = "credential_kind = 'subscription'"

SUMS = (
    # As integers: PostgreSQL sums them up as numbers of any length, which take four times as long.
    *(
        f"CAST({total} AS BIGINT) AS {name}"
        for name, total in {
            **{name: f"sum({name})" for name in _COUNTS},
            "cost": f"sum(cost) FILTER (WHERE NOT {_SUBSCRIPTION})",
            "list_price": f"sum(cost) FILTER (WHERE {_SUBSCRIPTION})",
            "saved": f"sum(saved) FILTER (WHERE NOT {_SUBSCRIPTION})",
            "provider_cost": "sum(provider_cost)",
        }.items()
    ),
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


def to_figures(values: Sequence[Any]) -> Figures:
    """Return the figures of a row of `SUMS_OF_SUMS`."""
    named = dict(zip(_ALL_FIELDS, values, strict=True))
    if not named["requests"]:
        return Figures()
    models = tuple(json.loads(named["unpriced_models"] or "[]"))
    return Figures(**named | {"unpriced_models": models})
