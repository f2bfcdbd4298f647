"""Classification of IP addresses, and the spellings of an address."""

from ipaddress import ip_address

import pytest

from aibridge_addon.addresses import literal, non_public_kind, url_here


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("169.254.170.2", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("100.100.100.200", "private"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fd20:ce::254", "private"),
        ("0.1.2.3", "reserved"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("168.63.129.16", "reserved"),
        ("2001:db8::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", "reserved"),
        ("64:ff9b:1::a9fe:a9fe", "reserved"),
        ("fec0::1", "reserved"),
        ("4000::1", "reserved"),
        ("::127.0.0.1", "reserved"),
    ],
)
def test_non_public_address_has_its_kind(address: str, kind: str) -> None:
    assert non_public_kind(ip_address(address)) == kind


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0"),
        *("100.63.255.255", "100.128.0.0", "169.253.255.255", "192.167.255.255"),
        *("223.255.255.255", "168.63.129.15", "2606:4700::1111", "2a00:1450::1"),
    ],
)
def test_public_address_has_no_kind(address: str) -> None:
    assert non_public_kind(ip_address(address)) is None


@pytest.mark.parametrize("form", ["::ffff:{}", "64:ff9b::{}", "2002:{6to4}::1"])
@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("10.1.2.3", "private"),
        ("100.64.0.1", "private"),
        ("168.63.129.16", "reserved"),
        ("8.8.8.8", None),
    ],
)
def test_ipv6_address_has_the_kind_of_its_embedded_ipv4_address(
    form: str, address: str, kind: str | None
) -> None:
    digits = ip_address(address).packed.hex()
    written = form.format(address, **{"6to4": f"{digits[:4]}:{digits[4:]}"})

    assert non_public_kind(ip_address(written)) == kind


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433"),
        *("017700000001", "0177.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1"),
    ],
)
def test_every_spelling_of_a_loopback_address_is_recognised(host: str) -> None:
    assert str(literal(host)) == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::ffff:7f00:1", "::ffff:7f00:1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("0", "0.0.0.0"),
    ],
)
def test_literal_host_is_read_as_its_address(host: str, address: str) -> None:
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    ["localhost", "example.com", "127.0.0.1.nip.io", "1.2.3.4.5", "", "a..b", "x" * 300, "1\0"],
)
def test_host_name_is_not_read_as_an_address(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fd00::1", "http://[fd00::1]:80"),
        ("gateway.test", "http://gateway.test:80"),
    ],
)
def test_url_of_a_listener_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert url_here(host, 80) == url
