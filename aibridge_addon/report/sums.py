"""Sums of figures. Unknown amounts stay unknown: they add nothing, and are counted apart."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

from aibridge_addon.report.figures import Figures

MOST_MODELS = 20
"""Most unpriced models that a sum names."""
_MONEY = ("cost_nano_usd", "list_price_nano_usd", "saved_nano_usd", "provider_cost_nano_usd")
_COUNTS = tuple(f.name for f in fields(Figures) if f.type is int or f.type == "int")


def total(figures: Iterable[Figures]) -> Figures:
    """Return the sum of the figures of single requests."""
    counts: Counter[str] = Counter()
    money: dict[str, int] = {}
    models: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    latest = ""
    for found in figures:
        counts.update({name: getattr(found, name) for name in _COUNTS})
        models.update(found.unpriced_models)
        reasons.update(found.unpriced_reasons)
        latest = max(latest, found.latest)
        for name in _MONEY:
            if (amount := getattr(found, name)) is not None:
                money[name] = money.get(name, 0) + amount
    ordered = sorted(models.items(), key=lambda item: (-item[1], item[0]))
    named = tuple(name for name, _ in ordered[:MOST_MODELS])
    return Figures(
        **counts, **money, unpriced_models=named, unpriced_reasons=tuple(reasons), latest=latest
    )
