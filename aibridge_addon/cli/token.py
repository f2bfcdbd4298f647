"""`aibridge token`: creates, lists and revokes access tokens, which identify a client's owner."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import click

from aibridge_addon.access.tokens import AccessToken, is_valid
from aibridge_addon.cli import running, token_use
from aibridge_addon.cli.databases import open_tokens, requires_token
from aibridge_addon.cli.listening_ports import DEFAULT_PORT, DEFAULT_REVERSE_PORT
from aibridge_addon.cli.parameters import DatabaseLocation, Expiry
from aibridge_addon.cli.tables import make_table, print_table, printable
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.protocol import Store

if TYPE_CHECKING:
    from rich.table import Table

_db_option = click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database of the proxy. Default: the one of the running proxy, or the default database.",
)


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
            self.fail("it contains characters that cannot be printed")
        return tuple(name.strip() for name in value.split(",") if name.strip())


@click.group(short_help="Create, list and revoke access tokens.")
def command() -> None:
    """Create, list and revoke access tokens.

    An access token identifies a client's owner. Once any access token exists, every client needs
    one (see the option aibridge_require_token). A client sends it as the password in the proxy's
    URL, in the header X-AIBridge-Token or, to the reverse proxy, in place of the API key; the proxy
    then uses its central key.
    """


@command.command(short_help="Create an access token, and print it once.")
@click.argument("actor")
@click.option(
    "--expires",
    type=Expiry(),
    default="90d",
    metavar="SPAN|DATE|never",
    help="Expiry: a span such as 12h, 90d or 4w; a date; or 'never'. Default: 90d.",
)
@click.option(
    "--providers",
    type=_Names(),
    default=(),
    metavar="NAMES",
    help="Allowed provider instances: names or patterns, separated by commas. Default: all.",
)
@click.option(
    "--models",
    type=_Names(),
    default=(),
    metavar="NAMES",
    help="Allowed models: names or patterns, such as 'claude-haiku-*,gpt-5.2'. Default: all.",
)
@click.option(
    "--admin", is_flag=True, help="Show the records of all actors to its owner on the web page."
)
@_db_option
def create(
    actor: str,
    expires: str | None,
    providers: tuple[str, ...],
    models: tuple[str, ...],
    db: str | None,
    *,
    admin: bool,
) -> None:
    """Create an access token for ACTOR, and print it.

    It cannot be printed again: only its SHA-256 is stored. A running proxy accepts it at once.
    """
    if not actor.strip() or not actor.isprintable():
        raise click.UsageError("ACTOR must be a name of printable characters")
    text, token = AccessToken.make(
        actor.strip(), expires_at=expires, providers=providers, models=models, admin=admin
    )
    try:
        store = open_tokens(db)
        is_first = (
            not store.access_tokens()
        )  # read first: after it is stored, nothing may prevent its output
        store.add_access_token(token)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)
    proxy = _proxy_on(store)
    click.echo(_how_to_use(token, proxy), err=True)
    click.echo("\n" + "\n".join(_consequences(token, store, proxy, is_first=is_first)), err=True)


def _consequences(
    token: AccessToken, store: Store, proxy: RunningProxy | None, *, is_first: bool
) -> Iterator[str]:
    """Yield messages about what the new access token changes."""
    if proxy:
        known = f"the running proxy (process {proxy.pid}) accepts it."
    else:
        known = "no running proxy was found for this database."
    yield f"It is stored in {store.location}; {known}"
    if proxy and not requires_token(proxy):
        yield "That proxy requires no access tokens: its aibridge_require_token is never."
    elif is_first:
        yield (
            "From now on, every client of this proxy needs an access token"
            " (aibridge_require_token=never turns that off)."
        )
    if proxy and proxy.providers and (unknown := _unknown(token.providers, proxy.providers)):
        yield (
            f"Warning: that proxy has no provider {', '.join(unknown)}, but"
            f" {', '.join(proxy.providers)}."
        )


def _proxy_on(store: Store) -> RunningProxy | None:
    """Return the running proxy that reads its access tokens from a store."""
    proxy = running.find()
    if proxy is None or not proxy.tokens_in:
        return None
    return proxy if Path(proxy.tokens_in).resolve() == Path(store.location).resolve() else None


def _unknown(names: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """Return the names that are neither known nor patterns; patterns may match later."""
    return [name for name in names if name not in known and not set(name) & set("*?[")]


def _how_to_use(token: AccessToken, proxy: RunningProxy | None) -> str:
    expiry = (
        f"valid until {_local(token.expires_at)} local time" if token.expires_at else "no expiry"
    )
    return f"""\

Access token {token.id} of {token.initiator_id}, {expiry}. It is not shown again. Use it as

{"\n".join(_uses(token, proxy))}

or let aibridge set these: AIBRIDGE_LOGIN=TOKEN aibridge run -- claude"""


def _uses(token: AccessToken, proxy: RunningProxy | None) -> Iterator[str]:
    """Yield lines with the variables of a client, for the ports that a proxy listens on."""
    if proxy:
        forward, reverse = _address(proxy, proxy.forward_url), _address(proxy, proxy.reverse_url)
    else:
        forward, reverse = f"HOST:{DEFAULT_PORT}", f"HOST:{DEFAULT_REVERSE_PORT}"
    if forward:
        user = quote(token.initiator_id, safe="")
        yield f"  the proxy's password   HTTPS_PROXY=http://{user}:TOKEN@{forward}"
    yield '  a header               ANTHROPIC_CUSTOM_HEADERS="X-AIBridge-Token: TOKEN"'
    if reverse:
        yield "  the API key            ANTHROPIC_AUTH_TOKEN=TOKEN"
        yield f"                         ANTHROPIC_BASE_URL=http://{reverse}/anthropic"


def _address(proxy: RunningProxy, url: str | None) -> str:
    """Return host and port for a client; empty if the proxy does not listen there.

    Clients on other machines reach the proxy by a name that it does not know.
    """
    parts = urlsplit(url or "")
    return f"HOST:{parts.port}" if parts.port and proxy.open_on else parts.netloc


@command.command("list", short_help="List all access tokens, without their secrets.")
@_db_option
@click.option("--json", "as_json", is_flag=True, help="Print the access tokens as JSON.")
def list_(db: str | None, *, as_json: bool) -> None:
    """List all access tokens, also expired and revoked ones, without their secrets.

    The last use and the spend come from the records. What has no price is counted apart.
    """
    try:
        store = open_tokens(db)
        tokens = store.access_tokens()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        use = token_use.read_use(db, tokens)
        click.echo(json.dumps([_record(token, use) for token in tokens.values()]))
    elif tokens:
        print_table(_table(list(tokens.values()), token_use.read_use(db, tokens)))
    else:
        click.echo(f"There are no access tokens in {store.location}.")


@command.command(short_help="Revoke an access token, or all of an actor.")
@click.argument("name", metavar="ID|ACTOR")
@_db_option
def revoke(name: str, db: str | None) -> None:
    """Revoke the access token with an ID, or all access tokens of an ACTOR.

    A running proxy refuses them from the next request on. Open tunnels stay open.
    """
    try:
        store = open_tokens(db)
        revoked = store.revoke_access_tokens(name)
        tokens = store.access_tokens()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if not revoked:
        raise click.ClickException(
            f"no access token of {printable(name)} can be revoked in {store.location}"
        )
    for token in revoked:
        click.echo(f"revoked {token.id} of {printable(token.initiator_id)}")
    if not any(map(is_valid, tokens.values())) and _requires_tokens(store):
        click.echo(
            "No valid access token remains: no client can use this proxy until you create one.",
            err=True,
        )


def _requires_tokens(store: Store) -> bool:
    """Return True if a proxy with this store requires access tokens, or may do so."""
    proxy = _proxy_on(store)
    return proxy is None or requires_token(proxy)


def _record(token: AccessToken, use: token_use.Use | None) -> dict[str, Any]:
    """Return an access token as a JSON object, without its digest."""
    values = asdict(token)
    del values["digest"]
    return values | token_use.as_json(use, token.id)


def _table(tokens: list[AccessToken], use: token_use.Use | None) -> "Table":
    table = make_table()
    for head in (
        "id",
        "actor",
        "state (local time)",
        "created (local time)",
        *token_use.COLUMNS,
        "providers",
        "models",
        "web page",
    ):
        table.add_column(head)
    for token in tokens:
        cells = (
            token.id,
            token.initiator_id,
            _state(token),
            _local(token.created_at),
            *token_use.cells(use, token.id),
            ", ".join(token.providers) or "all",
            ", ".join(token.models) or "all",
            "admin" if token.admin else "own",
        )
        table.add_row(*map(printable, cells))
    return table


def _state(token: AccessToken) -> str:
    from aibridge_addon.facts import now

    if token.revoked_at:
        return f"revoked {_local(token.revoked_at)}"
    if token.expires_at is None:
        return "valid"
    return f"{'valid until' if token.expires_at > now() else 'expired'} {_local(token.expires_at)}"


def _local(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"
