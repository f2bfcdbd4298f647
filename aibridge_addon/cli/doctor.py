"""`aibridge doctor`: checks the installation, and prints what is wrong and what to do about it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibridge_addon.cli import running
from aibridge_addon.cli.ca import folder_of
from aibridge_addon.cli.checks import run_checks
from aibridge_addon.cli.checks.installation import Installation, read_configuration
from aibridge_addon.cli.checks.wording import count
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import folded, make_table, print_table, terminal_width
from aibridge_addon.config.options import OPTIONS, PREFIX, unknown_option
from aibridge_addon.findings import Finding

if TYPE_CHECKING:
    from rich.table import Table

_MARGIN = 6
"""Width of the mark and of the space between columns."""
_MARKS = {"ok": ("✓", "green"), "note": ("•", "yellow"), "bad": ("✗", "bold red")}
_TRUSTED = "ssl_verify_upstream_trusted_ca"
_KNOWN = {option.name: option for option in OPTIONS}


@click.command(short_help="Check the installation, and say what to do about problems.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Config file to check. Default: the one of the running proxy.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to check. Default: the one of the running proxy, or the default database.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"Option of the proxy to check: aibridge_…, confdir or {_TRUSTED}. Repeatable.",
)
@click.option(
    "--keys", is_flag=True, help="Check the API keys, by asking each provider for its models."
)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    config: Path | None,
    db: str | None,
    sets: tuple[str, ...],
    keys: bool,
) -> None:
    """Check the installation, and say what to do about problems.

    Checks versions, ports, the CA, the variables of this shell, the config file, the database, MCP
    servers, and the connections to providers. Changes nothing. Exits with 1 if a check finds a
    problem; notes do not count.
    """
    installation = _installation(_options(sets), config, db)
    findings = list(run_checks(installation, with_keys=keys))
    print_table(_table(findings, terminal_width()))
    problems = sum(finding.level == "bad" for finding in findings)
    if problems:
        click.echo(f"{count(problems, 'problem')} in {count(len(findings), 'finding')}.")
        ctx.exit(1)
    click.echo("No problems found.")


def _options(sets: tuple[str, ...]) -> dict[str, Any]:
    """Parse options as mitmproxy does."""
    values: dict[str, Any] = {}
    for spec in sets:
        name, _, value = spec.partition("=")
        if name.startswith(PREFIX) and name not in _KNOWN:
            raise click.UsageError(f"--set {unknown_option(name)}")
        kind = _KNOWN[name].type if name in _KNOWN else str
        if name not in _KNOWN and name not in ("confdir", _TRUSTED):
            raise click.UsageError(f"--set {name}: the doctor does not check this option")
        try:
            values[name] = value in ("true", "") if kind is bool else kind(value)
        except ValueError as error:
            raise click.UsageError(f"--set {name}: {value!r} is not {kind.__name__}") from error
    return values


def _installation(options: dict[str, Any], config: Path | None, db: str | None) -> Installation:
    """Return the installation of the running proxy, as far as options do not name another."""
    proxy = running.find()
    trusted = options.pop(_TRUSTED, None)
    confdir = options.pop("confdir", None)
    chosen = config or Path(proxy.config if proxy else "")
    path = str(chosen.expanduser().absolute()) if chosen != Path() else ""
    options.setdefault("aibridge_config", path)
    if proxy and proxy.plugins:
        options.setdefault("aibridge_plugins", ",".join(proxy.plugins))
    if database := db or (proxy and proxy.database):
        options.setdefault("aibridge_db", database)
    settings, mistakes = read_configuration(options)
    return Installation(
        proxy=proxy,
        ca_folder=folder_of(Path(confdir) if confdir else None),
        environ=os.environ,
        settings=settings,
        config=options["aibridge_config"],
        mistakes=mistakes,
        trusted=trusted,
    )


def _table(findings: list[Finding], width: int) -> "Table":
    from rich.text import Text

    table = make_table()
    for head in ("", "", "finding, and what to do"):
        table.add_column(head)
    room = width - max(len(finding.about) for finding in findings) - _MARGIN
    for finding in findings:
        mark, style = _MARKS[finding.level]
        what = Text(folded(finding.what, room))
        if finding.to_do:
            what.append("\n" + folded(f"→ {finding.to_do}", room), "dim")
        table.add_row(Text(mark, style), finding.about, what)
    return table
