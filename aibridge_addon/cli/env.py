"""`aibridge env`: prints the variables that make a client use the proxy, as lines for a shell."""

import os
import shlex
from collections.abc import Callable

import click

from aibridge_addon.cli import client_setup, running
from aibridge_addon.cli.client_setup import SetupError
from aibridge_addon.cli.connection import connect_to, login_option
from aibridge_addon.cli.plugins import import_plugins_for
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.providers import clients


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


def _known_client(
    ctx: click.Context | None, param: click.Parameter | None, name: str | None
) -> str | None:
    """Check the name of a client program; plugins of the running proxy may have added some."""
    if name is None:
        return None
    try:
        import_plugins_for(running.find())
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    return str(click.Choice(clients.command_names()).convert(name, param, ctx))


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in clients.command_names() if name.startswith(incomplete)]


@click.command(
    short_help="Print the variables that make a client use the proxy.",
    epilog=f"CLIENT is one of {', '.join(clients.command_names())}.",
)
@click.argument(
    "client",
    required=False,
    metavar="[CLIENT]",
    callback=_known_client,
    shell_complete=_complete,
)
@click.option(
    "--shell", type=click.Choice(list(SHELLS)), help="Syntax to print. Default: taken from $SHELL."
)
@click.option(
    "--reverse",
    is_flag=True,
    help="Print base URLs of the reverse proxy instead of HTTPS_PROXY and CA variables.",
)
@login_option
def command(client: str | None, shell: str | None, reverse: bool, login: str | None) -> None:
    """Print the variables that make CLIENT, or any program, use the running proxy.

    \b
    sh, bash, zsh   eval "$(aibridge env claude)"
    fish            aibridge env claude | source
    PowerShell      aibridge env claude --shell powershell | Out-String | Invoke-Expression

    The variables set HTTPS_PROXY and make programs trust the proxy's CA. With --reverse they set
    base URLs instead, and no CA is needed. To set up a single program, use `aibridge run`.
    """
    proxy = running.find()
    if proxy is None:
        raise click.ClickException(
            "no proxy is running. Start one with: aibridge proxy"
            " (or start a program together with a proxy: aibridge run -- PROGRAM)"
        )
    chosen = clients.by_command(client)
    connection = connect_to(proxy, login)
    try:
        found = client_setup.variables(chosen, connection, os.environ, reverse=reverse)
    except SetupError as error:
        raise click.ClickException(str(error)) from error
    line = SHELLS[shell or _current_shell()]
    for name, value in found.items():
        click.echo(line(name, value))
    if words := client_setup.arguments(chosen, connection, reverse=reverse):
        click.echo(f"start it as: {chosen.command} {shlex.join(words)} …", err=True)


def _current_shell() -> str:
    if os.name == "nt":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"
