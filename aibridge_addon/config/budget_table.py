"""The table `[[budgets]]` of the config file."""

import os
from datetime import time
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import pydantic

from aibridge_addon.access.budget_rule import BudgetRule
from aibridge_addon.budgets.budget import Action, Budget, Choice, HoldRule, Per, StoreFailure
from aibridge_addon.budgets.windows import WindowName, WindowRule
from aibridge_addon.config.control_tables import Name, SelectionTable
from aibridge_addon.facts import CredentialKind

_NANO_USD = 1_000_000_000
_ROLLS_BY_DEFAULT = "5h"
_ZONES = "zoneinfo/"


def _check_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone; write a name such as Europe/Berlin or UTC") from error
    return value


def _check_time(value: str) -> str:
    try:
        time.fromisoformat(value)
    except ValueError as error:
        raise ValueError("is not a time of day; write it as 08:00") from error
    return value


type _Percent = Annotated[int, pydantic.Field(ge=1, le=1000)]
type _Zone = Annotated[str, pydantic.AfterValidator(_check_zone)]
type _Time = Annotated[str, pydantic.AfterValidator(_check_time)]


class BudgetTable(SelectionTable):
    """A budget."""

    name: Name
    per: Per = "actor"
    usd: Annotated[float, pydantic.Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, pydantic.Field(ge=1, le=10**15)] | None = None
    window: WindowName = "day"
    rolling: bool | None = None
    timezone: _Zone | None = None
    starts_at: _Time = "00:00"
    action: Action = "refuse"
    warn_at: list[_Percent] = pydantic.Field(default=[80, 100])
    hold: HoldRule = "worst"
    strict: bool = False
    unpriced: Choice = "refuse"
    batch: Choice = "refuse"
    credentials: list[CredentialKind | Literal["subscription"]] = pydantic.Field(
        default=["centralized"]
    )
    wait_s: Annotated[float, pydantic.Field(ge=0, le=120)] = 20.0
    show_remaining: bool = False
    on_store_failure: StoreFailure = "refuse"

    @pydantic.model_validator(mode="after")
    def _has_limit(self) -> Self:
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("needs a limit: give either usd or tokens")
        if self.show_remaining and (self.usd is None or self.action != "refuse"):
            raise ValueError('show_remaining needs usd and action = "refuse"')
        return self

    def rule(self) -> BudgetRule:
        """Return the rule."""
        is_rolling = self.window == _ROLLS_BY_DEFAULT if self.rolling is None else self.rolling
        window = WindowRule(
            name=self.window,
            zone=ZoneInfo(self.timezone) if self.timezone else local_zone(),
            is_rolling=is_rolling,
            starts_at=time.fromisoformat(self.starts_at),
        )
        budget = Budget(
            name=self.name,
            per=self.per,
            unit="tokens" if self.usd is None else "usd",
            limit=(self.tokens or 0) if self.usd is None else round(self.usd * _NANO_USD),
            window=window,
            action=self.action,
            warn_at=tuple(sorted(set(self.warn_at))),
            hold=self.hold,
            is_strict=self.strict,
            unpriced=self.unpriced,
            unread=self.batch,
            credential_kinds=tuple(self.credentials),
            wait_s=self.wait_s,
            on_store_failure=self.on_store_failure,
            shows_remaining=self.show_remaining,
        )
        return BudgetRule(budget=budget, selection=self.selection())


def local_zone() -> ZoneInfo:
    """Return the host's time zone; UTC if it has no name."""
    link = Path("/etc/localtime")
    names = [os.environ.get("TZ", "").removeprefix(":")]
    if link.is_symlink():
        names.append(str(link.resolve()).partition(_ZONES)[2])
    for name in filter(None, names):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")
