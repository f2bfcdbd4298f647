"""Which client program honours which variable, and what to set for it. Pure.

Nearly all of them take `HTTPS_PROXY` and a CA variable, and programs start others (an agent runs
git, curl and Python), so those are always set as a whole. What differs is the table's business.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""What no proxy should see: base URLs of ours among them."""

ADDING = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Variables whose certificates come on top of the usual ones: the CA alone is enough."""

REPLACING = (
    "SSL_CERT_FILE",  # OpenSSL, Go, Rust; the Python SDKs
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CODEX_CA_CERTIFICATE",
)
"""Variables whose certificates take the place of the usual ones: they get the joined bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client program."""

    name: str
    programs: str
    """A regular expression for the names of its programs."""
    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Variables for the reverse proxy; names in braces stand for base URLs, see `Way.base_urls`."""
    arguments: tuple[str, ...] = ()
    """Likewise, what goes behind the program's name, where variables will not do."""
    besides: Mapping[str, str] = field(default_factory=dict)
    """Other variables for the reverse proxy."""
    keys: tuple[str, ...] = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
    """Variables for its keys, which an access token may stand in for at the reverse proxy."""
    needs_base_url: bool = False
    """Whether it may go past a forward proxy, so that it is better given both."""

    unread_api: str = ""
    """The API that it speaks, if the proxy relays that without recording it."""

    @property
    def can_reverse(self) -> bool:
        """Whether it can be sent to a base URL from outside."""
        return bool(self.base_urls or self.arguments)


_ANTHROPIC = {"ANTHROPIC_BASE_URL": "{anthropic}"}
_OPENAI = {"OPENAI_BASE_URL": "{openai}"}
_OPENCODE = {
    "provider": {
        "anthropic": {"options": {"baseURL": "{anthropic}/v1"}},
        "openai": {"options": {"baseURL": "{openai}"}},
    }
}

CLIENTS = (
    Client(
        name="claude",
        programs="claude",
        base_urls=_ANTHROPIC,
        # Its side calls go straight to Anthropic otherwise.
        besides={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        keys=("ANTHROPIC_AUTH_TOKEN",),
    ),
    # It does not read OPENAI_BASE_URL.
    Client(
        name="codex",
        programs="codex",
        arguments=("-c", 'openai_base_url="{codex}"'),
        keys=("CODEX_API_KEY", "OPENAI_API_KEY"),
    ),
    Client(
        name="opencode",
        programs="opencode",
        base_urls={"OPENCODE_CONFIG_CONTENT": json.dumps(_OPENCODE)},
    ),
    Client(name="gemini", programs="gemini", unread_api="Google's Gemini API"),
    Client(name="qwen", programs="qwen", base_urls=_OPENAI),
    Client(name="llm", programs="llm", base_urls=_ANTHROPIC | _OPENAI),
    Client(
        name="aider",
        programs="aider",
        base_urls={"ANTHROPIC_API_BASE": "{anthropic}", "OPENAI_API_BASE": "{openai}"},
    ),
    Client(
        name="python",
        programs=r"python[\d.]*|uvx?|pipx|ipython|jupyter",
        base_urls=_ANTHROPIC | _OPENAI,
    ),
    Client(
        name="node",
        programs="node|npx|npm|pnpm|tsx|bun|bunx|deno|js",
        base_urls=_ANTHROPIC | _OPENAI,
        needs_base_url=True,  # Node knows no HTTPS_PROXY before version 22.21
    ),
    Client(name="curl", programs="curl"),
)

ANY = Client(
    name="any",
    programs="",
    base_urls=_ANTHROPIC
    | _OPENAI
    | {"ANTHROPIC_API_BASE": "{anthropic}", "OPENAI_API_BASE": "{openai}"},
)
"""What is set for a program that is not in the table."""


def client_of(program: str) -> Client:
    """Return the client that a program, by name or path, is."""
    name = re.sub(r"\.(exe|cmd)$", "", Path(program).name.lower())
    return next((client for client in CLIENTS if re.fullmatch(client.programs, name)), ANY)


def named(name: str | None) -> Client:
    """Return a client by the name that it has here."""
    name = "node" if name == "js" else name
    return next((client for client in CLIENTS if client.name == name), ANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How clients get to a proxy."""

    forward_url: str | None
    reverse_url: str | None
    ca: Path
    bundle: Path
    adding: Path
    """What variables that add are set to: the CA, or the bundle if they had something already."""
    token: str = ""
    """An access token, if that is how this user logs in."""
    hosts: tuple[str, ...] = ()
    plain_hosts: tuple[str, ...] = ()
    codex: str = "openai"
    """The provider instance that Codex's login is for."""

    def base_urls(self) -> dict[str, str]:
        """Return the base URLs of the providers that clients know, and that of Codex."""
        assert self.reverse_url
        return {
            "anthropic": f"{self.reverse_url}/anthropic",
            "openai": f"{self.reverse_url}/openai/v1",
            "codex": f"{self.reverse_url}/{self.codex}/v1",
        }


class NoWayError(ValueError):
    """A client cannot be led to the proxy in the way that is wanted."""


def variables(
    client: Client, way: Way, environ: Mapping[str, str], *, reverse: bool = False
) -> dict[str, str]:
    """Return the variables that lead a client to a proxy; what `environ` has is taken into account.

    Raises:
        NoWayError: the client, or the proxy, cannot do that.
    """
    if not reverse and way.forward_url is None:
        raise NoWayError("this proxy is no forward proxy; use --reverse")
    found = _reverse(client, way, environ) if reverse else _forward(way)
    if not reverse and client.needs_base_url and way.reverse_url:
        found |= _unless_elsewhere(client, way, environ) | _keys(client, way, environ)
    return found | _both_cases("NO_PROXY", _no_proxy(way, environ))


def arguments(client: Client, way: Way, *, reverse: bool) -> list[str]:
    """Return what must stand behind the program's name."""
    if not reverse or way.reverse_url is None:
        return []
    return [_fill(argument, way) for argument in client.arguments]


def _forward(way: Way) -> dict[str, str]:
    assert way.forward_url
    found = _both_cases("HTTPS_PROXY", way.forward_url)
    if any(host not in LOCAL_HOSTS for host in way.plain_hosts):
        # Else not: plain HTTP to other hosts would pass through us, and for nothing.
        found |= _both_cases("HTTP_PROXY", way.forward_url)
    # Node takes HTTPS_PROXY only if it is told to, and many a program starts one.
    found["NODE_USE_ENV_PROXY"] = "1"
    found |= dict.fromkeys(ADDING, str(way.adding))
    return found | dict.fromkeys(REPLACING, str(way.bundle))


def _reverse(client: Client, way: Way, environ: Mapping[str, str]) -> dict[str, str]:
    if way.reverse_url is None:
        raise NoWayError("this proxy is no reverse proxy; leave --reverse out")
    if not client.can_reverse:
        raise NoWayError(f"{client.name} cannot be given a base URL; leave --reverse out")
    found = _filled(client.base_urls, way) | dict(client.besides) | _keys(client, way, environ)
    content = "OPENCODE_CONFIG_CONTENT"
    if content in found and environ.get(content, found[content]) != found[content]:
        raise NoWayError(f"{content} is set already, and would be lost; leave --reverse out")
    return found


_ANTHROPIC_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_ANTHROPIC_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"


def _keys(client: Client, way: Way, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what shows an access token at the reverse proxy: a key, or a header beside a key."""
    if not way.token:
        return {}
    own = {name for name in (*client.keys, *_ANTHROPIC_KEYS) if environ.get(name)}
    found = {name: way.token for name in client.keys if not (name in own or own & {*_alike(name)})}
    if own & {*_ANTHROPIC_KEYS}:
        had = environ.get(_ANTHROPIC_HEADERS, "")
        found[_ANTHROPIC_HEADERS] = "\n".join(filter(None, (had, f"X-AIBridge-Token: {way.token}")))
    return found


def _alike(name: str) -> tuple[str, ...]:
    """Return the variables of which one is enough."""
    return _ANTHROPIC_KEYS if name in _ANTHROPIC_KEYS else (name,)


def _unless_elsewhere(client: Client, way: Way, environ: Mapping[str, str]) -> dict[str, str]:
    """Return base URLs, but for those that this shell points at a provider that is none of ours.

    Nobody asked for base URLs, and the key that goes with such a one must not go to another host.
    """
    urls = _filled(client.base_urls, way)
    return {name: url for name, url in urls.items() if _is_ours(environ.get(name), way)}


def _is_ours(url: str | None, way: Way) -> bool:
    """Whether a base URL is that of a provider which the proxy knows, or none at all."""
    try:
        return not url or urlsplit(url).hostname in way.hosts
    except ValueError:
        return False


def _filled(templates: Mapping[str, str], way: Way) -> dict[str, str]:
    return {name: _fill(template, way) for name, template in templates.items()}


def _fill(template: str, way: Way) -> str:
    for name, url in way.base_urls().items():
        template = template.replace("{" + name + "}", url)
    return template


def _both_cases(name: str, value: str) -> dict[str, str]:
    # Some programs read the one, some the other; of both, most take the lower case.
    return {name: value, name.lower(): value}


def _no_proxy(way: Way, environ: Mapping[str, str]) -> str:
    """Keep what goes past proxies in this shell, but for the providers."""
    had = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    entries = [entry.strip() for entry in had.split(",") if entry.strip()]
    kept = [entry for entry in entries if not any(covers(entry, host) for host in way.hosts)]
    return ",".join(dict.fromkeys((*LOCAL_HOSTS, *kept)))


def covers(entry: str, host: str) -> bool:
    """Whether an entry of `NO_PROXY` takes a host past the proxy."""
    if entry == "*":
        return True
    entry = entry.lower().split(":")[0].removeprefix("*").removeprefix(".")
    return bool(entry) and host not in LOCAL_HOSTS and f".{host}".endswith(f".{entry}")
