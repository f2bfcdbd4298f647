"""The `Store` protocol: everything that the proxy and the commands ask of a database.

A store is opened by its location (`aibridge_addon.store.open_store`). A location is a path, which
means SQLite, or `scheme://…` with a scheme that a plugin registered.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from aibridge_addon.access.limits.book import LimitBook
from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.budgets.accounts import BudgetAccounts
from aibridge_addon.findings import Finding
from aibridge_addon.report.protocol import Reports
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.preparation import Preparation
from aibridge_addon.store.recorder import Recorder
from aibridge_addon.store.repriced import PriceCall, Repriced

type RecordEvent = Literal["spooled", "recovered", "rejected", "lost", "forgotten"]
type OnEvent = Callable[[RecordEvent, int], None]
"""Receives the number of deferred writes, or of expired interceptions; called on any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Days after which rows are deleted; None: never."""

    interceptions: int | None = None
    hidden_turns: int | None = None
    content: int | None = None
    """Of requests and responses only; None: as long as their interceptions."""

    @property
    def content_days(self) -> int | None:
        """Days after which requests and responses are deleted: they need their interceptions."""
        days = [days for days in (self.content, self.interceptions) if days is not None]
        return min(days, default=None)


class Store(Protocol):
    """Stores facts, hidden turns and access tokens, and answers the queries of reports.

    Opening a store must neither connect nor create anything. All methods but those of the recorder
    may block, may be called on any thread, and raise `StoreError` if the store cannot be used.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """Location for messages and for other processes: absolute, and without credentials."""

    @abstractmethod
    def make_recorder(
        self, retention: Retention, on_event: OnEvent, preparation: Preparation
    ) -> Recorder:
        """Return a recorder, which stores facts from its `start` to its `close`.

        It calls `preparation` on a thread of its own.
        """

    @abstractmethod
    def access_tokens(self) -> Mapping[str, AccessToken]:
        """Return all access tokens by id, oldest first; none if the store does not exist yet.

        Revoked and expired access tokens are included: tokens are never deleted.
        """

    @abstractmethod
    def add_access_token(self, token: AccessToken) -> None:
        """Store an access token; creates the store if it does not exist."""

    @abstractmethod
    def revoke_access_tokens(self, name: str) -> list[AccessToken]:
        """Revoke the access token with an id, or all of an actor; return those just revoked."""

    @abstractmethod
    def reports(self) -> Reports:
        """Return the reports on the records.

        Their methods raise `StoreError` if the store does not exist or cannot be read.
        """

    def reprice(self, since: str, price: PriceCall, *, write: bool) -> Iterator[Repriced]:
        """Price the recorded calls since a time again; yield each with its old and new price.

        Writes in small transactions, so that a proxy can write meanwhile. A store that cannot do
        this raises `StoreError`.
        """
        raise StoreError(f"{self.location} cannot renew prices")

    def budget_accounts(self) -> BudgetAccounts:
        """Return the accounts of budgets.

        Raises:
            StoreError: the store does not count budgets, the default.
        """
        raise StoreError(f"{self.location} does not count budgets")

    def limit_book(self) -> LimitBook | None:
        """Return a new book of shared limits, on the running event loop.

        None, the default: the store cannot count them.
        """
        return None

    @abstractmethod
    def inspect(self) -> list[Finding]:
        """Return the state of the store for `aibridge doctor`. Changes nothing."""
