"""`aibridge env`: what leads a client to the proxy, as lines for a shell."""

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import click

from aibridge_addon.access.runs import marked_login
from aibridge_addon.access.tokens import TokenError, authenticate, looks_like_token
from aibridge_addon.cli import clients, running
from aibridge_addon.cli.bundle import join_bundle, own_extra
from aibridge_addon.cli.clients import NoWayError, Way
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.store.token_table import TokensError, read_tokens


def _sh(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"$env:{name} = '{quoted}'"


SHELLS: dict[str, Callable[[str, str], str]] = {
    "sh": _sh,
    "fish": _fish,
    "powershell": _powershell,
}


_ANY_USER = "aibridge"
"""Beside a token, which says itself whose it is. Programs hide passwords, and show user names."""

login_option = click.option(
    "--login",
    metavar="USER:PASSWORD|TOKEN",
    envvar="AIBRIDGE_LOGIN",
    help="For a proxy that asks who you are. Better set AIBRIDGE_LOGIN, which nobody else sees.",
)


@click.command(short_help="Print the variables that lead a client to the proxy.")
@click.argument(
    "client",
    required=False,
    type=click.Choice([*(client.name for client in clients.CLIENTS), "js"]),
)
@click.option("--shell", type=click.Choice(list(SHELLS)), help="Default: as $SHELL says.")
@click.option("--reverse", is_flag=True, help="Base URLs instead of HTTPS_PROXY and a CA.")
@login_option
def command(client: str | None, shell: str | None, reverse: bool, login: str | None) -> None:
    """Print the variables that lead CLIENT, or any program, to the running proxy.

    \b
    sh, bash, zsh   eval "$(aibridge env claude)"
    fish            aibridge env claude | source
    PowerShell      aibridge env claude --shell powershell | Out-String | Invoke-Expression

    They are for HTTPS_PROXY and for trusting the proxy's CA; with --reverse they are base URLs, and
    no CA is needed. `aibridge run` does the same for one program alone.
    """
    proxy = running.find()
    if proxy is None:
        raise click.ClickException(
            "no proxy runs that these could lead to. Start one: aibridge proxy"
            " (or start a program with one of its own: aibridge run -- …)"
        )
    chosen = clients.named(client)
    way = way_to(proxy, login)
    try:
        found = clients.variables(chosen, way, os.environ, reverse=reverse)
    except NoWayError as error:
        raise click.ClickException(str(error)) from error
    line = SHELLS[shell or _this_shell()]
    for name, value in found.items():
        click.echo(line(name, value))
    if chosen.unread_api:
        click.echo(
            f"note: {chosen.name} speaks {chosen.unread_api}, which this proxy relays but does not"
            " record",
            err=True,
        )
    if words := clients.arguments(chosen, way, reverse=reverse):
        click.echo(f"start it as: {chosen.name} {shlex.join(words)} …", err=True)


def way_to(proxy: RunningProxy, login: str | None = None) -> Way:
    """Return how clients of this shell get to a proxy; writes the joined bundle.

    Raises:
        ClickException: a certificate cannot be read, or the bundle not written; or the proxy asks
            for a login, and would not take this one.
    """
    _check_login(proxy, login)
    ca = Path(proxy.ca)
    try:
        bundle = join_bundle(ca)
        extra = own_extra(ca)
    except OSError as error:
        raise click.ClickException(f"certificates: {error}; see: aibridge doctor") from error
    return Way(
        forward_url=_with_login(proxy.forward_url, login),
        reverse_url=proxy.reverse_url,
        ca=ca,
        bundle=bundle,
        adding=bundle if extra else ca,
        hosts=proxy.hosts,
        plain_hosts=proxy.plain_hosts,
        token=token_of_login(login),
        codex=_instance_of_codex(has_token=bool(token_of_login(login))),
    )


def marked(way: Way, proxy: RunningProxy, login: str | None, mark: str) -> Way:
    """Return a way on which the proxy knows by a mark which program asks."""
    token = token_of_login(login)
    return replace(
        way,
        forward_url=_with_login(proxy.forward_url, marked_login(mark, token)),
        reverse_url=f"{proxy.reverse_url}/{mark}" if proxy.reverse_url else None,
    )


def _instance_of_codex(*, has_token: bool) -> str:
    """Return the provider instance that Codex's login is for: it is good for no other."""
    by_key = has_token or os.environ.get("CODEX_API_KEY")
    folder = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    try:
        login = json.loads((folder / "auth.json").read_text(encoding="utf-8"))
        mode = login.get("auth_mode") or ("apikey" if login.get("OPENAI_API_KEY") else "chatgpt")
    except (OSError, ValueError, AttributeError):
        return "openai"
    return "chatgpt" if mode == "chatgpt" and not by_key else "openai"


def _check_login(proxy: RunningProxy, login: str | None) -> None:
    """Find out what the proxy would refuse: to most programs it can only say a bare 407.

    Raises:
        ClickException: what is wrong.
    """
    token, asks = token_of_login(login), proxy.asks_for_token
    if not login and (proxy.needs_login or asks):
        raise click.ClickException(
            "this proxy asks who you are: set AIBRIDGE_LOGIN to user:password, or to your gateway"
            " token (aibridge token create …)"
        )
    if proxy.needs_login:
        return  # that is mitmproxy's own, which knows no tokens
    if token:
        _check_token(proxy, token)
    elif asks:
        raise click.ClickException(
            "AIBRIDGE_LOGIN has no access token, which this proxy asks for (aibridge token create"
            " …)"
        )


def _check_token(proxy: RunningProxy, text: str) -> None:
    path = Path(proxy.tokens_in)
    if not (proxy.tokens_in and os.access(path, os.R_OK)):
        return  # another user's: it will tell itself
    try:
        authenticate(text, read_tokens(path))
    except TokensError:
        return
    except TokenError as error:
        what = str(error).removesuffix(".")
        if error.reason == "unknown_token":
            what = f"{_public_name(text)} is not known to the proxy's database, {path}"
        todo = "make another (aibridge token create …), or ask for one"
        raise click.ClickException(f"{what}; {todo}") from error


def _public_name(text: str) -> str:
    """Return what may be shown of a token, if it has the shape of one."""
    token_id = re.match(r"aib_([a-z2-7]{10})_", text)
    return f"the access token {token_id[1]}" if token_id else "the access token"


def token_of_login(login: str | None) -> str:
    """Return the access token that a login is, or has in it."""
    words = (login or "").rpartition(":")
    return next((word for word in words if looks_like_token(word)), "")


def _with_login(url: str | None, login: str | None) -> str | None:
    if not (url and login):
        return url
    user, _, password = login.partition(":")
    if looks_like_token(user) and not password:
        user, password = _ANY_USER, user
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def _this_shell() -> str:
    if os.name == "nt":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"
