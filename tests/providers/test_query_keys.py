"""Keys in queries are found, removed and masked; every other byte of a path stays."""

import pytest

from aibridge_addon.access.token_fields import fields_of_query
from aibridge_addon.providers.credentials import own_credential
from aibridge_addon.providers.query_keys import keys_in, without_keys
from aibridge_addon.relay.secrets import mask_query, outgoing_path

SECRET = "AIzaSyA-0123456789-abcdefghijk"


@pytest.mark.parametrize(
    "path",
    [
        f"/m:generateContent?key={SECRET}",
        f"/m?alt=sse&key={SECRET}&x=%20+",
        f"/m?Key={SECRET}",
        f"/m?%6bey={SECRET}",
        f"/m?%24alt=sse&$key={SECRET}",
        f"/m?access_token={SECRET}&key={SECRET}2",
        f"/m?key={SECRET}&key=AIzaSyB-9876543210-abcdefghijk",
        f"/m?X-Amz-Credential={SECRET}%2F20260101&X-Amz-Signature={SECRET}",
    ],
)
def test_secrets_of_a_query_are_masked_and_restored(path: str) -> None:
    secrets: dict[tuple[bytes, bytes], bytes] = {}
    shown = mask_query(path, secrets)
    assert SECRET not in shown
    assert outgoing_path(shown, secrets) == path


@pytest.mark.parametrize(
    "path", ["/m", "/m?", "/m?alt=sse", "/m?key=", "/m?key", "/m?monkey=a&keys=b", "/m?a=b?key=1"]
)
def test_path_without_secrets_stays_as_it_is(path: str) -> None:
    assert mask_query(path, {}) == path
    assert outgoing_path(path, {(b"?key", b""): b"x"}) == path


def test_keys_are_removed_and_other_parameters_keep_their_bytes() -> None:
    assert without_keys(f"/m?a=%20+&key={SECRET}&b") == "/m?a=%20+&b"
    assert without_keys(f"/m?key={SECRET}") == "/m"
    assert without_keys("/m?") == "/m?"
    assert without_keys("/m?key=aib_1&key=own", of="aib_1") == "/m?key=own"


def test_key_in_the_query_is_the_clients_own_credential() -> None:
    found = own_credential({}, f"/m?key={SECRET}")
    assert found
    assert (found.kind, found.secret) == ("byok", SECRET)
    in_header = own_credential({"x-goog-api-key": "other-key"}, f"/m?key={SECRET}")
    assert in_header
    assert in_header.secret == "other-key"
    assert keys_in("/m?key=a%2Bb") == ["a+b"]
    assert fields_of_query("/m?key=a") == ((b"x-goog-api-key", b"a"),)
