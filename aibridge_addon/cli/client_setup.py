"""Computes the variables and arguments that make a client program use the proxy. Pure.

Most programs honour `HTTPS_PROXY` and a CA variable, and programs start other programs (an agent
runs git, curl and Python), so these are always set together. The differences between programs are
in the table `providers.clients`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aibridge_addon.providers.clients import CLIENTS, ClientProgram
from aibridge_addon.providers.hosts import matches_host, may_be_below

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Hosts that bypass every proxy; the base URLs of the reverse proxy are among them."""

ADDING = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables whose certificates are trusted in addition to the usual ones: the CA is enough."""

_REPLACING = (
    "SSL_CERT_FILE",  # OpenSSL, Go, Rust; the Python SDKs
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
)


def replacing_variables() -> tuple[str, ...]:
    """Return the variables whose certificates replace the usual ones: they get the joined bundle.

    A plugin may have added a client program with variables of its own.
    """
    return (*_REPLACING, *(name for client in CLIENTS for name in client.ca_variables))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Everything that a client needs to know about the proxy."""

    forward_url: str | None
    reverse_url: str | None
    ca: Path
    bundle: Path
    adding: Path
    """Value for the variables in `ADDING`: the CA, or the bundle if they had certificates."""
    token: str = ""
    """Access token; empty if the user has none."""
    hosts: tuple[str, ...] = ()
    """Hosts of the provider instances."""
    plain_hosts: tuple[str, ...] = ()
    """Hosts among them that are reached without TLS."""
    codex: str = "openai"
    """Provider instance that accepts the login of Codex."""

    def base_urls(self) -> dict[str, str]:
        """Return the values of the placeholders in `ClientProgram.base_urls`."""
        assert self.reverse_url
        return {
            "anthropic": f"{self.reverse_url}/anthropic",
            "openai": f"{self.reverse_url}/openai/v1",
            "codex": f"{self.reverse_url}/{self.codex}/v1",
            "ollama": f"{self.reverse_url}/ollama",
            "bedrock": f"{self.reverse_url}/bedrock",
            "gemini": f"{self.reverse_url}/gemini",
            "code_assist": f"{self.reverse_url}/code-assist",
            "vertex": f"{self.reverse_url}/vertex",
        }


class SetupError(ValueError):
    """The client program, or the proxy, does not support the requested kind of connection."""


def variables(
    client: ClientProgram,
    connection: ConnectionSettings,
    environ: Mapping[str, str],
    *,
    reverse: bool = False,
) -> dict[str, str]:
    """Return the environment variables that make a client use the proxy.

    `environ` is the current environment: keys, certificates and base URLs in it are respected.
    `reverse` asks for base URLs of the reverse proxy in place of the forward proxy.

    Raises:
        SetupError: the client, or the proxy, does not support that.
    """
    if not reverse and connection.forward_url is None:
        raise SetupError("this proxy has no forward proxy; use --reverse")
    if reverse:
        found = _reverse(client, connection, environ)
    else:
        found = _forward(connection)
        if client.needs_base_url and connection.reverse_url:
            found |= _base_urls_of_known_hosts(client, connection, environ)
            found |= _key_variables(client, connection, environ)
    return found | _both_cases("NO_PROXY", _no_proxy(connection, environ))


def arguments(client: ClientProgram, connection: ConnectionSettings, *, reverse: bool) -> list[str]:
    """Return the arguments to insert after the program's name."""
    if not reverse or connection.reverse_url is None:
        return []
    return [_fill(argument, connection) for argument in client.arguments]


def _forward(connection: ConnectionSettings) -> dict[str, str]:
    assert connection.forward_url
    found = _both_cases("HTTPS_PROXY", connection.forward_url)
    if any(host not in LOCAL_HOSTS for host in connection.plain_hosts):
        # Only then: plain HTTP to other hosts would pass through the proxy for nothing.
        found |= _both_cases("HTTP_PROXY", connection.forward_url)
    # Node honours HTTPS_PROXY only with this variable, and many programs start Node.
    found["NODE_USE_ENV_PROXY"] = "1"
    found |= dict.fromkeys(ADDING, str(connection.adding))
    return found | dict.fromkeys(replacing_variables(), str(connection.bundle))


def _reverse(
    client: ClientProgram, connection: ConnectionSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    if connection.reverse_url is None:
        raise SetupError("this proxy has no reverse proxy; leave --reverse out")
    if not client.can_use_reverse_proxy:
        raise SetupError(f"{client.command} cannot be given a base URL; leave --reverse out")
    found = _filled(client.base_urls, connection) | dict(client.other_variables)
    found |= _key_variables(client, connection, environ)
    name = client.config_variable
    if name and environ.get(name, found[name]) != found[name]:
        raise SetupError(f"{name} is already set, and its value would be lost; leave --reverse out")
    return found


_ANTHROPIC_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_GOOGLE_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_ANTHROPIC_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"


def _key_variables(
    client: ClientProgram, connection: ConnectionSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return variables that present an access token: as the key, or in a header beside a key."""
    if not connection.token:
        return {}
    known = (*client.keys, *_ANTHROPIC_KEYS, *_GOOGLE_KEYS)
    own = {name for name in known if environ.get(name)}
    found = {
        name: connection.token
        for name in client.keys
        if name not in own and not own & {*_alternatives(name)}
    }
    if own & {*_ANTHROPIC_KEYS}:
        before = environ.get(_ANTHROPIC_HEADERS, "")
        header = f"X-AIBridge-Token: {connection.token}"
        found[_ANTHROPIC_HEADERS] = "\n".join(filter(None, (before, header)))
    return found


def _alternatives(name: str) -> tuple[str, ...]:
    """Return the key variables that serve the same purpose as a variable, itself included."""
    groups = (keys for keys in (_ANTHROPIC_KEYS, _GOOGLE_KEYS) if name in keys)
    return next(groups, (name,))


def _base_urls_of_known_hosts(
    client: ClientProgram, connection: ConnectionSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the base URLs, except where the environment has one for a host that is not ours.

    The user did not ask for base URLs here, and the key for such a host must not go to another.
    """
    urls = _filled(client.base_urls, connection)
    return {name: url for name, url in urls.items() if _may_replace(environ.get(name), connection)}


def _may_replace(url: str | None, connection: ConnectionSettings) -> bool:
    """Return True if a base URL is empty, or for a host of a provider instance."""
    try:
        host = urlsplit(url or "").hostname or ""
        return not url or any(matches_host(known, host) for known in connection.hosts)
    except ValueError:
        return False


def _filled(templates: Mapping[str, str], connection: ConnectionSettings) -> dict[str, str]:
    return {name: _fill(template, connection) for name, template in templates.items()}


def _fill(template: str, connection: ConnectionSettings) -> str:
    for name, url in connection.base_urls().items():
        template = template.replace("{" + name + "}", url)
    return template


def _both_cases(name: str, value: str) -> dict[str, str]:
    # Some programs read the upper-case name, some the lower-case one; of both, most prefer the
    # lower-case one.
    return {name: value, name.lower(): value}


def _no_proxy(connection: ConnectionSettings, environ: Mapping[str, str]) -> str:
    """Return the current `NO_PROXY` without the entries that cover providers, plus local hosts."""
    before = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    entries = [entry.strip() for entry in before.split(",") if entry.strip()]
    harmless = [
        entry for entry in entries if not any(covers(entry, host) for host in connection.hosts)
    ]
    return ",".join(dict.fromkeys((*LOCAL_HOSTS, *harmless)))


def covers(entry: str, host: str) -> bool:
    """Return True if an entry of `NO_PROXY` makes requests to a host bypass the proxy.

    A pattern is covered if some host that matches it is.
    """
    if entry == "*":
        return True
    entry = entry.lower().split(":")[0].removeprefix("*").removeprefix(".")
    return bool(entry) and host not in LOCAL_HOSTS and may_be_below(host, entry)
