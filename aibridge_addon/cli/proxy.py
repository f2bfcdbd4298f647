"""`aibridge proxy`: forward and reverse proxy in one process."""

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aibridge_addon import __version__
from aibridge_addon.cli import running
from aibridge_addon.cli.databases import requires_token
from aibridge_addon.cli.logs import FORMATS, log_to_stderr
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.plan import Plan
from aibridge_addon.description import describe_proxy
from aibridge_addon.observe.announcement import Announcement, RunningProxy

if TYPE_CHECKING:
    from mitmproxy.master import Master

    from aibridge_addon.cli.plan import AddonSet
    from aibridge_addon.cli.totals import Passed

METRICS = ("127.0.0.1", 9464)
WEB_PORT = 8082
"""mitmweb's own is that of our reverse proxy."""
NOWHERE = "reverse:http://aibridge.invalid:1"
"""A reverse mode must have a target; ours is by path, so that none of it is ever used."""
LARGEST_BODY = "600m"
"""As mitmproxy's `body_size_limit`: requests are held whole. Providers take files of up to 512 MB,
and a form around them."""
OPEN_FILES = 65536
LISTENING_OPTIONS = frozenset({"mode", "listen_host", "listen_port", "server"})


class _Port(click.ParamType[int | None]):
    name = "port"

    def convert(
        self, value: str | int | None, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return a port, or None for 'off'."""
        if value is None or value == "off":
            return None
        try:
            port = int(value)
        except ValueError:
            port = -1
        if not 0 <= port <= 65535:
            self.fail(f"{value!r} is neither a port nor 'off'")
        return port


@click.command(short_help="Run the proxy: forward and reverse at once.")
@click.option(
    "--port",
    type=_Port(),
    default="8080",
    metavar="PORT|off",
    help="Of the forward proxy (HTTPS_PROXY). 0: a free one. Default: 8080.",
)
@click.option(
    "--reverse-port",
    type=_Port(),
    default="8081",
    metavar="PORT|off",
    help="Of the reverse proxy (base URLs). Default: 8081.",
)
@click.option("--listen-host", default="127.0.0.1", metavar="HOST", help="Default: 127.0.0.1.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A TOML file with provider instances, known actors and MCP servers.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="The SQLite database to record in. Default: one in your data folder.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT|off",
    help="Where Prometheus may ask. Default: 127.0.0.1:9464, unless that is taken.",
)
@click.option("--web", is_flag=True, help="With mitmproxy's web page. It keeps all in memory.")
@click.option("--all-addons", is_flag=True, help="With all that mitmdump has; costs more CPU.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of mitmproxy or of the addon (aibridge_…). May be given several times.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    metavar="SECONDS",
    help="How long the end waits for open requests. Default: 10.",
)
@click.option("--allow-open", is_flag=True, help="Let anybody in who can reach it.")
@click.option("--log-format", type=click.Choice(FORMATS), default="text", help="Default: text.")
@click.option("-v", "--verbose", is_flag=True, help="Log every connection.")
@click.option("--private", is_flag=True, hidden=True)
def command(
    *,
    web: bool,
    all_addons: bool,
    log_format: str,
    verbose: bool,
    private: bool,
    **given: Any,
) -> None:
    """Run the proxy until Ctrl-C or SIGTERM.

    It is a forward proxy (clients set HTTPS_PROXY and trust its CA) and a reverse proxy (clients
    set a base URL) at once. Only hosts of AI providers are looked into; connections to all others
    are tunnelled, never decrypted.

    What is open when it is to end gets some seconds to complete (--grace); a second signal ends it
    at once. Config files are read again when they change; SIGHUP makes a proxy that runs without
    a terminal do so at once.

    Options of mitmproxy may also stand in ~/.mitmproxy/config.yaml.
    """
    # --private is for `aibridge run`: it says as JSON where it is, ends with its stdin, and then
    # says what passed through it.
    addons: AddonSet = "web" if web else "all" if all_addons else "needed"
    plan = _plan(addons, **given)
    with log_to_stderr(log_format, verbose=verbose or addons != "needed"):
        passed = _serve(plan, _announced(log_format, private=private), until_eof=private)
    if private:
        click.echo(json.dumps(asdict(passed)))


def _announced(log_format: str, *, private: bool) -> "_Announced":
    say = _announce_json if private else _ANNOUNCE[log_format]
    return _Announced(say, register=not private)


def _serve(plan: Plan, announced: "_Announced", *, until_eof: bool) -> "Passed":
    from aibridge_addon.cli.serving import StartError, serve

    _allow_open_files()
    try:
        return serve(
            plan,
            on_up=announced.up,
            on_change=announced.changed,
            on_end=announced.end,
            until_eof=until_eof,
        )
    except StartError as error:
        raise click.ClickException(str(error)) from error
    finally:
        announced.end()


def _plan(
    addons: "AddonSet",
    *,
    port: int | None,
    reverse_port: int | None,
    listen_host: str,
    config: Path | None,
    db: str | None,
    metrics: str | None,
    sets: tuple[str, ...],
    grace: float,
    allow_open: bool,
) -> Plan:
    """Make of what was asked for what will run, or refuse it.

    Raises:
        ClickException: why not.
    """
    if port is None and reverse_port is None:
        raise click.UsageError("with both ports off, there is nothing to run")
    if wrong := sorted(LISTENING_OPTIONS & {spec.partition("=")[0] for spec in sets}):
        raise click.UsageError(
            f"--set {wrong[0]}: where it listens is set by --port, --reverse-port and --listen-host"
        )
    _check_values(sets)
    port, reverse_port = _free(listen_host, port, reverse_port)
    usual: dict[str, Any] = {"connection_strategy": "lazy", "body_size_limit": LARGEST_BODY}
    flags: dict[str, Any] = {}
    if addons == "web":
        usual |= {
            "store_streamed_bodies": True,
            "web_port": WEB_PORT,
            "web_open_browser": False,
        }
    _choose_metrics(metrics, usual, flags)
    if config is not None:
        flags["aibridge_config"] = str(config.absolute())
    if db is not None:
        flags["aibridge_db"] = db
    if allow_open:
        flags["aibridge_allow_open"] = True
    host = listen_host.strip("[]")  # mitmproxy takes what is before the last colon
    modes = [f"regular@{host}:{port}"] if port is not None else []
    modes += [f"{NOWHERE}@{host}:{reverse_port}"] if reverse_port is not None else []
    from aibridge_addon.access.listening import is_loopback

    return Plan(
        modes=tuple(modes),
        addons=addons,
        is_local=is_loopback(listen_host),
        defaults=usual,
        flags=flags,
        sets=sets,
        grace_s=grace,
    )


def _check_values(sets: tuple[str, ...]) -> None:
    """Refuse an option without a value, which mitmproxy takes for "on", unless it is a switch.

    Options of mitmproxy's addons are not known yet, so that their switches must be written out.
    """
    from mitmproxy.options import Options

    from aibridge_addon.config.options import OPTIONS

    switches = {option.name for option in OPTIONS if option.type is bool}
    switches |= {name for name, option in Options().items() if option.typespec is bool}
    for spec in sets:
        if "=" not in spec and spec not in switches:
            raise click.UsageError(f"--set {spec}: write it as NAME=VALUE")


def _allow_open_files() -> None:
    """Take as many open files as we may: shells often give 1024, and a client takes two."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS has a further limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


# Ports


def _free(host: str, port: int | None, reverse: int | None) -> tuple[int | None, int | None]:
    """Check both ports, and choose where any will do: mitmproxy wants two that differ."""
    if port == reverse and port:
        raise click.UsageError("--port and --reverse-port must differ")
    with contextlib.ExitStack() as both:
        return (
            _bound(both, host, port, "--port"),
            _bound(both, host, reverse, "--reverse-port"),
        )


def _bound(stack: contextlib.ExitStack, host: str, port: int | None, option: str) -> int | None:
    if port is None:
        return None
    try:
        return stack.enter_context(_listener(host, port)).getsockname()[1]  # type: ignore[no-any-return]
    except OSError as error:
        raise click.ClickException(_why_not(error, host, port, option)) from error


def _listener(host: str, port: int) -> socket.socket:
    [(family, _, _, _, address), *_] = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _why_not(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        known = running.find()
        urls = (*known.urls, known.metrics_url or "") if known else ()
        if known and any(url.endswith(f":{port}") for url in urls):
            who = f"an aibridge proxy that runs already (process {known.pid})"
        else:
            who = "another program"
        return f"port {port} on {host} is taken by {who}. Choose another by {option}"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that you do not have. Choose another by {option}"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"


def _choose_metrics(given: str | None, usual: dict[str, Any], flags: dict[str, Any]) -> None:
    option = "aibridge_metrics_listen"
    if given is not None:
        flags[option] = "" if given == "off" else given
        name, _, number = given.rpartition(":")
        if name and number.isdecimal() and int(number) <= 65535:  # else, settings say so
            with contextlib.ExitStack() as stack:
                _bound(stack, name, int(number), "--metrics")
        return
    host, port = METRICS
    try:
        _listener(host, port).close()
    except OSError:
        click.echo(f"Port {port} is taken: no metrics. See --metrics.", err=True)
    else:
        usual[option] = f"{host}:{port}"


# What is said when it is up


type Announce = Callable[[RunningProxy], None]


class _Announced:
    """Says once that a proxy is up, and, if it is for others too, where they find it."""

    def __init__(self, say: Announce, *, register: bool) -> None:
        self._say = say
        self._announcement = Announcement() if register else None

    def up(self, master: "Master") -> None:
        """The proxy works."""
        if self._announcement:
            self._put_down(self._announcement, master)
        self._say(describe_proxy(master))
        sys.stdout.flush()

    def changed(self, master: "Master") -> None:
        """It has other settings: other hosts, perhaps."""
        if self._announcement and self._announcement.is_made:
            self._put_down(self._announcement, master)

    def end(self) -> None:
        """Nobody should come any more."""
        if self._announcement:
            self._announcement.end()

    def _put_down(self, announcement: Announcement, master: "Master") -> None:
        try:
            announcement.make(describe_proxy(master))
        except OSError as error:
            click.echo(f"Others will not find this proxy: {error}", err=True)


def _announce_json(where: RunningProxy) -> None:
    click.echo(json.dumps(asdict(where)))


def _announce_record(where: RunningProxy) -> None:
    """Say it as a line of a log."""
    warning = _warning(where)
    record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "warning" if warning else "info",
        "logger": __name__,
        "message": ". ".join(filter(None, (_headline(where), warning))),
        "proxy": asdict(where),
    }
    click.echo(json.dumps(record))


def _headline(where: RunningProxy) -> str:
    return f"aibridge {__version__} is up, process {where.pid}"


def _warning(where: RunningProxy) -> str:
    if where.open_on and not (where.needs_login or requires_token(where)):
        return "OPEN: whoever reaches it may use it"
    return ""


def _announce(where: RunningProxy) -> None:
    lines = [("records in", where.database or "your own recorder")]
    if where.open_on:
        lines += [("listens on", f"{where.open_on}: others reach it too")]
    lines += [("tokens", "asked for" if requires_token(where) else "not asked for")]
    if where.forward_url:
        lines += [("HTTPS_PROXY", where.forward_url), ("its CA", where.ca)]
    if where.reverse_url:
        lines += [
            ("ANTHROPIC_BASE_URL", f"{where.reverse_url}/anthropic"),
            ("OPENAI_BASE_URL", f"{where.reverse_url}/openai/v1"),
        ]
    if where.metrics_url:
        lines += [
            ("metrics", f"{where.metrics_url}/metrics"),
            ("health", f"{where.metrics_url}/healthz"),
        ]
    click.echo(f"{_headline(where)}.\n")
    if warning := _warning(where):
        click.echo(f"  {warning}.\n")
    for name, value in lines:
        click.echo(f"  {name:20}{value}")
    click.echo(
        "\n  aibridge run -- claude       starts a program that goes through it"
        '\n  eval "$(aibridge env)"       sets up a shell'
        "\n  aibridge usage               shows what was used\n"
    )


_ANNOUNCE: dict[str, Announce] = {"text": _announce, "json": _announce_record}
"""By the form of the log."""
