"""`BudgetRule`: a budget, the requests that it is for, and the scopes that it counts. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from aibridge_addon.access.asked import Asked
from aibridge_addon.access.selection import Selection
from aibridge_addon.budgets.accounts import Account, unused_account
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.providers.identity import Actor

_TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """A budget and its selection of requests, by the models that are sent."""

    budget: Budget
    selection: Selection

    def scopes(self, asked: Asked) -> tuple[str, ...]:
        """Return the scopes in which a selected request counts; none with another credential."""
        kind = asked.credential.kind if asked.credential else None
        if kind not in self.budget.credential_kinds:
            return ()
        return self._own_scopes(asked.sender.actor) or (_TOTAL,) * (self.budget.per == "total")

    def own_scopes(self, actor: Actor) -> tuple[str, ...]:
        """Return the scopes of an actor and its teams, of which it may see the figures."""
        return self._own_scopes(actor) if self.selection.is_for(actor) else ()

    def _own_scopes(self, actor: Actor) -> tuple[str, ...]:
        match self.budget.per:
            case "actor":
                return (actor.id,)
            case "team":
                return actor.teams
            case "total":
                return ()


def own_accounts(
    rules: Iterable[BudgetRule], accounts: Iterable[Account], actor: Actor, moment: datetime
) -> list[Account]:
    """Return the accounts of an actor and its teams, also those without a charge."""
    found = {(account.budget.name, account.scope): account for account in accounts}
    return [
        found.get((rule.budget.name, scope)) or unused_account(rule.budget, scope, moment)
        for rule in rules
        for scope in rule.own_scopes(actor)
    ]
