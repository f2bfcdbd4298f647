"""`aibridge doctor`: looks at everything, and says what is wrong and what to do about it."""

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibridge_addon.cli import checks, running
from aibridge_addon.cli.ca import folder_of
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import make_table, print_table, printable, terminal_width
from aibridge_addon.config.options import OPTIONS, PREFIX, unknown_option
from aibridge_addon.findings import Finding

if TYPE_CHECKING:
    from rich.table import Table

_AROUND = 6
"""Columns for the mark, and between."""
_LEAST = 30
"""Columns for prose, however narrow the terminal is."""
_MARKS = {"ok": ("✓", "green"), "note": ("•", "yellow"), "bad": ("✗", "bold red")}
_TRUSTED = "ssl_verify_upstream_trusted_ca"
_KNOWN = {option.name: option for option in OPTIONS}


@click.command(short_help="Find out what is wrong, and what to do about it.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The config file. Default: that of the running proxy.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="The database. Default: that of the running proxy, else the usual one.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"As for aibridge proxy: aibridge_… options, confdir, {_TRUSTED}.",
)
@click.option("--keys", is_flag=True, help="Try the API keys, by asking for lists of models.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    config: Path | None,
    db: str | None,
    sets: tuple[str, ...],
    keys: bool,
) -> None:
    """Find out what is wrong, and what to do about it.

    Looks at versions, ports, the CA, the variables of this shell, the config file, the database,
    MCP servers and whether providers can be reached. Changes nothing. The exit code is 1 if
    something is broken; what is merely worth knowing does not count.
    """
    options = _options(sets)
    findings = list(_look(options, config, db, with_keys=keys))
    print_table(_table(findings, terminal_width()))
    broken = sum(finding.level == "bad" for finding in findings)
    if broken:
        click.echo(f"{broken} of {len(findings)} {'is' if broken == 1 else 'are'} broken.")
        ctx.exit(1)
    click.echo("Nothing is broken.")


def _options(sets: tuple[str, ...]) -> dict[str, Any]:
    """Read options as mitmproxy would."""
    values: dict[str, Any] = {}
    for spec in sets:
        name, _, value = spec.partition("=")
        if name.startswith(PREFIX) and name not in _KNOWN:
            raise click.UsageError(f"--set {unknown_option(name)}")
        kind = _KNOWN[name].type if name in _KNOWN else str
        if name not in _KNOWN and name not in ("confdir", _TRUSTED):
            raise click.UsageError(f"--set {name}: the doctor does not look at this option")
        try:
            values[name] = value in ("true", "") if kind is bool else kind(value)
        except ValueError as error:
            raise click.UsageError(f"--set {name}: {value!r} is no {kind.__name__}") from error
    return values


def _look(
    options: dict[str, Any], config: Path | None, db: str | None, *, with_keys: bool
) -> Iterator[Finding]:
    proxy = running.find()
    trusted = options.pop(_TRUSTED, None)
    confdir = options.pop("confdir", None)
    folder = folder_of(Path(confdir) if confdir else None)
    chosen = config or Path(proxy.config if proxy else "")
    path = str(chosen.expanduser().absolute()) if chosen != Path() else ""
    options.setdefault("aibridge_config", path)
    if db or (proxy and proxy.database):
        options.setdefault("aibridge_db", str(db or (proxy and proxy.database)))
    yield from checks.versions()
    yield from checks.ports(proxy)
    yield from checks.health(proxy)
    yield from checks.authority(folder)
    found, settings = checks.config(options["aibridge_config"], options)
    hosts = {host for provider in settings.providers for host in provider.hosts}
    ca = folder / "mitmproxy-ca-cert.pem"
    yield from checks.variables(os.environ, proxy, hosts, ca)
    yield from found
    yield from checks.database(settings)
    yield from checks.tokens(proxy, settings, os.environ)
    if any(finding.level == "bad" for finding in found):
        return  # the rest would be about the defaults, which are not what is meant
    yield from checks.tool_servers(settings)
    yield from checks.providers(settings, trusted)
    if with_keys:
        yield from checks.keys(settings, os.environ, trusted)


def _table(findings: list[Finding], width: int) -> "Table":
    from rich.text import Text

    table = make_table()
    for head in ("", "", "what, and what to do"):
        table.add_column(head)
    room = width - max(len(finding.about) for finding in findings) - _AROUND
    for finding in findings:
        mark, style = _MARKS[finding.level]
        what = Text(_folded(finding.what, room))
        if finding.to_do:
            what.append("\n" + _folded(f"→ {finding.to_do}", room), "dim")
        table.add_row(Text(mark, style), finding.about, what)
    return table


def _folded(text: str, room: int) -> str:
    """Break a text into lines, between its words: paths are to be copied."""
    lines = textwrap.wrap(text, max(room, _LEAST), break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(printable, lines))
