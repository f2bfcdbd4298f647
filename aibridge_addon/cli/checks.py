"""What the doctor looks at: each check returns what it found, and, where something is wrong, what
to do about it. Nothing is changed, and no secret is shown.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi

from aibridge_addon.access.tokens import AccessToken, TokenError, authenticate, is_valid
from aibridge_addon.cli import client_setup
from aibridge_addon.cli.bundle import bundle_path
from aibridge_addon.cli.connection import token_of_login
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import Settings, default_settings, read_settings
from aibridge_addon.findings import Finding, Level
from aibridge_addon.observe.announcement import (
    RunningProxy,
    load,
    state_path,
    takes_connections,
)
from aibridge_addon.providers.routing import Provider
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError

PYTHON = (3, 13)
MITMPROXY = ((12, 2), (13,))
"""From the one on, below the other."""
USUAL_PORTS = {"forward proxy": 8080, "reverse proxy": 8081}
NETWORK_S = 8.0
SERVERS_S = 30.0
"""For MCP servers: a program may have to be downloaded first."""
FEW_DAYS = 30


def versions() -> list[Finding]:
    """Look at Python and mitmproxy."""
    ours = sys.version_info[:2]
    python = Finding(about="Python", level="ok", what=".".join(map(str, sys.version_info[:3])))
    if ours < PYTHON:
        python = Finding(
            about="Python",
            level="bad",
            what=f"{python.what} is too old",
            to_do=f"install Python {PYTHON[0]}.{PYTHON[1]} or newer",
        )
    return [python, _mitmproxy()]


def _mitmproxy() -> Finding:
    try:
        found = version("mitmproxy")
    except PackageNotFoundError:
        return Finding(about="mitmproxy", level="bad", what="is missing", to_do="install it again")
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if MITMPROXY[0] <= numbers < MITMPROXY[1]:
        return Finding(about="mitmproxy", level="ok", what=found)
    return Finding(
        about="mitmproxy",
        level="bad",
        what=f"{found} was not tried with this version",
        to_do="pip install 'mitmproxy>=12.2,<13'",
    )


def ports(proxy: RunningProxy | None, usual: Mapping[str, int] = USUAL_PORTS) -> list[Finding]:
    """Look whether a proxy runs; if not, whether it could."""
    if proxy is not None:
        urls = " and ".join(proxy.urls)
        return [Finding(about="proxy", level="ok", what=f"process {proxy.pid} on {urls}")]
    found = []
    if left := load(state_path()):
        found.append(
            Finding(
                about="proxy",
                level="note",
                what=f"process {left.pid} is gone, or takes no connections",
                to_do="start it again: aibridge proxy",
            )
        )
    else:
        found.append(
            Finding(
                about="proxy", level="note", what="none runs", to_do="start one: aibridge proxy"
            )
        )
    return found + [_port(name, port) for name, port in usual.items()]


def _port(name: str, port: int) -> Finding:
    if not takes_connections(f"http://127.0.0.1:{port}"):
        return Finding(about=f"port {port}", level="ok", what=f"is free for the {name}")
    option = "--port" if name == "forward proxy" else "--reverse-port"
    return Finding(
        about=f"port {port}",
        level="note",
        what="is taken by another program",
        to_do=f"choose another port for the {name}: aibridge proxy {option} …",
    )


def health(proxy: RunningProxy | None) -> list[Finding]:
    """Ask the running proxy how it is, as a probe does."""
    if proxy is None or proxy.metrics_url is None:
        return []
    try:
        told = _probe(proxy.metrics_url)
        down = [name for name, state in told["mcp_servers"].items() if state == "down"]
        is_kept = told["database"] == "ok"
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError):
        what = f"{proxy.metrics_url}/healthz does not tell"
        return [Finding(about="health", level="note", what=what, to_do="look into its log")]
    found = []
    if not is_kept:
        what = "the proxy does not reach its database, and keeps records beside it"
        todo = "look into its log, and see below"
        found.append(Finding(about="health", level="bad", what=what, to_do=todo))
    if down:
        what = f"the proxy is not connected to {', '.join(down)}"
        todo = "look into its log, and at its environment"
        found.append(Finding(about="health", level="note", what=what, to_do=todo))
    return found or [Finding(about="health", level="ok", what="the proxy itself is well")]


def _probe(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=NETWORK_S)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        told: dict[str, Any] = json.loads(connection.getresponse().read())
    return told


def authority(folder: Path) -> list[Finding]:
    """Look at the CA."""
    from aibridge_addon.cli.authority import AuthorityError, certificate_path, key_path
    from aibridge_addon.cli.authority import read_authority as read

    key, certificate = key_path(folder), certificate_path(folder)
    if not key.exists() and not certificate.exists():
        todo = "aibridge ca create; the proxy makes one too, at its first start"
        return [Finding(about="CA", level="note", what=f"there is none in {folder}", to_do=todo)]
    try:
        found = read(folder)
    except AuthorityError as error:
        todo = "move it away and make another (aibridge ca create), or mend it"
        return [Finding(about="CA", level="bad", what=str(error), to_do=todo)]
    left = found.days_left()
    what = f"{certificate}, until {found.expires:%Y-%m-%d}"
    findings = [Finding(about="CA", level="ok", what=what)]
    if left < FEW_DAYS:
        todo = "make the next one in another folder: aibridge ca create --confdir …"
        what = f"expires in {_count(left, 'day')}" if left >= 0 else "its chain has expired"
        level: Level = "note" if left >= 0 else "bad"
        findings = [Finding(about="CA", level=level, what=what, to_do=todo)]
    if not _is_certificate_of(certificate, found.certificate):
        todo = f"take the certificates of {key} into it"
        what = f"{certificate} is not the certificate of the key"
        findings.append(Finding(about="CA", level="bad", what=what, to_do=todo))
    if os.name == "posix" and (mode := stat.S_IMODE(key.stat().st_mode)) & 0o077:
        what = f"others can read the key (mode {mode:04o})"
        findings.append(Finding(about="CA", level="bad", what=what, to_do=f"chmod 600 {key}"))
    return findings


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _is_certificate_of(path: Path, certificate: Any) -> bool:
    from cryptography import x509

    try:
        return certificate in x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return False


def config(path: str, options: Mapping[str, Any]) -> tuple[list[Finding], Settings]:
    """Look at the config file; return what it says, or what is usual where it is wrong."""
    values = default_values() | dict(options)
    try:
        settings = read_settings(values)
    except SettingsError as error:
        lines = str(error).splitlines()
        return (
            [
                Finding(about="config", level="bad", what=line, to_do=_to_mend(line, path))
                for line in lines
            ],
            default_settings(database=values["aibridge_db"]),
        )
    names = ", ".join(provider.name for provider in settings.providers)
    what = f"{path or 'no file'}; providers: {names}"
    doubts = [
        Finding(about="config", level="note", what=doubt, to_do="see the README about base_url")
        for doubt in settings.doubts
    ]
    return [Finding(about="config", level="ok", what=what), *doubts], settings


def _to_mend(mistake: str, path: str) -> str:
    if mistake.startswith(f"aibridge_config {path} is not TOML"):
        return "mend its syntax"
    if path and not os.access(Path(path).expanduser(), os.R_OK):
        return "is the path right?"
    return "see the README about this key"


def database(settings: Settings) -> list[Finding]:
    """Look at the database, and at what waits beside it."""
    if settings.recorder:
        return [Finding(about="database", level="note", what=f"your own: {settings.recorder}")]
    try:
        return open_store(settings.database).inspect()
    except StoreError as error:
        todo = "name another database with --db, or the module of the store in aibridge_plugins"
        return [Finding(about="database", level="bad", what=str(error), to_do=todo)]


def tokens(
    proxy: RunningProxy | None, settings: Settings, environ: Mapping[str, str]
) -> list[Finding]:
    """Look whether access tokens are asked for, and whether this shell has a good one."""
    location = (proxy and proxy.tokens_in) or settings.database
    rule = proxy.token_rule if proxy else settings.require_token
    try:
        known = open_store(location).access_tokens()
    except StoreError as error:
        todo = "see above: database"
        return [Finding(about="tokens", level="bad", what=str(error), to_do=todo)]
    asks = rule == "always" or (rule == "auto" and bool(known))
    good = sum(is_valid(token) for token in known.values())
    what = f"{'' if asks else 'not '}asked for; {_count(good, 'good one')}"
    found = [Finding(about="tokens", level="ok", what=what)]
    if asks and not good:
        todo = "make one: aibridge token create …"
        what = f"{what}: nobody can use the proxy"
        found = [Finding(about="tokens", level="bad", what=what, to_do=todo)]
    if text := token_of_login(environ.get("AIBRIDGE_LOGIN")):
        found.append(_your_token(text, known))
    return found


def _your_token(text: str, known: Mapping[str, AccessToken]) -> Finding:
    about = "AIBRIDGE_LOGIN"
    try:
        token = authenticate(text, known)
    except TokenError as error:
        todo = "make another: aibridge token create …"
        return Finding(about=about, level="bad", what=str(error), to_do=todo)
    until = f"until {token.expires_at[:16]} UTC" if token.expires_at else "for ever"
    what = f"the token {token.id} of {token.initiator_id}, good {until}"
    return Finding(about=about, level="ok", what=what)


def variables(
    environ: Mapping[str, str], proxy: RunningProxy | None, hosts: Iterable[str], ca: Path
) -> list[Finding]:
    """Look whether programs of this shell find the proxy, and trust it."""
    found = [*_proxy_variables(environ, proxy), *_base_urls(environ, proxy)]
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    for entry in filter(None, map(str.strip, no_proxy.split(","))):
        if past := [host for host in sorted(hosts) if client_setup.covers(entry, host)]:
            what = f"has {entry}: {', '.join(past)} goes past the proxy"
            found.append(
                Finding(about="NO_PROXY", level="note", what=what, to_do="take it out of NO_PROXY")
            )
    if _leads_to(environ, proxy):
        found += _certificates(environ, ca)
    return found


_SET_UP = 'eval "$(aibridge env)", or aibridge run -- …'


def _leads_to(environ: Mapping[str, str], proxy: RunningProxy | None) -> bool:
    if proxy is None or proxy.forward_url is None:
        return False
    urls = (environ.get("https_proxy"), environ.get("HTTPS_PROXY"))
    return _place(proxy.forward_url) in (_place(url) for url in urls if url)


def _place(url: str) -> tuple[str | None, int | None] | None:
    """Return the host and the port that a proxy's URL names, whatever login is in it."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return parts.hostname, parts.port
    except ValueError:
        return None


def _proxy_variables(environ: Mapping[str, str], proxy: RunningProxy | None) -> list[Finding]:
    upper, lower = environ.get("HTTPS_PROXY"), environ.get("https_proxy")
    if upper and lower and upper != lower:
        what = "and https_proxy differ; most programs take the latter"
        return [Finding(about="HTTPS_PROXY", level="bad", what=what, to_do="set both alike")]
    if not (upper or lower):
        what = "is not set: programs of this shell go past a forward proxy"
        return [Finding(about="HTTPS_PROXY", level="note", what=what, to_do=_SET_UP)]
    if proxy is None:
        what = "is set, and no proxy of ours runs"
        return [Finding(about="HTTPS_PROXY", level="note", what=what, to_do="aibridge proxy")]
    if _leads_to(environ, proxy):
        return [Finding(about="HTTPS_PROXY", level="ok", what="leads to the proxy")]
    what = "leads to another proxy"
    return [Finding(about="HTTPS_PROXY", level="note", what=what, to_do=_SET_UP)]


def _base_urls(environ: Mapping[str, str], proxy: RunningProxy | None) -> list[Finding]:
    found = []
    for name in ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"):
        url = environ.get(name)
        if not url:
            continue
        if proxy and proxy.reverse_url and url.startswith(f"{proxy.reverse_url}/"):
            found.append(Finding(about=name, level="ok", what="leads to the proxy"))
        elif "127.0.0.1" in url or "localhost" in url:
            what = "leads to this machine, and not to the proxy"
            todo = 'eval "$(aibridge env --reverse)", or unset it'
            found.append(Finding(about=name, level="note", what=what, to_do=todo))
    return found


def _certificates(environ: Mapping[str, str], ca: Path) -> list[Finding]:
    found = []
    for name in (*client_setup.ADDING, *client_setup.REPLACING):
        value = environ.get(name)
        if not value:
            continue
        if problem := _trust_problem(Path(value), ca, replaces=name in client_setup.REPLACING):
            found.append(Finding(about=name, level="bad", what=problem, to_do=_SET_UP))
        else:
            found.append(Finding(about=name, level="ok", what="trusts the proxy's CA"))
    if not any(environ.get(name) for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")):
        what = "neither it nor NODE_EXTRA_CA_CERTS is set: few programs will trust the proxy"
        found.append(Finding(about="SSL_CERT_FILE", level="bad", what=what, to_do=_SET_UP))
    return found


def _trust_problem(path: Path, ca: Path, *, replaces: bool) -> str:
    try:
        trusted, ours = _certificates_in(path), _certificates_in(ca)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if not ours <= trusted:
        return f"{path} does not hold the proxy's CA"
    if replaces and trusted == ours:
        return f"holds the proxy's CA alone, so that no other host is trusted; use {bundle_path()}"
    return ""


def _certificates_in(path: Path) -> set[bytes]:
    """Return the certificates of a PEM file, unparsed: among a system's, some are odd."""
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_bytes(), re.DOTALL)
    return {b"".join(block.split()) for block in blocks}


def tool_servers(settings: Settings, seconds: float = SERVERS_S) -> list[Finding]:
    """Connect to the MCP servers, and count their tools."""
    if not settings.mcp_servers:
        return []
    from aibridge_addon.tools.server import ServerStatus
    from aibridge_addon.tools.servers import ToolServers

    async def look() -> tuple[ServerStatus, ...]:
        servers = ToolServers(settings.mcp_servers, connect_timeout=seconds)
        servers.start()
        try:
            await servers.ready(seconds + 1)
            return servers.status()
        finally:
            await servers.stop()

    found = []
    for status in asyncio.run(look()):
        about = f"MCP {status.name}"
        if status.state == "up":
            level: Level = "ok" if status.tools else "note"
            todo = "" if status.tools else "look at its allow and deny"
            what = f"{status.url}: {_count(status.tools, 'tool')}"
            found.append(Finding(about=about, level=level, what=what, to_do=todo))
        else:
            what = f"{status.url}: {status.last_error or status.state}"
            todo = "start it, or mend its entry in the config"
            found.append(Finding(about=about, level="bad", what=what, to_do=todo))
    return found


def providers(settings: Settings, trusted: str | None = None) -> list[Finding]:
    """Connect to each provider's base URL, all at once; `trusted` is a bundle of the user's own."""

    def look(provider: Provider) -> Finding:
        return reach(provider, trusted)

    return _at_once(look, settings.providers)


def _at_once[T](look: Callable[[T], Finding], things: Iterable[T]) -> list[Finding]:
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(look, things))


def reach(provider: Provider, trusted: str | None = None) -> Finding:
    """Connect to a provider's base URL, by TCP and TLS."""
    about, where = provider.name, f"{provider.host}, port {provider.port}"
    try:
        address = (provider.host, provider.port)
        with socket.create_connection(address, NETWORK_S) as connection:
            if provider.scheme == "https":
                context = ssl.create_default_context(cafile=trusted or certifi.where())
                context.wrap_socket(connection, server_hostname=provider.host).close()
    except ssl.SSLCertVerificationError as error:
        todo = "if something between decrypts it: --set ssl_verify_upstream_trusted_ca=FILE"
        what = f"{where}: its certificate is not trusted: {error.verify_message}"
        return Finding(about=about, level="bad", what=what, to_do=todo)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        todo = "look at the network, the name and base_url"
        return Finding(about=about, level="bad", what=f"{where}: {reason}", to_do=todo)
    return Finding(about=about, level="ok", what=f"{where} can be reached")


def keys(settings: Settings, environ: Mapping[str, str], trusted: str | None) -> list[Finding]:
    """Ask each provider whose key is here for its models, by the official SDKs."""

    def look(provider: Provider) -> Finding:
        return _try_key(provider, environ[provider.api_key_env or ""].strip(), trusted)

    with_key = [
        provider
        for provider in settings.providers
        if provider.api_key_env and environ.get(provider.api_key_env, "").strip()
    ]
    if not with_key:
        names = ", ".join(p.api_key_env for p in settings.providers if p.api_key_env)
        what = f"none is set, of {names}"
        return [Finding(about="keys", level="note", what=what, to_do="set the one to be tried")]
    return _at_once(look, with_key)


def _try_key(provider: Provider, key: str, trusted: str | None) -> Finding:
    import anthropic
    import httpx2
    import openai

    about = f"key of {provider.name}"
    context = ssl.create_default_context(cafile=trusted or certifi.where())
    make: Any = anthropic.Anthropic if provider.type == "anthropic" else openai.OpenAI
    with httpx2.Client(verify=context, timeout=NETWORK_S, trust_env=False) as http:
        client = make(api_key=key, base_url=provider.base_url, max_retries=0, http_client=http)
        try:
            models = client.models.list().data
        except (anthropic.APIStatusError, openai.APIStatusError) as error:
            # Not the message: some providers repeat the key in it.
            what = f"{provider.api_key_env} is refused: HTTP {error.status_code}"
            todo = "get a valid key" if error.status_code in (401, 403) else "try again later"
            return Finding(about=about, level="bad", what=what, to_do=todo)
        except (anthropic.APIError, openai.APIError) as error:
            what = f"{provider.api_key_env} cannot be tried: {type(error).__name__}"
            todo = f"see above: {provider.name}"
            return Finding(about=about, level="bad", what=what, to_do=todo)
    return Finding(
        about=about, level="ok", what=f"{provider.api_key_env}: {_count(len(models), 'model')}"
    )
