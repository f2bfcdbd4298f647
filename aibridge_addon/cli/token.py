"""`aibridge token`: access tokens, by which a team's clients show whose they are."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from aibridge_addon.access.tokens import AccessToken, is_valid
from aibridge_addon.cli import running
from aibridge_addon.cli.databases import open_tokens, requires_token
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import make_table, print_table, printable
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.protocol import Store

if TYPE_CHECKING:
    from rich.table import Table

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_db_option = click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="The proxy's database. Default: that of the running proxy, else the usual one.",
)


class _Expiry(click.ParamType[str | None]):
    name = "expiry"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | None:
        """Return the time as it is kept, or None for never."""
        if value == "never":
            return None
        try:
            if span := re.fullmatch(r"(\d+)([mhdw])", value):
                time = datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
            else:
                time = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a span (12h, 90d, 4w), a date nor 'never'")
        if time <= datetime.now(UTC):
            self.fail(f"{value} is in the past")
        return time.isoformat(timespec="microseconds")


class _Names(click.ParamType[tuple[str, ...]]):
    name = "names"

    def convert(
        self,
        value: str | tuple[str, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        """Return the names of a comma-separated list."""
        if isinstance(value, tuple):
            return value
        if not value.isprintable():
            self.fail("it has characters that cannot be printed")
        return tuple(name.strip() for name in value.split(",") if name.strip())


@click.group(short_help="Make, list and revoke access tokens.")
def command() -> None:
    """Access tokens: who may use the proxy, until when, and for what.

    From the first one on, every client of the proxy needs one (see the option
    aibridge_require_token). A client gives it as the password in the proxy's URL, in the header
    X-AIBridge-Token or, at the reverse proxy, in place of the API key: the central key then goes
    up.
    """


@command.command(short_help="Make a token, and show it once.")
@click.argument("actor")
@click.option(
    "--expires",
    type=_Expiry(),
    default="90d",
    metavar="SPAN|DATE|never",
    help="A span such as 12h, 90d or 4w; a date; or 'never'. Default: 90d.",
)
@click.option(
    "--providers",
    type=_Names(),
    default=(),
    metavar="NAMES",
    help="Provider instances that it is for: names or patterns, with commas. Default: all.",
)
@click.option(
    "--models",
    type=_Names(),
    default=(),
    metavar="NAMES",
    help="Models that it is for, such as 'claude-haiku-*,gpt-5.2'. Default: all.",
)
@_db_option
def create(
    actor: str,
    expires: str | None,
    providers: tuple[str, ...],
    models: tuple[str, ...],
    db: str | None,
) -> None:
    """Make a token for ACTOR.

    It is printed once and cannot be shown again: only its SHA-256 is kept. A proxy that runs knows
    it at once.
    """
    if not actor.strip() or not actor.isprintable():
        raise click.UsageError("ACTOR must be a name, of characters that can be printed")
    text, token = AccessToken.make(
        actor.strip(), expires_at=expires, providers=providers, models=models
    )
    try:
        store = _open(db)
        is_first = not store.access_tokens()  # first: once it is kept, it must be shown
        store.add_access_token(token)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)
    click.echo(_how_to_use(token), err=True)
    click.echo("\n" + "\n".join(_what_it_means(token, store, is_first=is_first)), err=True)


def _what_it_means(token: AccessToken, store: Store, *, is_first: bool) -> Iterator[str]:
    proxy = _proxy_on(store)
    if proxy:
        known = f"the proxy that runs on it (process {proxy.pid}) knows it."
    else:
        known = "no proxy that `aibridge proxy` started runs on it."
    yield f"It is kept in {store.location}; {known}"
    if proxy and not requires_token(proxy):
        yield "That proxy asks nobody for a token: its aibridge_require_token is never."
    elif is_first:
        yield (
            "From now on every client of this proxy needs a token (aibridge_require_token=never"
            " turns that off)."
        )
    if proxy and proxy.providers and (unknown := _unknown(token.providers, proxy.providers)):
        yield (
            f"Warning: that proxy has no provider {', '.join(unknown)};"
            f" it has {', '.join(proxy.providers)}."
        )


def _proxy_on(store: Store) -> RunningProxy | None:
    """Return the running proxy that reads its tokens from a database."""
    proxy = running.find()
    if proxy is None or not proxy.tokens_in:
        return None
    return proxy if Path(proxy.tokens_in).resolve() == Path(store.location).resolve() else None


def _unknown(names: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """Return the names that are neither known nor patterns, which may fit what is yet to come."""
    return [name for name in names if name not in known and not set(name) & set("*?[")]


def _how_to_use(token: AccessToken) -> str:
    until = f"until {_local(token.expires_at)} local time" if token.expires_at else "for ever"
    return f"""\

The token {token.id} of {token.initiator_id}, good {until}. It is not shown again. Use it as one of

  the proxy's password   HTTPS_PROXY=http://{quote(token.initiator_id, safe="")}:TOKEN@HOST:8080
  a header               ANTHROPIC_CUSTOM_HEADERS="X-AIBridge-Token: TOKEN"
  the API key            ANTHROPIC_AUTH_TOKEN=TOKEN, with the reverse proxy as base URL

or let aibridge do that: AIBRIDGE_LOGIN=TOKEN aibridge run -- claude"""


@command.command("list", short_help="Show all tokens, without their secrets.")
@_db_option
def list_(db: str | None) -> None:
    """Show all tokens that were ever made, without their secrets."""
    try:
        store = _open(db)
        tokens = store.access_tokens()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if not tokens:
        click.echo(f"There are no tokens in {store.location}.")
        return
    print_table(_table(list(tokens.values())))


@command.command(short_help="Revoke a token, or all of an actor.")
@click.argument("name", metavar="ID|ACTOR")
@_db_option
def revoke(name: str, db: str | None) -> None:
    """Revoke the token of an id, or all tokens of an actor.

    A proxy that runs refuses it from the next request on. A tunnel that is open stays open.
    """
    try:
        store = _open(db)
        revoked = store.revoke_access_tokens(name)
        tokens = store.access_tokens()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if not revoked:
        raise click.ClickException(
            f"there is no token of {printable(name)} that could be revoked in {store.location}"
        )
    for token in revoked:
        click.echo(f"revoked {token.id} of {printable(token.initiator_id)}")
    if not any(map(is_valid, tokens.values())) and _asks(store):
        click.echo("No good token is left: nobody can use this proxy until one is made.", err=True)


def _asks(store: Store) -> bool:
    """Whether a proxy with this database asks for tokens, as far as can be told from here."""
    proxy = _proxy_on(store)
    return proxy is None or requires_token(proxy)


def _open(db: str | None) -> Store:
    return open_tokens(db)


def _table(tokens: list[AccessToken]) -> "Table":
    table = make_table()
    for head in ("id", "actor", "state (local time)", "made (local time)", "providers", "models"):
        table.add_column(head)
    for token in tokens:
        cells = (
            token.id,
            token.initiator_id,
            _state(token),
            _local(token.created_at),
            ", ".join(token.providers) or "all",
            ", ".join(token.models) or "all",
        )
        table.add_row(*map(printable, cells))
    return table


def _state(token: AccessToken) -> str:
    from aibridge_addon.facts import now

    if token.revoked_at:
        return f"revoked {_local(token.revoked_at)}"
    if token.expires_at is None:
        return "good"
    return f"{'good until' if token.expires_at > now() else 'expired'} {_local(token.expires_at)}"


def _local(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"
