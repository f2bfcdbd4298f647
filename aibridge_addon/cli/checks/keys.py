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
from aibridge_addon.providers.instance import Provider


class _RefusedError(Exception):
    """The provider responded with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


def check_keys(installation: Installation) -> Iterable[Finding]:
    """Ask each provider whose key is in the environment for its models."""
    environ = installation.environ
    providers = [provider for provider in installation.settings.providers if provider.base_url]
    keys = {
        provider.name: environ.get(provider.api_key_env, "").strip()
        for provider in providers
        if provider.api_key_env
    }
    if not any(keys.values()):
        usual = [provider for provider in providers if not provider.is_optional]
        names = ", ".join(provider.api_key_env for provider in usual if provider.api_key_env)
        to_do = "set the variable of the key to check"
        return [Finding(about="keys", level="note", what=f"no key is set in {names}", to_do=to_do)]
    return at_once(
        lambda provider: _check(provider, keys[provider.name], installation.trusted),
        [provider for provider in providers if keys.get(provider.name)],
    )


def _check(provider: Provider, key: str, trusted: str | None) -> Finding:
    about = f"key of {provider.name}"
    try:
        number = _count_models(provider, key, trusted)
    except _RefusedError as error:
        # Without the message of the provider: some repeat the key in it.
        what = f"{provider.api_key_env} is refused: HTTP {error.status}"
        to_do = "get a valid key" if error.status in (401, 403) else "try again later"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        what = f"{provider.api_key_env} cannot be checked: {type(error).__name__}"
        to_do = f"see `{provider.name}` above"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    what = f"{provider.api_key_env}: {count(number, 'model')}"
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
