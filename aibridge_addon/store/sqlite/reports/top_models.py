"""Aggregate function that names the models with the most unpriced requests."""

import json
from collections import Counter

from aibridge_addon.store.sql.reports.figures_rows import MOST_MODELS

_MOST_COUNTED = 200


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
