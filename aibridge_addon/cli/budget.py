"""`aibridge budget`: shows and resets budgets."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from aibridge_addon.budgets.accounts import ALL, Account, BudgetAccounts
from aibridge_addon.budgets.budget import Budget
from aibridge_addon.budgets.words import amount
from aibridge_addon.cli.budget_state import BudgetState, read_budget_state
from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.own import mine_option, own_name
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import printable
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.report.numbers import bar, count, percent
from aibridge_addon.store.errors import StoreError

_BAR = 16
_MOST_ENTRIES = 20
_config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Config file with the budgets. Default: the one of the running proxy.",
)
_db_option = click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to read. Default: the one of the running proxy, or the default database.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(short_help="Show and reset budgets.")
def command() -> None:
    """Show and reset the budgets of the config file."""


@command.command("list", short_help="Show all budgets in their current windows.")
@_config_option
@_db_option
@click.option("--scope", metavar="NAME", help="Only this actor or team.")
@mine_option
@_json_option
def list_budgets(
    config: str | None, db: str | None, scope: str | None, *, mine: bool, as_json: bool
) -> None:
    """Show what was spent of each budget, who spent it, and when it opens again."""
    state = _open(config, db)
    name = own_name(db) if mine else None
    accounts = _read(state, scope, name)
    if as_json:
        click.echo(json.dumps([_record(account) for account in accounts]))
        return
    for budget in state.budgets:
        of_budget = [account for account in accounts if account.budget == budget]
        if of_budget or not mine:
            click.echo("\n".join(_lines(budget, of_budget)))
    if mine and not accounts:
        click.echo(f"There is no budget for {name} alone.")


@command.command(short_help="Show the newest charges of a budget.")
@click.argument("name")
@click.argument("scope")
@_config_option
@_db_option
def show(name: str, scope: str, config: str | None, db: str | None) -> None:
    """Show a budget in SCOPE (an actor, a team, or `total`) with its newest charges."""
    state = _open(config, db)
    budget = _find(state, name)
    accounts = [account for account in _read(state, scope) if account.budget == budget]
    click.echo("\n".join(_lines(budget, accounts)))
    for account in accounts:
        if account.set_aside:
            aside = amount(budget, account.set_aside)
            click.echo(f"  {aside} of what is left is set aside for the next calls of the proxies")
    entries = state.accounts.entries(budget, scope, datetime.now(UTC), _MOST_ENTRIES)
    for entry in entries:
        moment = datetime.fromisoformat(entry.created_at).astimezone(budget.window.zone)
        charge = amount(budget, entry.charge)
        when = f"{moment:%m-%d %H:%M:%S}"
        click.echo(f"  {when}  {charge:>14}  {entry.how:<10} {entry.interception_id}")


@command.command(short_help="Count a budget from zero again.")
@click.argument("name")
@click.option("--scope", default=ALL, metavar="NAME", help="Only this actor or team. Default: all.")
@_config_option
@_db_option
def reset(name: str, scope: str, config: str | None, db: str | None) -> None:
    """Count a budget from zero again, from the next request on.

    The charges stay in the ledger. Open requests are charged to the old count.
    """
    state = _open(config, db)
    _find(state, name)
    state.accounts.reset(name, scope)
    whose = "all scopes" if scope == ALL else scope
    click.echo(f"Budget {name!r} counts from zero again for {whose}.")


@command.command(short_help="Compute all counters from the ledger.")
@_db_option
def rebuild(db: str | None) -> None:
    """Compute all counters from the ledger of charges; a proxy may run meanwhile."""
    wrong = _accounts_of(db).rebuild()
    click.echo(f"All counters were computed from the ledger; {wrong} of them were wrong.")


def _open(config: str | None, db: str | None) -> BudgetState:
    try:
        state = read_budget_state(open_records(db), config)
    except (SettingsError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    if not state.rules:
        where = state.path or "no config file; name it with --config"
        raise click.ClickException(f"no [[budgets]] are configured ({where})")
    return state


def _find(state: BudgetState, name: str) -> Budget:
    """Return a budget by its name."""
    for budget in state.budgets:
        if budget.name == name:
            return budget
    known = ", ".join(budget.name for budget in state.budgets)
    raise click.ClickException(f"the config file has no budget {name!r}; it has {known}")


def _accounts_of(db: str | None) -> BudgetAccounts:
    try:
        return open_records(db).budget_accounts()
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _read(state: BudgetState, scope: str | None, actor: str | None = None) -> list[Account]:
    try:
        accounts = state.read(actor)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    return [account for account in accounts if scope in (None, account.scope)]


def _lines(budget: Budget, accounts: list[Account]) -> Iterator[str]:
    window = budget.window
    kind = "rolling " if window.is_rolling else ""
    yield (
        f"{budget.name}: {amount(budget, budget.limit)} per {budget.per} and {kind}{window.name}"
        f" ({window.zone.key}), then {budget.action}"
    )
    if not accounts:
        yield "  nothing spent in this window"
    for account in accounts:
        filled = f"{bar(account.share, 1, _BAR):<{_BAR}} {percent(account.share):>5}"
        yield f"  {printable(account.scope)[:20]:<20} {filled}  {', '.join(_notes(account))}"


def _notes(account: Account) -> Iterator[str]:
    budget = account.budget
    yield f"{amount(budget, account.spent)} in {_calls(account.calls)}"
    if account.held:
        yield f"{amount(budget, account.held)} held"
    if account.excess:
        yield f"over by {amount(budget, account.excess)}"
    if account.estimated:
        yield f"{amount(budget, account.estimated)} estimated"
    if account.unpriced:
        yield f"+ {_calls(account.unpriced, 'unpriced ')}"
    if account.opens_at:
        verb = "opens" if budget.refuses and account.spent >= budget.limit else "resets"
        yield f"{verb} {account.opens_at.astimezone(budget.window.zone):%-d %b %H:%M}"


def _calls(number: int, kind: str = "") -> str:
    return f"{count(number)} {kind}call{'s' * (number != 1)}"


def _record(account: Account) -> dict[str, Any]:
    budget = account.budget
    return {
        "budget": budget.name,
        "scope": account.scope,
        "unit": "nano_usd" if budget.unit == "usd" else "tokens",
        "limit": budget.limit,
        "spent": account.spent,
        "held": account.held,
        "set_aside": account.set_aside,
        "room": account.room,
        "over_by": account.excess,
        "calls": account.calls,
        "estimated": account.estimated,
        "unpriced_calls": account.unpriced,
        "opens_at": account.opens_at.isoformat() if account.opens_at else None,
    }
