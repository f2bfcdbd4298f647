"""Checks the providers' API keys by asking for lists of models, which costs nothing."""

import contextlib
import json
import ssl
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import certifi

from aibridge_addon.cli.checks.concurrency import at_once
from aibridge_addon.cli.checks.installation import NETWORK_S, Installation
from aibridge_addon.cli.checks.wording import count
from aibridge_addon.findings import Finding
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.instance import Provider


class _RefusedError(Exception):
    """The provider responded with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


def check_keys(installation: Installation) -> Iterable[Finding]:
    """Ask each provider for its models, with each of its keys that is in the environment."""
    environ = installation.environ
    pairs = [
        (provider, key)
        for provider in installation.settings.providers
        if provider.base_url
        for key in provider.central_keys
    ]
    present = [(provider, key) for provider, key in pairs if key.secret(environ)]
    if not present:
        names = ", ".join(key.env for provider, key in pairs if not provider.is_optional)
        to_do = "set the variable of the key to check"
        return [Finding(about="keys", level="note", what=f"no key is set in {names}", to_do=to_do)]
    missing = [
        _missing(provider, key)
        for provider, key in pairs
        if provider.keys and not key.secret(environ)
    ]
    checked = at_once(
        lambda pair: _check(*pair, pair[1].secret(environ), installation.trusted), present
    )
    return [*missing, *checked]


def _missing(provider: Provider, key: CentralKey) -> Finding:
    """Return the finding for a key of a pool that no request can use."""
    what, to_do = f"{key.env} is not set", f"set it, or remove it from the keys of {provider.name}"
    return Finding(about=f"key of {provider.name}", level="note", what=what, to_do=to_do)


def _check(provider: Provider, key: CentralKey, secret: str, trusted: str | None) -> Finding:
    about = f"key of {provider.name}"
    try:
        number = _count_models(provider, secret, trusted)
    except _RefusedError as error:
        # Without the message of the provider: some repeat the key in it.
        what = f"{key.env} is refused: HTTP {error.status}"
        to_do = "get a valid key" if error.status in (401, 403) else "try again later"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        what = f"{key.env} cannot be checked: {type(error).__name__}"
        to_do = f"see `{provider.name}` above"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    what = f"{key.env}: {count(number, 'model')}"
    return Finding(about=about, level="ok", what=what)


def _count_models(provider: Provider, key: str, trusted: str | None) -> int:
    """Ask a provider for its models; return their number.

    Raises:
        _RefusedError: the provider responded with an error.
        OSError, HTTPException: there was no response.
        ValueError, LookupError, TypeError: the response has no list of models.
    """
    with contextlib.closing(_connection(provider, trusted)) as connection:
        kind = provider.provider_type
        path = urlsplit(provider.base_url).path.rstrip("/") + kind.key_probe
        name, value = kind.authorization(key)
        headers = {**kind.key_probe_headers, name: value}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _RefusedError(response.status)
        return len(json.loads(response.read())["data"])


def _connection(provider: Provider, trusted: str | None) -> HTTPConnection:
    if provider.scheme == "http":
        return HTTPConnection(provider.host, provider.port, timeout=NETWORK_S)
    context = ssl.create_default_context(cafile=trusted or certifi.where())
    return HTTPSConnection(provider.host, provider.port, timeout=NETWORK_S, context=context)
