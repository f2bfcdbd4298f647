"""Patterns of hosts: what they match, and what they must never match."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.hosts import (
    HostTable,
    matches_host,
    may_be_below,
    mistake_in_pattern,
)

TABLE = HostTable((host, p.name) for p in DEFAULT_PROVIDERS for host in p.hosts)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("*.openai.azure.com", "acme.openai.azure.com"),
        ("*.openai.azure.com", "acme.privatelink.openai.azure.com"),
        ("*.openai.azure.com", "ACME.OpenAI.azure.com."),
        ("bedrock-runtime.*.amazonaws.com", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("*-aiplatform.googleapis.com", "europe-west4-aiplatform.googleapis.com"),
        ("api.x.example", "API.x.example."),
    ],
)
def test_pattern_matches_host(pattern: str, host: str) -> None:
    assert matches_host(pattern, host)
    assert host in HostTable([(pattern, "acme")])


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("*-aiplatform.googleapis.com", "evil-aiplatform.googleapis.com.example"),
        ("*-aiplatform.googleapis.com", "a.b-aiplatform.googleapis.com"),
        ("*-aiplatform.googleapis.com", "aiplatform.googleapis.com"),
        ("*-aiplatform.googleapis.com", "-aiplatform.googleapis.com"),
        ("*-aiplatform.googleapis.com", "x-aiplatform.googleapis.com.."),
        ("*.openai.azure.com", "openai.azure.com"),
        ("*.openai.azure.com", ".openai.azure.com"),
        ("*.openai.azure.com", "evilopenai.azure.com"),
        ("*.openai.azure.com", "x.openai.azure.com:443"),
        ("*.openai.azure.com", "a@b.openai.azure.com"),
        ("*.openai.azure.com", "example.com/x.openai.azure.com"),
        ("*.openai.azure.com", "x.openai.azure.com\n"),
        ("*.openai.azure.com", "x.openaiXazure.com"),
        ("bedrock-runtime.*.amazonaws.com", "bedrock-runtime.amazonaws.com"),
        ("bedrock-runtime.*.amazonaws.com", "bedrock-runtime.evil.example.amazonaws.com"),
        ("bedrock-runtime.*.amazonaws.com", "x.bedrock-runtime.us-east-1.amazonaws.com"),
        ("api.x.example", "x.api.x.example"),
    ],
)
def test_pattern_does_not_match_host(pattern: str, host: str) -> None:
    assert not matches_host(pattern, host)
    assert host not in HostTable([(pattern, "acme")])


def test_exact_host_wins_over_patterns_and_the_longer_pattern_over_the_shorter() -> None:
    table = HostTable([("*.x.example", "wide"), ("*.a.x.example", "narrow"), ("a.x.example", "it")])

    assert (table.exact("a.x.example"), table.exact("b.x.example")) == ("it", None)
    assert table.by_pattern("b.x.example") == "wide"
    assert table.by_pattern("b.a.x.example") == "narrow"


@pytest.mark.parametrize(
    "name",
    [
        *("{}.evil.example", "{}evil", "x.{}:443", "x@{}", "{}/x", "{} x", "{}\n", "{}..", ".{}"),
        *("\u0430{}", "{}\u3002x", "x%2e{}", "{}\x00.example", "{}#.example"),
    ],
)
def test_name_that_only_contains_a_host_of_a_provider_matches_nothing(name: str) -> None:
    hosts = [host.replace("*", "a") for provider in DEFAULT_PROVIDERS for host in provider.hosts]

    assert [host for host in hosts if host not in TABLE] == []
    assert [host for host in hosts if name.format(host) in TABLE] == []


@pytest.mark.parametrize("spelling", [str.upper, str.title, "{}.".format])
@pytest.mark.parametrize("host", ["api.openai.com", "x.openai.azure.com"])
def test_other_spelling_of_a_name_is_the_same_host(
    host: str, spelling: Callable[[str], str]
) -> None:
    assert spelling(host) in TABLE


def hosts_of_botocore() -> list[str]:
    """Return the hosts of Bedrock in a region of each partition, by the rules of the SDK."""
    loader = Loader()
    partitions = loader.load_data("partitions")
    rules = loader.load_service_model("bedrock-runtime", "endpoint-rule-set-1")
    provider = EndpointProvider(rules, partitions)
    regions = [next(iter(partition["regions"])) for partition in partitions["partitions"]]
    return [
        urlsplit(
            provider.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual).url
        ).netloc
        for region in regions
        for fips in (False, True)
        for dual in (False, True)
    ]


def test_every_host_of_bedrock_that_the_sdk_knows_is_intercepted() -> None:
    hosts = hosts_of_botocore()
    priced = [host for host in hosts if host.endswith((".amazonaws.com", ".api.aws"))]

    assert {TABLE.by_pattern(host) for host in priced} == {"bedrock"}
    assert {TABLE.by_pattern(host) for host in set(hosts) - set(priced)} == {"bedrock-sovereign"}


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "*.com", "*.x", "api.*.com", "a.b*.com", "**.x.example", "*a*.x.example"),
        *("a.*..x.example", "?.*.x.example", "[a].x.*.example.com", "x .*.example.com"),
    ],
)
def test_pattern_that_could_match_too_much_is_not_allowed(pattern: str) -> None:
    assert mistake_in_pattern(pattern)


@pytest.mark.parametrize("pattern", ["*.x.example", "*-a.x.example", "a.*.x.example", "a-*.x.y.z"])
def test_pattern_with_two_fixed_labels_is_allowed(pattern: str) -> None:
    assert mistake_in_pattern(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "domain", "expected"),
    [
        ("api.x.example", "x.example", True),
        ("api.x.example", "pi.x.example", False),
        ("api.x.example", "a.api.x.example", False),
        ("*.x.example", "example", True),
        ("*.x.example", "x.example", True),
        ("*.x.example", "a.b.x.example", True),
        ("*.x.example", "y.example", False),
        ("llm.*.x.example", "eu.x.example", True),
        ("llm.*.x.example", "llm.eu.x.example", True),
        ("llm.*.x.example", "a.llm.eu.x.example", False),
        ("*-llm.x.example", "api.x.example", False),
    ],
)
def test_some_host_of_a_pattern_is_below_a_domain(
    pattern: str, domain: str, expected: bool
) -> None:
    assert may_be_below(pattern, domain) is expected
