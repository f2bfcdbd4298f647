"""Checks the issuers of JWTs of the configuration."""

import asyncio
from collections.abc import Iterable

from aibridge_addon.access.jwt.issuer import JWTIssuer
from aibridge_addon.access.jwt.key_set import JWKSError
from aibridge_addon.cli.checks.concurrency import at_once
from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.checks.wording import count
from aibridge_addon.findings import Finding


def check_identity(installation: Installation) -> Iterable[Finding]:
    """Download the public keys of each issuer."""
    trusted = installation.trusted
    return at_once(lambda issuer: _keys_of(issuer, trusted), installation.settings.jwt_issuers)


def _keys_of(issuer: JWTIssuer, trusted: str | None) -> Finding:
    from aibridge_addon.access.jwt.download import Download

    about = f"JWT {issuer.issuer}"
    try:
        published = asyncio.run(Download(trusted)(issuer.jwks_url))
    except JWKSError as error:
        what = f"{issuer.jwks_url}: {error}"
        to_do = "check the network, and jwks_url of the entry in [[identity.jwt]]"
        return Finding(about=about, level="bad", what=what, to_do=to_do)
    what = f"{issuer.jwks_url}: {count(len(published.keys), 'public key')}"
    return Finding(about=about, level="ok", what=what)
