"""Credentials of clients: the headers that hold them, and how they are masked. Pure.

Only `Credential.secret` holds a secret. Header names are in lower case.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aibridge_addon.facts import CredentialKind
from aibridge_addon.providers.protocol_keys import PROTOCOL_HEADER, protocol_key
from aibridge_addon.providers.query_keys import keys_in

type Headers = Mapping[str, str]
"""Header values by name in lower case."""

CREDENTIAL_HEADERS = ["x-api-key", "authorization", "api-key", "x-goog-api-key"]
"""Headers for a client's own key, in the order of search. Provider types add theirs."""

PLACEHOLDER_KEY = "aibridge"
"""Key that a client is configured with if it must have one, but the central key is to be used."""

TOKEN_HEADER = "x-aibridge-token"  # noqa: S105 a name
"""Header for an access token beside a key of the client's own."""

CREDENTIAL_FIELDS = {name.encode() for name in CREDENTIAL_HEADERS}
"""Names of credential headers, as on the wire but in lower case."""

SECRET_FIELDS = CREDENTIAL_FIELDS | {
    TOKEN_HEADER.encode(),
    *(b"proxy-authorization", b"cookie", b"x-amz-security-token"),
    *(b"cf-aig-authorization", b"helicone-auth", b"x-portkey-api-key", b"x-litellm-api-key"),
    *(b"ocp-apim-subscription-key", b"x-goog-iam-authorization-token", b"x-auth-token"),
}
"""Names of headers whose values only the provider may see."""


def add_credential_header(name: str) -> None:
    """Treat a header as one that holds a client's key."""
    if name not in CREDENTIAL_HEADERS:
        CREDENTIAL_HEADERS.append(name)
    CREDENTIAL_FIELDS.add(name.encode())
    SECRET_FIELDS.add(name.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A key or token, and its masked and hashed forms."""

    kind: CredentialKind
    secret: str = field(repr=False)

    @property
    def hint(self) -> str:
        """The secret, masked."""
        return mask(self.secret)

    @property
    def fingerprint(self) -> str:
        """Hash of the secret, by which an entry of `[[actors]]` names it."""
        return "sha256:" + hashlib.sha256(self.secret.encode()).hexdigest()


def own_credential(headers: Headers, path: str = "") -> Credential | None:
    """Return the client's own credential, in a header or in the query; None if it sends none."""
    sent = (headers[name] for name in CREDENTIAL_HEADERS if name in headers)
    in_headers = map(without_scheme, sent)
    in_protocol = protocol_key(headers.get(PROTOCOL_HEADER, ""))
    if secret := next(filter(None, (*in_headers, in_protocol, *keys_in(path))), None):
        return Credential(kind=_own_kind(secret, headers), secret=secret)
    return None


UNUSABLE = Credential(kind="byok", secret=PLACEHOLDER_KEY)
"""Stands for a credential of the client that cannot be passed on."""
OPERATOR = Credential(kind="centralized", secret="AWS credentials")  # noqa: S106 a description
"""Stands for the operator's credentials of AWS, by which requests are signed."""

_SUBSCRIPTION_PREFIXES = ("sk-ant-oat", "tid=")
"""Beginnings of the tokens of Claude's and GitHub Copilot's logins."""
_LOGIN_HEADERS = ("chatgpt-account-id", "copilot-integration-id")
"""Headers that Codex sends with a ChatGPT login and not with an API key, and that GitHub Copilot
sends with its login."""


def _own_kind(secret: str, headers: Headers) -> CredentialKind:
    is_login = secret.startswith(_SUBSCRIPTION_PREFIXES) or any(
        name in headers for name in _LOGIN_HEADERS
    )
    return "subscription" if is_login else "byok"


_SIGNED_BY = re.compile(r"AWS4-\S+\s.*?Credential=([^/,\s]+)", re.IGNORECASE)


def without_scheme(value: str) -> str:
    """Return the secret of a header value, without the scheme `Bearer`.

    A signature of AWS differs in each request, so that its access key id stands for the client.
    """
    value = value.strip()
    if signed := _SIGNED_BY.match(value):
        return signed[1]
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else value


def login_of(value: str) -> tuple[str, str] | None:
    """Return user and password of a `Basic` header value (RFC 7617); None if it is another."""
    scheme, _, encoded = value.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None


def mask(secret: str) -> str:
    """Return a hint at a secret: a few characters of each end, fewer for a shorter secret."""
    length = len(secret)
    shown = 4 if length >= 20 else 2 if length >= 10 else 1 if length >= 5 else 0
    return f"{secret[:shown]}...{secret[length - shown :]}"
