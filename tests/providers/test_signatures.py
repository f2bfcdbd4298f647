"""Signed requests are recognised in every place where a signature may stand."""

import pytest

from aibridge_addon.providers.credentials import own_credential
from aibridge_addon.providers.signatures import is_signed, signed_names

_PRESIGNED = "/model/x/invoke?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00ff"


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [
        ({"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=00"}, "/", True),
        ({"authorization": "aws4-ecdsa-p256-sha256 Credential=AKIA/x"}, "/", True),
        ({}, _PRESIGNED, True),
        ({}, _PRESIGNED.lower(), True),
        ({"authorization": "Bearer AWS4-HMAC-SHA256"}, "/", False),
        ({}, "/x-amz-signature=1?y=x-amz-signature", False),
        ({}, "/", False),
    ],
)
def test_signed_request_is_recognised(headers: dict[str, str], path: str, expected: bool) -> None:
    assert is_signed(headers, path) is expected


def test_headers_that_a_signature_covers_are_named_in_lower_case() -> None:
    value = "AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host;X-Amz-Date, Signature=00"
    assert signed_names({"authorization": value}) == {b"host", b"x-amz-date"}
    assert signed_names({"authorization": "Bearer SignedHeaders"}) == frozenset()
    assert signed_names({}) == frozenset()


def test_access_key_id_stands_for_the_client_of_a_signature() -> None:
    value = (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261128/us-east-1/bedrock/aws4_request"
    )
    headers = {"authorization": f"{value}, SignedHeaders=host, Signature=00"}
    credential = own_credential(headers)
    assert credential
    assert credential.hint == "AKIA...MPLE"
    assert credential.kind == "byok"
