"""Signatures of AWS (version 4), computed anew from the bytes of a request that arrived."""

import hashlib
import hmac
from urllib.parse import quote

from standin import Request

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION = "c2Vzc2lvbiBvZiBhIHJvbGU="
REGION = "us-east-1"


def signature_of(request: Request, secret: str = SECRET) -> str:
    """Return the signature of a request, as AWS computes it."""
    fields = _fields(request)
    _, *scope = fields["Credential"].split("/")
    names = fields["SignedHeaders"].split(";")
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        [
            request.method,
            quote(path, safe="/~-._"),  # a second time: AWS decodes nothing before
            "&".join(sorted(query.split("&"))),
            *(f"{name}:{_value(request, name)}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    date = request.header("x-amz-date") or ""
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope), digest])
    return hmac.digest(key, text.encode(), "sha256").hex()


def assert_signed(request: Request, secret: str = SECRET) -> None:
    """Check that a request arrived with every byte that was signed."""
    assert _fields(request)["Signature"] == signature_of(request, secret)


def signed_headers(request: Request) -> list[str]:
    """Return the names of the headers that the signature covers."""
    return _fields(request)["SignedHeaders"].split(";")


def key_id_of(request: Request) -> str:
    """Return the id of the access key that signed a request."""
    return _fields(request)["Credential"].partition("/")[0]


def _fields(request: Request) -> dict[str, str]:
    _, _, rest = (request.header("authorization") or "").partition(" ")
    return dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)


def _value(request: Request, name: str) -> str:
    values = [value for key, value in request.headers if key.lower() == name]
    if name == "host" and not values:
        values = [request.authority or ""]
    return ",".join(" ".join(value.split()) for value in values)
