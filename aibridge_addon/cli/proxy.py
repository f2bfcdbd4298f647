"""`aibridge proxy`: runs a forward and a reverse proxy in one process."""

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibridge_addon.cli.dashboard import DEFAULT_ADDRESS, Dashboard
from aibridge_addon.cli.listening_ports import (
    DEFAULT_PORT,
    DEFAULT_REVERSE_PORT,
    Port,
    check_port,
    choose_ports,
    is_free,
)
from aibridge_addon.cli.logs import FORMATS, log_to_stderr
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.plan import METRICS_OPTION, AddonSet, Plan
from aibridge_addon.cli.startup_message import REPORTS, StartupReporter, report_to_parent

if TYPE_CHECKING:
    from aibridge_addon.cli.totals import Passed

METRICS = ("127.0.0.1", 9464)
WEB_PORT = 8082
"""The default port of mitmweb is the one of our reverse proxy."""
WEB_COLUMNS = ["icon", "comment", "path", "method", "status", "size", "time"]
"""Columns of mitmweb's list of flows: the comment says what a request cost."""
NO_TARGET = "reverse:http://aibridge.invalid:1"
"""A reverse mode needs a target. It is never used: the path of a request selects the provider."""
LARGEST_BODY = "600m"
"""Value of mitmproxy's `body_size_limit`, because requests are buffered. Providers accept files of
512 MB, plus the form around them."""
OPEN_FILES = 65536
LISTENING_OPTIONS = frozenset({"mode", "listen_host", "listen_port", "server"})


_WORKERS_PER_CORE, _FEW_WORKERS = 4, 16
"""Most workers for each processor core, and workers that any machine may have."""


@click.command(short_help="Run the forward and reverse proxy.")
@click.option(
    "--port",
    type=Port(),
    default=str(DEFAULT_PORT),
    metavar="PORT|off",
    help=f"Port of the forward proxy (HTTPS_PROXY). 0: any free port. Default: {DEFAULT_PORT}.",
)
@click.option(
    "--reverse-port",
    type=Port(),
    default=str(DEFAULT_REVERSE_PORT),
    metavar="PORT|off",
    help=f"Port of the reverse proxy (base URLs). 0: any free port."
    f" Default: {DEFAULT_REVERSE_PORT}.",
)
@click.option(
    "--listen-host",
    default="127.0.0.1",
    metavar="HOST",
    help="Address to listen on. Default: 127.0.0.1.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Config file (TOML) with provider instances, known actors and MCP servers.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="SQLite file or postgresql://… to record in. Default: a file in your data folder.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT|off",
    help="Address to serve Prometheus metrics on. Default: 127.0.0.1:9464 if that is free.",
)
@click.option(
    "--dashboard",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    metavar="[HOST:PORT]",
    help=f"Serve the page of `aibridge web`, too. Default address: {DEFAULT_ADDRESS}.",
)
@click.option(
    "--web",
    is_flag=True,
    help="Run mitmproxy's web page, too. It keeps the latest traffic in memory.",
)
@click.option(
    "--all-addons", is_flag=True, help="Run all addons of mitmdump. Takes more CPU per request."
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of mitmproxy or of the addon (aibridge_…). Repeatable.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    metavar="SECONDS",
    help="Time that open requests get to complete at shutdown. Default: 10.",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Time before the ports close in which /readyz already answers 503. Default: 0.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    metavar="NUMBER",
    help="Processes that share the ports. Default: 1.",
)
@click.option(
    "--allow-open",
    is_flag=True,
    help="Allow listening on non-loopback addresses without authentication.",
)
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    help="Format of the log on stderr. Default: text.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every connection.")
@click.option("--private", is_flag=True, hidden=True)
def command(
    *,
    web: bool,
    all_addons: bool,
    log_format: str,
    verbose: bool,
    private: bool,
    dashboard: str | None,
    workers: int,
    **given: Any,
) -> None:
    """Run the forward and reverse proxy until Ctrl-C or SIGTERM.

    Clients use the forward proxy by setting HTTPS_PROXY and trusting its CA, or the reverse proxy
    by setting a base URL. Only connections to AI providers are intercepted; all other connections
    are tunnelled and never decrypted.

    At shutdown, open requests get --grace seconds to complete; a second signal ends them at once.
    Config files are read again when they change, and on SIGHUP if there is no terminal. With
    --workers, SIGHUP replaces the workers, one after the other.

    Options of mitmproxy can also be set in ~/.mitmproxy/config.yaml.
    """
    # --private is for `aibridge run`: the proxy prints its description as JSON, ends when its stdin
    # is closed, and then prints what passed through it.
    addons: AddonSet = "web" if web else "all" if all_addons else "needed"
    if workers > 1:
        _check_workers(given["sets"], workers, web=web)
    plan = _plan(addons, **given)
    report = report_to_parent if private else REPORTS[log_format]
    with contextlib.ExitStack() as stack:
        page = stack.enter_context(contextlib.closing(Dashboard(dashboard))) if dashboard else None
        reporter = StartupReporter(report, announce=not private, dashboard=page)
        stack.enter_context(log_to_stderr(log_format, verbose=verbose or addons != "needed"))
        if workers > 1:
            _supervise(plan, reporter, count=workers, log_format=log_format, verbose=verbose)
            return
        passed = _serve(plan, reporter, until_eof=private)
    if private:
        click.echo(json.dumps(asdict(passed)))


def _serve(plan: Plan, reporter: StartupReporter, *, until_eof: bool) -> "Passed":
    from aibridge_addon.cli.serving import StartError, serve

    _raise_file_limit()
    try:
        return serve(
            plan,
            on_up=reporter.started,
            on_change=reporter.changed,
            on_end=reporter.ended,
            until_eof=until_eof,
        ).passed
    except StartError as error:
        raise click.ClickException(str(error)) from error
    finally:
        reporter.ended()


def _supervise(
    plan: Plan, reporter: StartupReporter, *, count: int, log_format: str, verbose: bool
) -> None:
    from aibridge_addon.cli.workers.supervisor import supervise

    _raise_file_limit()
    try:
        supervise(plan, reporter, count=count, log_format=log_format, verbose=verbose)
    finally:
        reporter.ended()


def _check_workers(sets: tuple[str, ...], workers: int, *, web: bool) -> None:
    """Check `--workers`, and the options beside it.

    Raises:
        UsageError: an option needs a single process, or so many would stop the machine.
    """
    most = max(_FEW_WORKERS, _WORKERS_PER_CORE * (os.process_cpu_count() or 1))
    if workers > most:
        raise click.UsageError(
            f"--workers {workers}: at most {most} on this machine, {_WORKERS_PER_CORE} for each of"
            " its processor cores"
        )
    if os.name != "posix":
        raise click.UsageError("--workers: processes cannot share ports on this system")
    if web:
        raise click.UsageError("--web shows the traffic of one process: leave out --workers")
    if any(spec.partition("=")[0] == METRICS_OPTION for spec in sets):
        raise click.UsageError(f"--set {METRICS_OPTION}: with --workers, set it with --metrics")


def _plan(
    addons: AddonSet,
    *,
    port: int | None,
    reverse_port: int | None,
    listen_host: str,
    config: Path | None,
    db: str | None,
    metrics: str | None,
    sets: tuple[str, ...],
    grace: float,
    drain: float,
    allow_open: bool,
) -> Plan:
    """Return the plan for the options of the command.

    Raises:
        ClickException: an option is wrong, or a port is in use.
    """
    from aibridge_addon.access.listening import is_loopback

    if port is None and reverse_port is None:
        raise click.UsageError("with both ports off, there is nothing to run")
    _check_sets(sets)
    defaults, metrics_flags = _metrics_options(metrics)
    flags = {
        "aibridge_config": str(config.absolute()) if config else None,
        "aibridge_db": db,
        "aibridge_allow_open": allow_open or None,
    }
    return Plan(
        modes=_modes(listen_host, *choose_ports(listen_host, port, reverse_port)),
        addons=addons,
        is_local=is_loopback(listen_host),
        defaults=_defaults(addons) | defaults,
        flags=metrics_flags | {name: value for name, value in flags.items() if value is not None},
        sets=sets,
        grace_s=grace,
        drain_s=drain,
    )


def _modes(host: str, port: int | None, reverse_port: int | None) -> tuple[str, ...]:
    """Return values of mitmproxy's option `mode`, for which an IPv6 address has no brackets."""
    modes = {"regular": port, NO_TARGET: reverse_port}
    return tuple(
        f"{mode}@{host.strip('[]')}:{number}"
        for mode, number in modes.items()
        if number is not None
    )


def _defaults(addons: AddonSet) -> dict[str, Any]:
    """Return the options of mitmproxy that differ from its own defaults."""
    defaults: dict[str, Any] = {
        "connection_strategy": "lazy",
        "body_size_limit": LARGEST_BODY,
    }
    if addons == "web":
        defaults |= {
            "store_streamed_bodies": True,
            "web_port": WEB_PORT,
            "web_open_browser": False,
            "web_columns": WEB_COLUMNS,
        }
    return defaults


def _metrics_options(given: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the default and the flag for the address of the metrics; one of them is empty."""
    if given is None:
        host, port = METRICS
        if is_free(host, port):
            return {METRICS_OPTION: f"{host}:{port}"}, {}
        click.echo(f"Port {port} is in use: no metrics are served. See --metrics.", err=True)
        return {}, {}
    name, _, number = given.rpartition(":")
    if name and number.isdecimal() and int(number) <= 65535:  # the settings report other mistakes
        check_port(name, int(number), "--metrics")
    return {}, {METRICS_OPTION: "" if given == "off" else given}


def _check_sets(sets: tuple[str, ...]) -> None:
    """Check the form of the values of `--set`.

    mitmproxy sets an option without a value to true, which is right for a switch only. Options of
    its addons are not known yet, so that their switches need a value.

    Raises:
        UsageError: an option has no value, or has an option of the command for it.
    """
    from mitmproxy.options import Options

    from aibridge_addon.config.options import OPTIONS

    if wrong := sorted(LISTENING_OPTIONS & {spec.partition("=")[0] for spec in sets}):
        raise click.UsageError(
            f"--set {wrong[0]}: set the address with --port, --reverse-port and --listen-host"
        )
    switches = {option.name for option in OPTIONS if option.type is bool}
    switches |= {name for name, option in Options().items() if option.typespec is bool}
    for spec in sets:
        if "=" not in spec and spec not in switches:
            raise click.UsageError(f"--set {spec}: write it as NAME=VALUE")


def _raise_file_limit() -> None:
    """Raise the limit of open files: shells often set 1024, and each client needs two."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS has a further limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
