"""Checks that the variables of this shell make programs use the proxy, and trust its CA."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aibridge_addon.cli import client_setup
from aibridge_addon.cli.bundle import bundle_path
from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.findings import Finding
from aibridge_addon.observe.announcement import RunningProxy

_SET_UP = 'eval "$(aibridge env)", or aibridge run -- PROGRAM'
_BASE_URLS = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL")


def check_variables(installation: Installation) -> Iterator[Finding]:
    """Check proxy variables, base URLs, exceptions and CA variables."""
    environ, proxy = installation.environ, installation.proxy
    yield _proxy_variables(environ, proxy)
    yield from _base_urls(environ, proxy)
    yield from _exceptions(installation)
    if _uses(environ, proxy):
        yield from _ca_variables(environ, installation.ca_folder / "mitmproxy-ca-cert.pem")


def _proxy_variables(environ: Mapping[str, str], proxy: RunningProxy | None) -> Finding:
    about = "HTTPS_PROXY"
    upper, lower = environ.get("HTTPS_PROXY"), environ.get("https_proxy")
    if upper and lower and upper != lower:
        what = "and https_proxy differ; most programs use https_proxy"
        return Finding(about=about, level="bad", what=what, to_do="give both the same value")
    if not (upper or lower):
        what = "is not set: programs of this shell bypass the forward proxy"
        return Finding(about=about, level="note", what=what, to_do=_SET_UP)
    if proxy is None:
        what = "is set, but no aibridge proxy is running"
        return Finding(about=about, level="note", what=what, to_do="aibridge proxy")
    if _uses(environ, proxy):
        return Finding(about=about, level="ok", what="points to the proxy")
    return Finding(about=about, level="note", what="points to another proxy", to_do=_SET_UP)


def _uses(environ: Mapping[str, str], proxy: RunningProxy | None) -> bool:
    """Return True if the proxy variables point to the running forward proxy."""
    if proxy is None or proxy.forward_url is None:
        return False
    urls = (environ.get("https_proxy"), environ.get("HTTPS_PROXY"))
    return _address(proxy.forward_url) in (_address(url) for url in urls if url)


def _address(url: str) -> tuple[str | None, int | None] | None:
    """Return host and port of a proxy's URL, which may contain a login; None if it is not a URL."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return parts.hostname, parts.port
    except ValueError:
        return None


def _base_urls(environ: Mapping[str, str], proxy: RunningProxy | None) -> Iterator[Finding]:
    for name in _BASE_URLS:
        url = environ.get(name, "")
        if url and proxy and proxy.reverse_url and url.startswith(f"{proxy.reverse_url}/"):
            yield Finding(about=name, level="ok", what="points to the proxy")
        elif "127.0.0.1" in url or "localhost" in url:
            what = "points to this machine, but not to the proxy"
            to_do = 'eval "$(aibridge env --reverse)", or unset it'
            yield Finding(about=name, level="note", what=what, to_do=to_do)


_MOST_HOSTS = 3
"""Hosts that a finding names."""


def _exceptions(installation: Installation) -> Iterator[Finding]:
    environ = installation.environ
    hosts = {host for provider in installation.settings.providers for host in provider.hosts}
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    for entry in filter(None, map(str.strip, no_proxy.split(","))):
        if covered := [host for host in sorted(hosts) if client_setup.covers(entry, host)]:
            shown = ", ".join(covered[:_MOST_HOSTS])
            more = len(covered) - _MOST_HOSTS
            shown += f" and {more} more" if more > 0 else ""
            what = f"contains {entry}: requests to {shown} bypass the proxy"
            to_do = f"remove {entry} from NO_PROXY"
            yield Finding(about="NO_PROXY", level="note", what=what, to_do=to_do)


def _ca_variables(environ: Mapping[str, str], ca: Path) -> Iterator[Finding]:
    replacing = client_setup.replacing_variables()
    for name in (*client_setup.ADDING, *replacing):
        value = environ.get(name)
        if not value:
            continue
        if problem := _problem_with(Path(value), ca, replaces=name in replacing):
            yield Finding(about=name, level="bad", what=problem, to_do=_SET_UP)
        else:
            yield Finding(about=name, level="ok", what="contains the proxy's CA")
    if not any(environ.get(name) for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")):
        what = "and NODE_EXTRA_CA_CERTS are not set: few programs will trust the proxy"
        yield Finding(about="SSL_CERT_FILE", level="bad", what=what, to_do=_SET_UP)


def _problem_with(path: Path, ca: Path, *, replaces: bool) -> str:
    try:
        trusted, ours = _certificates_in(path), _certificates_in(ca)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if not ours <= trusted:
        return f"{path} does not contain the proxy's CA"
    if replaces and trusted == ours:
        return (
            f"contains only the proxy's CA, so that no other host is trusted; use {bundle_path()}"
        )
    return ""


def _certificates_in(path: Path) -> set[bytes]:
    """Return the certificates of a PEM file, unparsed: some certificates of systems are invalid."""
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_bytes(), re.DOTALL)
    return {b"".join(block.split()) for block in blocks}
