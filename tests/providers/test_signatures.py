"""Signed requests are recognised in every place where a signature may stand."""

import pytest

from aibridge_addon.providers.signatures import is_signed

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
