"""Tokens that an issuer has signed are accepted, and everything that looks like one is not."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from access.jwt.signing import KEYS, PRIVATE, claims, issuer, public_key, token
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from aibridge_addon.access.jwt.issuer import JWTIdentity, JWTIssuer
from aibridge_addon.access.jwt.key_set import JWKSError, PublishedKeys
from aibridge_addon.access.jwt.verifier import JWTVerifier
from aibridge_addon.access.tokens import TokenError
from aibridge_addon.providers.identity import Actor


def verify(text: str, keys: list[Any] | None = None, of: JWTIssuer | None = None) -> JWTIdentity:
    """Verify a token, given the keys that the issuer publishes."""

    async def fetch(url: str) -> PublishedKeys:
        return PublishedKeys(tuple(KEYS if keys is None else keys), None)

    async def run() -> JWTIdentity:
        verifier = JWTVerifier(fetch)
        verifier.apply([of or issuer()])
        try:
            return await verifier.verify(text)
        finally:
            verifier.close()

    return asyncio.run(run())


def refusal(text: str, keys: list[Any] | None = None, of: JWTIssuer | None = None) -> str:
    """Return the message of a refused token."""
    with pytest.raises(TokenError) as caught:
        verify(text, keys, of)
    return str(caught.value)


def raw(header: object, payload: object, signature: bytes = b"x") -> str:
    """Return a token that is not signed by a library."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_token_that_the_issuer_signed_names_its_actor(algorithm: str) -> None:
    identity = verify(token(algorithm))
    assert identity.actor == Actor(id="alice")
    assert time.time() < identity.expires_at <= time.time() + 600


def test_unsigned_token_is_refused() -> None:
    for name in ("none", "None", "NONE", "", None):
        assert "algorithm is not allowed" in refusal(raw({"alg": name, "kid": "RSA"}, claims()))
    assert "algorithm is not allowed" in refusal(raw({"kid": "RSA"}, claims()))


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.PKCS1),
    ],
)
def test_token_signed_with_the_public_key_as_a_shared_secret_is_refused(
    encoding: serialization.Encoding, form: serialization.PublicFormat
) -> None:
    secret = PRIVATE["RSA"].public_key().public_bytes(encoding, form)
    unsigned = raw({"alg": "HS256", "kid": "RSA"}, claims()).rpartition(".")[0]
    digest = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    forged = f"{unsigned}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    assert "algorithm is not allowed" in refusal(forged)


def test_key_is_used_with_its_own_algorithm_only() -> None:
    keys = [public_key("RSA", alg="RS256"), public_key("EC")]
    assert verify(token("RS256"), keys)
    assert "algorithm is not allowed" in refusal(token("PS256"), keys)
    assert "is wrong" in refusal(token("RS256", kid="EC"), keys)
    assert "is wrong" in refusal(token("ES256", kid="RSA"), [public_key("RSA")])


def test_algorithm_that_the_configuration_leaves_out_is_refused() -> None:
    assert "algorithm is not allowed" in refusal(token("RS256"), of=issuer(algorithms=("ES256",)))


def test_token_of_another_key_is_refused() -> None:
    other = rsa.generate_private_key(65537, 2048)
    assert "signature is wrong" in refusal(token(key=other))


def test_key_that_is_named_or_sent_by_the_token_is_ignored() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    sent = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(other.public_key()))
    headers = {
        "kid": "EC",
        "jwk": sent,
        "jku": "https://evil.example.com/keys",
        "x5u": "https://evil.example.com/certificate",
    }
    assert "signature is wrong" in refusal(jwt.encode(claims(), other, "ES256", headers))


def test_short_key_is_refused() -> None:
    short = rsa.generate_private_key(65537, 1024)
    key = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(short.public_key()))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        text = token(key=short)
    assert "is wrong" in refusal(text, [key | {"kid": "RSA"}])


def test_critical_extension_that_nobody_understands_is_refused() -> None:
    headers = {"kid": "RSA", "crit": ["exp2"], "exp2": 1}
    assert "is broken" in refusal(jwt.encode(claims(), PRIVATE["RSA"], "RS256", headers))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": None}, "needs the claims"),
        ({"aud": "other"}, "audience is somebody else"),
        ({"aud": []}, "wrong|needs"),
        ({"aud": ["other", 5]}, "audience|wrong"),
        ({"iss": "https://login.example.com/"}, "issuer is not configured"),
        ({"iss": None}, "issuer is not configured"),
        ({"exp": None}, "needs the claims"),
        ({"exp": 1_000_000_000}, "has expired"),
        ({"exp": "9999999999"}, "exp is not a number"),
        ({"exp": [1]}, "wrong"),
        ({"nbf": 9_999_999_999}, "not valid yet"),
        ({"iat": 9_999_999_999}, "not valid yet"),
        ({"sub": None}, "names no actor"),
        ({"sub": ""}, "names no actor"),
        ({"sub": 5}, "names no actor"),
        ({"sub": "a" * 257}, "names no actor"),
        ({"sub": "anonymous"}, "not the name of an actor"),
        ({"sub": "alice\r\nX-Evil: 1"}, "not the name of an actor"),
        ({"sub": "\x1b[2J"}, "not the name of an actor"),
        ({"sub": ["alice"]}, "names no actor"),
        ({"sub": {"name": "alice"}}, "names no actor"),
        ({"sub": True}, "names no actor"),
        ({"sub": " \t "}, "names no actor"),
        ({"sub": "bob\N{RIGHT-TO-LEFT OVERRIDE}ecila"}, "not the name of an actor"),
        ({"sub": "alice\N{ZERO WIDTH SPACE}"}, "not the name of an actor"),
        ({"sub": "alice\0"}, "not the name of an actor"),
        ({"sub": "\ud800"}, "not the name of an actor"),
        ({"exp": float("nan")}, "wrong"),
        ({"exp": float("inf")}, "wrong"),
        ({"exp": True}, "has expired"),
        ({"iat": "soon"}, "wrong"),
        ({"nbf": [1]}, "wrong"),
    ],
)
def test_token_with_a_wrong_claim_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenError, match=reason):
        verify(token(**changes))


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b"", b',"sub":"bob"'),
        (b"", b',"aud":"aibridge"'),
        (b"", b',"realm_access":{"groups":["g-1"],"groups":["g-2"]}'),
        (b',"alg":"RS256"', b""),
    ],
)
def test_token_with_two_members_of_one_name_is_refused(header: bytes, payload: bytes) -> None:
    """Whoever signs them, and whoever reads them before us, may mean the other one."""
    head = b'{"alg":"RS256","kid":"RSA"' + header + b"}"
    body = json.dumps(claims()).encode().removesuffix(b"}") + payload + b"}"
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, body))
    signature = jwt.get_algorithm_by_name("RS256").sign(signed, PRIVATE["RSA"])
    text = signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
    assert "two members of one name" in refusal(text.decode())


def test_clocks_may_differ_by_a_minute_before_a_token_begins() -> None:
    soon = int(time.time()) + 50
    assert verify(token(nbf=soon, iat=soon))


def test_end_of_a_token_may_be_any_number() -> None:
    assert verify(token(exp=10**400)).expires_at == 1e12
    assert verify(token(aud=["other", "aibridge"], exp=time.time() + 9.5))


def test_token_without_a_key_id_needs_a_set_of_one_key() -> None:
    text = jwt.encode(claims(), PRIVATE["RSA"], "RS256")
    assert verify(text, [public_key("RSA")])
    assert "key is not known" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "eyJ",
        "eyJ.eyJ.eyJ",
        "eyJhbGciOiJSUzI1NiJ9..",
        raw({"alg": "RS256", "kid": ["RSA"]}, claims()),
        raw({"alg": ["RS256"], "kid": "RSA"}, claims()),
        raw({"alg": "RS256", "kid": "RSA"}, [1]),
        raw({"alg": "RS256", "kid": "RSA", "b64": False, "crit": ["b64"]}, claims()),
        raw([], claims()),
        raw({"alg": "RS256", "kid": "RSA"}, claims(iss=["https://login.example.com"])),
        "eyJ" + "W" * 300_000,
        raw({"alg": "RS256", "kid": "RSA"}, claims(pad="x" * 20_000)),
    ],
)
def test_broken_token_is_refused(text: str) -> None:
    refusal(text)


def test_deeply_nested_token_is_refused_at_once() -> None:
    nested = base64.urlsafe_b64encode(b"[" * 11_000).decode()
    assert "broken" in refusal(f"eyJ{nested}.eyJ.x")


def test_without_keys_the_refusal_says_when_to_try_again() -> None:
    async def fail(url: str) -> PublishedKeys:
        raise JWKSError("no route")

    async def run() -> None:
        verifier = JWTVerifier(fail)
        verifier.apply([issuer()])
        await verifier.verify(token())

    with pytest.raises(TokenError) as caught:
        asyncio.run(run())
    assert (caught.value.status, caught.value.reason) == (503, "jwt_keys_unavailable")
    assert 1 <= (caught.value.retry_after or 0) <= 30


def test_identity_ends_with_its_token_and_with_its_issuer() -> None:
    async def fetch(url: str) -> PublishedKeys:
        return PublishedKeys(tuple(KEYS), None)

    async def run() -> None:
        verifier = JWTVerifier(fetch)
        verifier.apply([issuer()])
        identity = await verifier.verify(token())
        verifier.check(identity)
        past = JWTIdentity(issuer=identity.issuer, actor=identity.actor, expires_at=time.time())
        with pytest.raises(TokenError, match="has expired"):
            verifier.check(past)
        verifier.apply([])
        with pytest.raises(TokenError, match="not configured"):
            verifier.check(identity)

    asyncio.run(run())


def actor(**changes: Any) -> Actor:
    """Return the actor of claims, read as an organisation would configure it."""
    by_email = issuer(
        actor_claim="email",
        teams_claim="realm_access.groups",
        teams={"g-1": "search", "g-2": "ads", "g-3": "search"},
    )
    return by_email.actor(claims(email="alice@example.com", **changes))


def test_teams_come_from_the_map_only() -> None:
    groups = ["g-1", "unknown", "g-3", 7, None, {"g-2": 1}, "g-2", "search"]
    assert actor(realm_access={"groups": groups}).teams == ("search", "ads")
    assert actor(realm_access={"groups": "g-2"}).teams == ("ads",)
    assert actor(**{"realm_access.groups": ["g-1"]}).teams == ("search",)
    many = [f"other-{number}" for number in range(5_000)]
    assert actor(realm_access={"groups": [*many, "g-2"]}).teams == ("ads",)
    for given in ({"g-1": 1}, [["g-1"]], "", 5, True, []):
        assert actor(realm_access={"groups": given}).teams == ()
    for odd in ("g-1", ["g-1"], None, 5):
        assert actor(realm_access=odd).metadata == {}


def test_email_that_is_not_verified_names_nobody() -> None:
    assert actor(email_verified=True).id == actor(email_verified="true").id == "alice@example.com"
    for value in (False, "false", 0):
        with pytest.raises(TokenError, match="not verified"):
            actor(email_verified=value)
