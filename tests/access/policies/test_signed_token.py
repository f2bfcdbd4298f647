"""Access tokens in headers that a client has signed."""

from dataclasses import replace

import pytest

from aibridge_addon.access.policies.signed_token import SignedToken

from .test_rate_limits import asked_by


@pytest.mark.parametrize(
    ("names", "is_signed", "refused"),
    [
        ("host;x-aibridge-token", True, True),
        ("host;x-amz-date", True, False),
        ("host;x-aibridge-token", False, False),  # the reverse proxy signs anew
    ],
)
def test_access_token_that_is_signed_is_refused_with_the_way_out(
    names: str, is_signed: bool, refused: bool
) -> None:
    asked = replace(asked_by("alice"), is_signed=is_signed)
    value = f"AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders={names}, Signature=00"
    admission = replace(asked.sender.admission, headers={"authorization": value})
    asked = replace(asked, sender=replace(asked.sender, admission=admission))
    refusal = SignedToken().check(asked)
    assert (refusal is not None) is refused
    if refusal:
        assert (refusal.status, refusal.reason) == (400, "token_in_signature")
        assert "login of the proxy" in refusal.message
