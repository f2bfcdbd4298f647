"""Budgets of an actor: its own scopes and those of its teams, and nobody else's."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from aibridge_addon.access.budget_rule import BudgetRule, own_accounts
from aibridge_addon.access.selection import Selection
from aibridge_addon.budgets.accounts import Account, unused_account
from aibridge_addon.budgets.budget import Budget, Per
from aibridge_addon.budgets.windows import WindowRule
from aibridge_addon.providers.identity import Actor

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ALICE = Actor(id="alice", metadata={"teams": ["search"]})


def rule(name: str, per: Per, **selection: tuple[str, ...]) -> BudgetRule:
    window = WindowRule(name="day", zone=ZoneInfo("UTC"))
    budget = Budget(name=name, per=per, unit="usd", limit=100, window=window)
    return BudgetRule(budget=budget, selection=Selection(**selection))


RULES = [
    rule("day", "actor"),
    rule("team", "team"),
    rule("all", "total"),
    rule("interns", "actor", actors=("intern-*",)),
    rule("ads", "actor", teams=("ads",)),
    rule("opus", "actor", models=("*opus*",)),
]


def test_actor_sees_own_accounts_and_those_of_its_teams_also_without_a_charge() -> None:
    spent = Account(
        budget=RULES[0].budget,
        scope="alice",
        spent=120,
        set_aside=0,
        held=5,
        calls=2,
        estimated=0,
        unpriced=0,
        opens_at=None,
    )
    others = [unused_account(each.budget, "bob", NOW) for each in RULES]
    found = own_accounts(RULES, [*others, spent], ALICE, NOW)
    names = [(account.budget.name, account.scope) for account in found]
    assert names == [("day", "alice"), ("team", "search"), ("opus", "alice")]
    assert found[0] == spent
    assert (found[0].share, found[1].share) == (1.2, 0)
    assert found[1].opens_at == datetime(2026, 11, 29, tzinfo=UTC)
