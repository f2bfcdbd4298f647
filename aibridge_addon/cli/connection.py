"""Finds the connection settings of the running proxy for `aibridge env` and `aibridge run`.

Checks the login first: most programs show no more than status 407 when the proxy refuses it.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import click

from aibridge_addon.access.runs import marked_login
from aibridge_addon.access.tokens import TokenError, authenticate, looks_like_token
from aibridge_addon.cli.bundle import join_bundle, own_extra
from aibridge_addon.cli.client_setup import ConnectionSettings
from aibridge_addon.cli.databases import open_tokens_of, requires_token
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.store.errors import StoreError

_ANY_USER = "aibridge"
"""User name beside an access token, which itself names its owner. Programs hide passwords in their
output, but show user names."""

login_option = click.option(
    "--login",
    metavar="USER:PASSWORD|TOKEN",
    envvar="AIBRIDGE_LOGIN",
    help=(
        "Login or access token for a proxy that requires one. Prefer the variable AIBRIDGE_LOGIN:"
        " other users can see command lines."
    ),
)


def connect_to(proxy: RunningProxy, login: str | None = None) -> ConnectionSettings:
    """Return the connection settings of a proxy for this shell; writes the joined bundle.

    Raises:
        ClickException: a certificate cannot be read, the bundle cannot be written, or the proxy
            requires a login and would refuse this one.
    """
    _check_login(proxy, login)
    ca = Path(proxy.ca)
    try:
        bundle = join_bundle(ca)
        extra = own_extra(ca)
    except OSError as error:
        raise click.ClickException(
            f"cannot prepare certificates: {error}; see: aibridge doctor"
        ) from error
    token = token_of_login(login)
    return ConnectionSettings(
        forward_url=_with_login(proxy.forward_url, login),
        reverse_url=proxy.reverse_url,
        ca=ca,
        bundle=bundle,
        adding=bundle if extra else ca,
        hosts=proxy.hosts,
        plain_hosts=proxy.plain_hosts,
        token=token,
        codex=_codex_instance(has_token=bool(token)),
    )


def mark_run(
    connection: ConnectionSettings, proxy: RunningProxy, login: str | None, mark: str
) -> ConnectionSettings:
    """Return connection settings that let the proxy tell the requests of one program from others.

    `mark` is a mark of `access.runs`.
    """
    token = token_of_login(login)
    return replace(
        connection,
        forward_url=_with_login(proxy.forward_url, marked_login(mark, token)),
        reverse_url=f"{proxy.reverse_url}/{mark}" if proxy.reverse_url else None,
    )


def token_of_login(login: str | None) -> str:
    """Return the access token in a login; empty if it contains no access token."""
    words = (login or "").rpartition(":")
    return next((word for word in words if looks_like_token(word)), "")


def _codex_instance(*, has_token: bool) -> str:
    """Return the provider instance that accepts the login of Codex: no other one does."""
    uses_key = has_token or os.environ.get("CODEX_API_KEY")
    folder = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    try:
        login = json.loads((folder / "auth.json").read_text(encoding="utf-8"))
        mode = login.get("auth_mode") or ("apikey" if login.get("OPENAI_API_KEY") else "chatgpt")
    except (OSError, ValueError, AttributeError):
        return "openai"
    return "chatgpt" if mode == "chatgpt" and not uses_key else "openai"


def _check_login(proxy: RunningProxy, login: str | None) -> None:
    """Raise a ClickException if the proxy would refuse a login."""
    token, needs_token = token_of_login(login), requires_token(proxy)
    if not login and (proxy.needs_login or needs_token):
        raise click.ClickException(
            "this proxy requires a login: set AIBRIDGE_LOGIN to user:password, or to your access"
            " token (aibridge token create ACTOR)"
        )
    if proxy.needs_login:
        return  # mitmproxy's own check, which knows no access tokens
    if token:
        _check_token(proxy, token)
    elif needs_token:
        raise click.ClickException(
            "this proxy requires an access token, and AIBRIDGE_LOGIN has no access token (aibridge"
            " token create ACTOR)"
        )


def _check_token(proxy: RunningProxy, text: str) -> None:
    if not proxy.tokens_in:
        return
    try:
        store = open_tokens_of(proxy)
        if tokens := store.access_tokens():  # none: the proxy checks the token itself
            authenticate(text, tokens)
    except StoreError:
        return
    except TokenError as error:
        reason = str(error).removesuffix(".")
        if error.reason == "unknown_token":
            reason = f"{_public_name(text)} is not known to the proxy's database, {store.location}"
        raise click.ClickException(
            f"{reason}; create another (aibridge token create ACTOR), or ask for one"
        ) from error


def _public_name(text: str) -> str:
    """Return a name for an access token that contains no secret."""
    token_id = re.match(r"aib_([a-z2-7]{10})_", text)
    return f"the access token {token_id[1]}" if token_id else "the access token"


def _with_login(url: str | None, login: str | None) -> str | None:
    if not (url and login):
        return url
    user, _, password = login.partition(":")
    if looks_like_token(user) and not password:
        user, password = _ANY_USER, user
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)
