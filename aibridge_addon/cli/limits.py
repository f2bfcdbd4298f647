"""`aibridge limits`: shows the rate limits of providers as their responses stated them last."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import click

from aibridge_addon.cli.central_keys import KeyState, States, key_lines, limits_line, read_states
from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import printable
from aibridge_addon.rate_limits import Limit
from aibridge_addon.report.limits import CredentialLimits, limits_by_credential, span
from aibridge_addon.report.numbers import bar, percent, short_count
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.store.errors import StoreError

_BAR = 16
_NAME = 22
_WIDTH = 80


@click.command(short_help="Show the rate limits of providers, as seen last.")
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to read. Default: the one of the running proxy, or the default database.",
)
@click.option("--keys", "only_keys", is_flag=True, help="Show only the keys of pools.")
@click.option("--json", "as_json", is_flag=True, help="Print the limits and headers as JSON.")
def command(db: str | None, *, only_keys: bool, as_json: bool) -> None:
    """Show the rate limits of providers, as their responses stated them last.

    First come the limits of the config file and the keys of pools, with their states in the
    running proxy.

    Providers state them in headers: the 5-hour and weekly windows of subscriptions, and the rate
    limits of API keys. A key that is also used without this proxy can be used further than shown.
    """
    states = read_states() if only_keys or not (db or as_json) else States()
    if only_keys:
        _show_keys(states.keys, as_json=as_json)
        return
    try:
        store = open_records(db)
        credentials = limits_by_credential(store.reports().rate_limits())
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([credential.as_json() for credential in credentials]))
        return
    if states.limits:
        click.echo(limits_line(states.limits) + "\n")
    if states.keys:
        click.echo("\n".join(key_lines(states.keys, datetime.now(UTC))) + "\n")
    if not credentials:
        click.echo(f"No response in {store.location} stated a rate limit yet.")
        return
    now = datetime.now(UTC)
    blocks = ("\n".join(_lines(credential, now)) for credential in credentials)
    click.echo("\n\n".join(blocks))


def _show_keys(keys: Sequence[KeyState], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(list(keys)))
    elif keys:
        click.echo("\n".join(key_lines(keys, datetime.now(UTC))))
    else:
        click.echo("No running proxy has a pool of keys, or none serves metrics.")


def _lines(credential: CredentialLimits, now: datetime) -> Iterator[str]:
    title = " · ".join(filter(None, (credential.provider, _key(credential), _actors(credential))))
    age = f"seen {span(now - credential.seen_at)} ago"
    yield f"{printable(title):<{_WIDTH - len(age) - 1}} {age}"
    if not credential.limits:
        yield "  no limit that can be read; see --json"
    for limit in credential.limits:
        yield f"  {printable(limit.name):<{_NAME}}{_use(limit, now)}  {_notes(limit, now)}".rstrip()


def _key(credential: CredentialLimits) -> str:
    if credential.hint is None:
        return "no key"
    return f"{credential.hint} ({credential.kind})" if credential.kind else credential.hint


def _actors(credential: CredentialLimits) -> str:
    first, *others = credential.actors
    return f"{first} and {len(others)} more" if others else first


def _use(limit: Limit, now: datetime) -> str:
    """Return a bar and a percentage; after the reset the use is unknown."""
    used = None if _is_over(limit, now) else limit.used
    filled = "" if used is None else bar(used, 1, _BAR)
    return f"{filled:<{_BAR}}{percent(used):>6}"


def _notes(limit: Limit, now: datetime) -> str:
    return ", ".join(_each_note(limit, now))


def _each_note(limit: Limit, now: datetime) -> Iterator[str]:
    if _is_over(limit, now):
        assert limit.resets_at is not None
        yield f"was {percent(limit.used)}" if limit.used is not None else "over"
        yield f"reset {span(now - limit.resets_at)} ago"
        return
    if limit.status:
        yield limit.status
    if limit.remaining is not None:
        whole = f" of {short_count(int(limit.limit))}" if limit.limit is not None else ""
        yield f"{short_count(int(limit.remaining))}{whole} left"
    if limit.resets_at is not None:
        yield f"resets in {span(limit.resets_at - now + timedelta(seconds=0.5))}"


def _is_over(limit: Limit, now: datetime) -> bool:
    return limit.resets_at is not None and limit.resets_at <= now
