"""Checks that a proxy is running or, if not, that its ports are free."""

from collections.abc import Iterator

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.listening_ports import DEFAULT_PORT, DEFAULT_REVERSE_PORT
from aibridge_addon.findings import Finding
from aibridge_addon.observe.announcement import accepts_connections, load, state_path

PORTS = {
    "--port": ("forward proxy", DEFAULT_PORT),
    "--reverse-port": ("reverse proxy", DEFAULT_REVERSE_PORT),
}
"""By the option of `aibridge proxy`: the use of a port, and its default number."""


def check_ports(installation: Installation) -> Iterator[Finding]:
    """Check for a running proxy, or for free ports."""
    if proxy := installation.proxy:
        what = f"process {proxy.pid} on {' and '.join(proxy.urls)}"
        yield Finding(about="proxy", level="ok", what=what)
        return
    if stale := load(state_path()):
        what = f"process {stale.pid} is gone, or accepts no connections"
        to_do = "start it again: aibridge proxy"
    else:
        what, to_do = "no proxy is running", "start one: aibridge proxy"
    yield Finding(about="proxy", level="note", what=what, to_do=to_do)
    for option, (use, port) in PORTS.items():
        yield _port(option, use, port)


def _port(option: str, use: str, port: int) -> Finding:
    about = f"port {port}"
    if not accepts_connections(f"http://127.0.0.1:{port}"):
        return Finding(about=about, level="ok", what=f"is free for the {use}")
    to_do = f"choose another port for the {use}: aibridge proxy {option} PORT"
    return Finding(about=about, level="note", what="is used by another program", to_do=to_do)
