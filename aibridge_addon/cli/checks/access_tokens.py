"""Checks that clients have the access tokens that the proxy requires."""

from collections.abc import Iterator, Mapping

from aibridge_addon.access.tokens import AccessToken, TokenError, authenticate, is_valid
from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.checks.wording import count
from aibridge_addon.cli.connection import token_of_login
from aibridge_addon.findings import Finding
from aibridge_addon.store import open_store
from aibridge_addon.store.errors import StoreError

_CREATE = "create another: aibridge token create ACTOR"


def check_access_tokens(installation: Installation) -> Iterator[Finding]:
    """Check the access tokens of the proxy, and the access token of this shell."""
    proxy, settings = installation.proxy, installation.settings
    location = (proxy and proxy.tokens_in) or settings.database
    rule = proxy.token_rule if proxy else settings.token_rule
    try:
        known = open_store(location).access_tokens()
    except StoreError as error:
        to_do = "see `database` above"
        yield Finding(about="access tokens", level="bad", what=str(error), to_do=to_do)
        return
    required = rule == "always" or (rule == "auto" and bool(known))
    valid = sum(map(is_valid, known.values()))
    what = f"{'' if required else 'not '}required; {count(valid, 'valid access token')}"
    if required and not valid:
        what = f"{what}: no client can use the proxy"
        to_do = "create one: aibridge token create ACTOR"
        yield Finding(about="access tokens", level="bad", what=what, to_do=to_do)
    else:
        yield Finding(about="access tokens", level="ok", what=what)
    if text := token_of_login(installation.environ.get("AIBRIDGE_LOGIN")):
        yield _token_of_this_shell(text, known)


def _token_of_this_shell(text: str, known: Mapping[str, AccessToken]) -> Finding:
    about = "AIBRIDGE_LOGIN"
    try:
        token = authenticate(text, known)
    except TokenError as error:
        return Finding(about=about, level="bad", what=str(error), to_do=_CREATE)
    validity = f"valid until {token.expires_at[:16]} UTC" if token.expires_at else "never expires"
    what = f"access token {token.id} of {token.initiator_id}, {validity}"
    return Finding(about=about, level="ok", what=what)
