"""Metric of what this process has set aside of budgets."""

from prometheus_client import CollectorRegistry

from aibridge_addon.budgets.book import SetAside
from aibridge_addon.observe.budget_room import BudgetRoom


def test_room_of_all_scopes_is_summed_in_the_unit_of_the_budget() -> None:
    registry = CollectorRegistry()
    registry.register(
        BudgetRoom(
            lambda: [
                SetAside(budget="day", unit="usd", held=500_000_000, free=10**9),
                SetAside(budget="day", unit="usd", held=0, free=10**9),
                SetAside(budget="week", unit="tokens", held=7, free=0),
                SetAside(budget="day", unit="usd", held=0, free=3 * 10**9, is_spare=True),
            ]
        )
    )

    def value(budget: str, unit: str, state: str, name: str = "set_aside") -> float | None:
        labels = {"budget": budget, "unit": unit, "state": state}
        return registry.get_sample_value(f"aibridge_budget_{name}", labels)

    assert (value("day", "usd", "held"), value("day", "usd", "free")) == (0.5, 2)
    assert (value("week", "tokens", "held"), value("week", "tokens", "free")) == (7, 0)
    assert value("day", "usd", "free", "spare_room") == 3
