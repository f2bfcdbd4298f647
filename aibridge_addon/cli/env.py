"""`aibridge env`: what leads a client to the proxy, as lines for a shell."""

import contextlib
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import click

from aibridge_addon.cli import clients, running
from aibridge_addon.cli.bundle import join_bundle, own_extra
from aibridge_addon.cli.clients import NoWayError, Way
from aibridge_addon.cli.running import RunningProxy
from aibridge_addon.recorder.tokens import TokensError, read_tokens
from aibridge_addon.tokens import looks_like_token


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
    if words := clients.arguments(chosen, way, reverse=reverse):
        click.echo(f"start it as: {chosen.name} {shlex.join(words)} …", err=True)


def way_to(proxy: RunningProxy, login: str | None = None) -> Way:
    """Return how clients of this shell get to a proxy; writes the joined bundle.

    Raises:
        ClickException: a certificate cannot be read, or the bundle not written; or the proxy asks
            for a login.
    """
    if not login and (proxy.needs_login or _needs_token(proxy)):
        raise click.ClickException(
            "this proxy asks who you are: set AIBRIDGE_LOGIN to user:password, or to your gateway"
            " token (aibridge token create …)"
        )
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
        token=_token_in(login),
        codex=_instance_of_codex(has_token=bool(_token_in(login))),
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


def _needs_token(proxy: RunningProxy) -> bool:
    """Whether it asks for gateway tokens by now."""
    match proxy.token_rule:
        case "always":
            return True
        case "auto" if proxy.database:
            with contextlib.suppress(TokensError):
                return bool(read_tokens(Path(proxy.database)))
    return False


def _token_in(login: str | None) -> str:
    words = (login or "").rpartition(":")
    return next((word for word in words if looks_like_token(word)), "")


def _with_login(url: str | None, login: str | None) -> str | None:
    if not (url and login):
        return url
    user, _, password = login.partition(":")
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def _this_shell() -> str:
    if os.name == "nt":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"
