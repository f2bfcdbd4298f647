"""Checks the connections to the providers."""

import socket
import ssl
from collections.abc import Iterable

import certifi

from aibridge_addon.cli.checks.concurrency import at_once
from aibridge_addon.cli.checks.installation import NETWORK_S, Installation
from aibridge_addon.findings import Finding
from aibridge_addon.providers.instance import Provider


def check_providers(installation: Installation) -> Iterable[Finding]:
    """Connect to the base URL of each provider instance."""
    trusted = installation.trusted
    providers = [
        provider
        for provider in installation.settings.providers
        if provider.base_url and not provider.is_optional
    ]
    return at_once(lambda provider: connect(provider, trusted), providers)


def connect(provider: Provider, trusted: str | None = None) -> Finding:
    """Connect to a provider's base URL with TCP and TLS; `trusted` is a bundle of CAs."""
    about, address = provider.name, f"{provider.host}, port {provider.port}"
    try:
        with socket.create_connection((provider.host, provider.port), NETWORK_S) as connection:
            if provider.scheme == "https":
                context = ssl.create_default_context(cafile=trusted or certifi.where())
                context.wrap_socket(connection, server_hostname=provider.host).close()
    except ssl.SSLCertVerificationError as error:
        what = f"{address}: its certificate is not trusted: {error.verify_message}"
        to_do = "if a gateway decrypts the connection: --set ssl_verify_upstream_trusted_ca=FILE"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    except OSError as error:
        what = f"{address}: {error.strerror or str(error) or type(error).__name__}"
        to_do = "check the network, and the provider's base_url"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    return Finding(about=about, level="ok", what=f"{address} can be reached")
