"""The budgets of the config file with their accounts, for the command and for the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aibridge_addon.access.budget_rule import BudgetRule, own_accounts
from aibridge_addon.budgets.accounts import Account, BudgetAccounts
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.cli import running
from aibridge_addon.config.file import read_config_file
from aibridge_addon.providers.identity import Actor, actor_named
from aibridge_addon.store.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """The configured budgets, and their accounts."""

    rules: tuple[BudgetRule, ...]
    accounts: BudgetAccounts
    actors: Mapping[str, Actor]
    """Known actors by name."""
    path: str
    """The config file; empty: none."""

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The configured budgets."""
        return tuple(rule.budget for rule in self.rules)

    def read(self, name: str | None = None) -> list[Account]:
        """Return the accounts of the current windows: all, or those of whom a name identifies.

        Raises:
            StoreError: they cannot be read.
        """
        moment = datetime.now(UTC)
        accounts = self.accounts.accounts(self.budgets, moment)
        if name is None:
            return accounts
        actor = actor_named(name, self.actors)
        return own_accounts(self.rules, accounts, actor, moment)


def read_budget_state(store: Store, path: str | None = None) -> BudgetState:
    """Return the budgets of a config file; without a path, of the one of the running proxy.

    Raises:
        SettingsError: the config file has mistakes.
        StoreError: the store does not count budgets.
    """
    proxy = running.find()
    path = path or (proxy.config if proxy else "")
    file = read_config_file(path)
    return BudgetState(
        rules=tuple(table.rule() for table in file.budgets),
        accounts=store.budget_accounts(),
        actors=file.known_actors(),
        path=path,
    )
