"""Values of the config file that are probably wrong, and secrets that do not belong there. Pure."""

import re
from urllib.parse import urlsplit

_KEY = re.compile(
    r"(bearer\s.*|"
    r"(sk|pk|rk|key|aib|gsk|xai|hf|nvapi|csk|pplx|fw|r8|gh[opsu]|github_pat)[-_][\w.-]{8,}|"
    r"AIza[\w-]{20,}|eyJ[\w-]{10,}\.[\w.-]+)",
    re.IGNORECASE | re.DOTALL,
)
"""Prefixes of provider keys, access tokens and JWTs."""
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_+/=-]{32,}")
_ROUTES = ("/chat/completions", "/responses", "/completions", "/messages", "/embeddings")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def looks_like_secret(text: str) -> bool:
    """Return True if a text is a key or token rather than a name."""
    text = text.strip()
    if _KEY.fullmatch(text):
        return True
    return _RANDOM.fullmatch(text) is not None and _UUID.fullmatch(text) is None


def doubt_of_base_url(provider_type: str, base_url: str) -> str | None:
    """Return a warning if a base URL ends in `/v1` against its provider type, or in a route."""
    path = urlsplit(base_url).path.rstrip("/")
    if route := next((route for route in _ROUTES if path.endswith(route)), None):
        return f"is {base_url!r}: it ends in a route; leave {route} out"
    if provider_type == "anthropic" and path.endswith("/v1"):
        return (
            f"is {base_url!r}: paths of the type anthropic start with /v1 already, so that"
            " requests go to /v1/v1/messages; leave /v1 out, unless the host requires it twice"
        )
    if provider_type == "openai" and not path:
        return (
            f"is {base_url!r}, without a path: requests go to /chat/completions; most hosts of the"
            " type openai want /v1 at the end"
        )
    return None
