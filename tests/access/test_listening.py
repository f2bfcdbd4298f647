"""Listeners that only one person is likely to use."""

import pytest
from mitmproxy.options import Options

from aibridge_addon.access.listening import is_private

LOCAL = ["regular@127.0.0.1:8080", "reverse:http://aibridge.invalid:1@[::1]:8081"]


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (LOCAL, True),
        (["regular@localhost:0"], True),
        ([*LOCAL, "regular@0.0.0.0:8082"], False),
        (["regular@8080"], False),
    ],
    ids=["loopback", "localhost", "one of them open", "all addresses"],
)
def test_proxy_is_private_if_all_its_listeners_are_on_loopback(
    modes: list[str], expected: bool
) -> None:
    assert is_private(Options(mode=modes), requires_token=False) is expected


def test_proxy_with_tokens_or_logins_is_not_private() -> None:
    assert not is_private(Options(mode=LOCAL), requires_token=True)
    options = Options(mode=LOCAL)
    options.add_option("proxyauth", str | None, "alice:secret", "as mitmproxy declares it")
    assert not is_private(options, requires_token=False)
