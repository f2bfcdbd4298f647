"""Options and the config file: conversion to settings, and the report of every mistake."""

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from aibridge_addon.addresses import EVERYTHING
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import OPTIONS, default_values
from aibridge_addon.config.private_networks import PrivateNetworks
from aibridge_addon.config.settings import Settings, read_settings
from aibridge_addon.prices.sellers import Seller
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.identity import Actor
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import PROVIDER_TYPES

ANTHROPIC, OPENAI, CHATGPT = DEFAULT_PROVIDERS[:3]
FINGERPRINT = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that reads settings with a config file of a given text."""

    def read(toml: str, **options: object) -> Settings:
        path = tmp_path / "aibridge.toml"
        path.write_text(toml, encoding="utf-8")
        return settings(aibridge_config=str(path), **options)

    return read


def settings(**options: object) -> Settings:
    return read_settings(default_values() | options)


def mistakes(read: Callable[..., Settings], *args: object, **options: object) -> list[str]:
    """Return the lines of the error, without the path of the config file."""
    with pytest.raises(SettingsError) as caught:
        read(*args, **options)
    return [
        line.partition(".toml")[2].removeprefix(": ") or line
        for line in str(caught.value).splitlines()
    ]


# Options


def test_every_option_has_a_help_text_and_a_default_among_its_choices() -> None:
    for option in OPTIONS:
        assert option.name.startswith("aibridge_")
        assert option.help.endswith(".")
        assert "  " not in option.help
        assert type(option.default_value) is option.type
        assert option.choices is None or option.default_value in option.choices


def test_misspelled_option_name_is_reported_with_the_closest_name() -> None:
    wrong = mistakes(settings, aibridge_capure="x", flow_detail=1)
    assert wrong == ["aibridge_capure is not known; did you mean aibridge_capture?"]


def test_default_options_make_complete_settings() -> None:
    read = settings()

    assert read.providers == DEFAULT_PROVIDERS
    assert read.capture == {"auto"}
    assert read.actor_header == "x-aibridge-actor"
    assert (read.commit_wait, read.max_body_bytes) == (2.0, 64 * 1024 * 1024)
    assert (read.refuse_unrecorded, read.require_actor) == (False,) * 2
    assert read.ask_chat_usage == "auto"
    assert read.metrics_listen is None
    assert Path(read.database).name == "aibridge.sqlite3"
    assert Path(read.database).is_absolute()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"aibridge_capture": ""}, {"capture": frozenset()}),
        ({"aibridge_capture": " tools, prompts,"}, {"capture": frozenset({"tools", "prompts"})}),
        ({"aibridge_commit_wait_ms": 0}, {"commit_wait": 0.0}),
        ({"aibridge_max_body_mib": 1}, {"max_body_bytes": 1024 * 1024}),
        ({"aibridge_on_record_failure": "refuse"}, {"refuse_unrecorded": True}),
        ({"aibridge_actor_header": " X-User "}, {"actor_header": "x-user"}),
        ({"aibridge_actor_header": ""}, {"actor_header": ""}),
        ({"aibridge_db": "/x/y.db"}, {"database": "/x/y.db"}),
        ({"aibridge_recorder": "a:B"}, {"recorder": "a:B"}),
        ({"aibridge_metrics_listen": "127.0.0.1:9464"}, {"metrics_listen": ("127.0.0.1", 9464)}),
        ({"aibridge_metrics_listen": "[::1]:0"}, {"metrics_listen": ("::1", 0)}),
        ({"aibridge_metrics_label_values": 1}, {"metrics_label_values": 1}),
        ({"aibridge_max_connections": 7}, {"max_connections": 7}),
        ({"aibridge_max_connections": 0}, {"max_connections": None}),
        (
            {"aibridge_max_connections_per_address": 3},
            {"max_connections_per_address": 3},
        ),
        ({"aibridge_first_request_seconds": 5}, {"first_request_seconds": 5}),
        ({"aibridge_first_request_seconds": 0}, {"first_request_seconds": None}),
        ({"aibridge_held_bodies_mib": 2}, {"held_bodies": 2 * 1024 * 1024}),
        ({"aibridge_held_bodies_mib": 0}, {"held_bodies": None}),
        (
            {"aibridge_private_networks": "10.0.0.0/8, fd00::/8,192.168.1.5 ,"},
            {
                "private": PrivateNetworks(
                    networks=(
                        ip_network("10.0.0.0/8"),
                        ip_network("fd00::/8"),
                        ip_network("192.168.1.5"),
                    )
                )
            },
        ),
        (
            {"aibridge_private_networks": "Git.corp, localhost,db1,_x.y"},
            {"private": PrivateNetworks(hosts=frozenset({"git.corp", "localhost", "db1", "_x.y"}))},
        ),
        (
            {"aibridge_private_networks": "git.corp,*"},
            {"private": PrivateNetworks(networks=EVERYTHING, hosts=frozenset({"git.corp"}))},
        ),
    ],
)
def test_option_value_is_converted_to_its_setting(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    read = settings(**options)

    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"aibridge_capture": "prompts,tokens, Tools"},
            "aibridge_capture has 'Tools', 'tokens'; it may list prompts, tools, thoughts, answers,"
            " results, system, requests, all, or be auto",
        ),
        (
            {"aibridge_on_record_failure": "refsue"},
            "aibridge_on_record_failure is 'refsue'; it must be one of relay, refuse",
        ),
        (
            {"aibridge_commit_wait_ms": -1},
            "aibridge_commit_wait_ms is -1; it must be at least 0",
        ),
        ({"aibridge_max_body_mib": 0}, "aibridge_max_body_mib is 0; it must be at least 1"),
        ({"aibridge_max_connections": -1}, "aibridge_max_connections is -1; it must be at least 0"),
        (
            {
                "aibridge_private_networks": "10.0.0.1/8,ok.corp,git.corp:443,[::1],http://x,127.1,"
                "0x7f000001,300.1.1.1,*.corp,-x"
            },
            "aibridge_private_networks has '10.0.0.1/8', 'git.corp:443', '[::1]', 'http://x',"
            " '127.1', '0x7f000001', '300.1.1.1', '*.corp', '-x'; it may list networks such as"
            " 10.0.0.0/8, addresses, and host names, without ports, or be * for all",
        ),
        (
            {"aibridge_metrics_label_values": 0},
            "aibridge_metrics_label_values is 0; it must be at least 1",
        ),
    ],
)
def test_wrong_option_value_is_reported_with_the_allowed_values(
    options: dict[str, Any], line: str
) -> None:
    assert mistakes(settings, **options) == [line]


@pytest.mark.parametrize(
    "address", ["9464", ":9464", "localhost", "localhost:", "localhost:x", "h:65536", "h:-1", "h:²"]
)
def test_wrong_metrics_address_is_reported(address: str) -> None:
    assert mistakes(settings, aibridge_metrics_listen=address) == [
        f"aibridge_metrics_listen is {address!r}; it must be host:port, such as 127.0.0.1:9464"
    ]


# The config file


def test_all_mistakes_are_reported_together(config: Callable[..., Settings]) -> None:
    toml = """
    provider = 1
    [[providers]]
    name = "Acme"
    typ = "openai"
    type = "google"
    base_url = "ftp://x"
    hosts = ["https://x"]
    [[actors]]
    match = "sha256:abc"
    """

    found = mistakes(config, toml, aibridge_capture="x", aibridge_max_body_mib=0)

    keys = [line.partition(" ")[0] for line in found]
    assert sorted(keys) == [
        "actors[0].id",
        "actors[0].match",
        "aibridge_capture",
        "aibridge_max_body_mib",
        "provider",
        "providers[0].base_url",
        "providers[0].hosts[0]",
        "providers[0].name",
        "providers[0].typ",
        "providers[0].type",
    ]


PROVIDER = '[[providers]]\nname = "acme"\ntype = "openai"\nbase_url = "https://x.example/v1"\n'
ACTOR = '[[actors]]\nmatch = "m"\nid = "alice"\n'


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("provders = []", "provders is not known; did you mean providers?"),
        (
            PROVIDER + 'api_key = "k"',
            "providers[0].api_key is not known; did you mean api_key_env?",
        ),
        (ACTOR + "zzz = 1", "actors[0].zzz is not known; known are match, id, metadata"),
        ("[[actors]]\nmatch = 'm'", "actors[0].id is missing"),
        (
            PROVIDER.replace("openai", "google"),
            "providers[0].type is 'google': input should be "
            + " or ".join(map(repr, PROVIDER_TYPES)),
        ),
        (
            PROVIDER.replace("acme", "Acme_1"),
            "providers[0].name is 'Acme_1': use lower-case letters and digits, with single dashes"
            " between, such as my-provider",
        ),
        (
            PROVIDER.replace("https://x.example/v1", "x.example"),
            "providers[0].base_url is 'x.example':"
            " must be a URL such as https://api.example.com/v1",
        ),
        (
            PROVIDER.replace("https://x.example/v1", "https://x:y"),
            "providers[0].base_url is 'https://x:y':"
            " port could not be cast to integer value as 'y'",
        ),
        (
            PROVIDER + 'hosts = ["x.example", "*.x"]',
            "providers[0].hosts[1] is '*.x':"
            " must end in two labels without *, such as *.example.com",
        ),
        (
            PROVIDER + 'hosts = ["a**.x.example"]',
            "providers[0].hosts[0] is 'a**.x.example':"
            " must be a host name with at most one * in each label, such as *.example.com",
        ),
        (
            PROVIDER + 'hosts = ["https://x.example"]',
            "providers[0].hosts[0] is 'https://x.example':"
            " must be a host name, without scheme, port or path",
        ),
        (
            '[[providers]]\nname = "acme"\ntype = "openai"\n',
            "providers[0].base_url is missing; only an instance with hosts needs none",
        ),
        (
            PROVIDER + 'hosts = "x.example"',
            "providers[0].hosts is 'x.example': input should be a valid list",
        ),
        (
            PROVIDER + 'api_key_env = ""',
            "providers[0].api_key_env is '': string should have at least 1 character",
        ),
        (ACTOR.replace("alice", ""), "actors[0].id is '': string should have at least 1 character"),
        (
            ACTOR.replace('"m"', '"sha256:xyz"'),
            "actors[0].match is 'sha256:xyz':"
            " must be sha256: and the 64 hexadecimal digits of the key's SHA-256",
        ),
        (
            ACTOR + "metadata = 1",
            "actors[0].metadata is 1: must be a table, such as { key = value }",
        ),
        ("providers = 1", "providers is 1: input should be a valid list"),
    ],
)
def test_mistake_in_the_config_file_is_reported_with_its_key(
    config: Callable[..., Settings], toml: str, line: str
) -> None:
    assert mistakes(config, toml) == [line]


MISTAKES = """
[identity]
revoked_actors = "mallory"

[[identity.jwt]]
issuer = 5
audience = []
jwks_url = "https://login.example.com/keys"
claims = "email"

[[limits]]
name = "e"
per = "person"
requests_per_minute = "60"
opn_requests = 3

[[limits]]
name = "e"
queue = 5

[[budgets]]
name = "day"
usd = -1
credentials = ["mine"]

[[budgets]]
name = "day"

[[alerts]]

[[alerts]]
url = "https://user:secret@hooks.example.com/"
url_env = "HOOK"

[[providers]]
name = "p"
type = "openai"
base_url = "https://example.com/v1"
keys = ["A", { env = "A B" }]
fallbacks = [{ provider = "openai", models = { a = "b" }, on = ["all"] }]

[[providers]]
name = "p"
type = "anthropc"
base_url = "https://example.com/v1"
keys = [{ env = "A" }, { env = "A" }, { env = "sk-ant-api03-secretsecretsecretsecret" }]
api_key_env = "B"
fallbacks = [{ provider = "opnai", models = {} }]

[[providers]]
name = "q"
type = "openai"

[[alerts]]
url_env = "NO_SUCH_VARIABLE"

[guardrails]
policies = ["no_such_module:Rule"]

[[mcp_servers]]
name = "files"
url = 5

[[mcp_servers]]
name = "wiki"
url = "https://wiki.example.com/mcp"
headers = { Authorization = "Bearer ${NO_SUCH_VARIABLE}" }

[[actors]]
match = "a"
id = "b"

[[actors]]
match = "a"
id = "c"
"""
EACH_MISTAKE = {
    "identity.revoked_actors": "'mallory': input should be a valid list",
    "identity.jwt[0].issuer": "5: input should be a valid string",
    "identity.jwt[0].audience": "input should be a valid string or must not be empty",
    "identity.jwt[0].claims": "'email': must be a table, such as { key = value }",
    "limits[0].per": "'person': input should be 'actor', 'team', 'token', 'instance' or 'total'",
    "limits[0].requests_per_minute": "'60': input should be a valid integer",
    "limits[0].opn_requests": "not known; did you mean open_requests?",
    "limits[1]": "sets no bound; give requests_per_minute,",
    "limits[1].name": "'e' again",
    "budgets[0].usd": "-1: input should be greater than 0",
    "budgets[0].credentials[0]": "'mine': input should be 'centralized', 'byok' or 'subscription'",
    "budgets[1]": "needs a limit: give either usd or tokens",
    "budgets[1].name": "'day' again",
    "alerts[0]": "must have either url or url_env",
    "alerts[1]": "must have either url or url_env",
    "providers[0].keys[0]": "'A': must be a table, such as { key = value }",
    "providers[0].keys[1].env": "must be the name of an environment variable",
    "providers[0].fallbacks[0].on[0]": "'all': input should be 'caller', 'rate',",
    "providers[1].type": "'anthropc': input should be",
    "providers[1].name": "'p', the same as providers[0].name",
    "providers[1]": "has keys and api_key_env; write the key",
    "providers[1].keys[1].env": "'A' again; name each key once",
    "providers[1].keys[2].env": "must be the name of an environment variable",
    "providers[1].fallbacks[0].models": "must not be empty",
    "providers[1].fallbacks[0].provider": "'opnai', which no instance is named",
    "providers[2].base_url": "missing; only an instance with hosts needs none",
    "alerts[2].url_env": "'NO_SUCH_VARIABLE', and the environment has no NO_SUCH_VARIABLE",
    "guardrails.policies[0]": "no_such_module:Rule cannot be created",
    "mcp_servers[0].url": "input should be a valid string",
    "mcp_servers[1].headers.Authorization": "NO_SUCH_VARIABLE",
    "actors[1].match": "'a' again; each match must be unique",
}


def test_every_mistake_is_reported_at_once_with_its_table_and_key(
    config: Callable[..., Settings],
) -> None:
    lines = mistakes(config, MISTAKES)
    for key, words in EACH_MISTAKE.items():
        found = [line for line in lines if re.match(rf"{re.escape(key)}(:| )", line)]
        assert len(found) == 1, (key, lines)
        assert words in found[0]
    assert len(lines) == len(EACH_MISTAKE)
    assert "secret" not in "".join(lines)


PRICE = '[[prices]]\nmatch = "gpt-*"\ninput = 2\noutput = 8.5\n'


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            PRICE + "cache_read = 1000.01",
            "prices[0].cache_read is 1000.01:"
            " must be at most 1000: prices are in USD per million, not per token",
        ),
        (
            PRICE.replace("8.5", "0.000008"),
            "prices[0].output is 8e-06:"
            " must be larger or 0: prices are in USD per million, not per token",
        ),
        (PRICE + "web_search = -1", "prices[0].web_search is -1: a price must be 0 or more"),
        (PRICE + "web_search = nan", "prices[0].web_search is nan: a price must be 0 or more"),
        (PRICE.replace("input = 2", ""), "prices[0].input is missing"),
        (PRICE + "form = 2026-01-01", "prices[0].form is not known; did you mean from?"),
        (
            PRICE + 'modifiers = { tier = "flex" }',
            "prices[0].modifiers: tier is not known; known are service_tier, speed, processing",
        ),
    ],
)
def test_mistake_in_a_price_is_reported(
    config: Callable[..., Settings], toml: str, line: str
) -> None:
    assert mistakes(config, toml) == [line]


def test_prices_are_read_from_the_config_file(config: Callable[..., Settings]) -> None:
    toml = PRICE + 'from = 2026-01-31\ncache_read = 0\nmodifiers = { service_tier = "Flex" }\n'

    (override,) = config(toml).prices.overrides

    assert override.since == date(2026, 1, 31)
    assert override.modifiers == {"service_tier": "flex"}
    assert override.prices == {
        "input_mtok": Decimal(2),
        "output_mtok": Decimal("8.5"),
        "cache_read_mtok": Decimal(0),
    }


def test_seller_of_an_instance_is_read_from_the_config_file(
    config: Callable[..., Settings],
) -> None:
    sellers = config(PROVIDER + 'price_as = "azure"\n').prices.sellers

    assert sellers["acme"] == Seller(id="azure")
    assert sellers["anthropic"] == Seller(id="anthropic")


def test_unknown_seller_is_reported(config: Callable[..., Settings]) -> None:
    (line,) = mistakes(config, PROVIDER + 'price_as = "opneai"\n')

    assert line.startswith("providers[0].price_as is 'opneai': the price data has no such seller;")


def test_unknown_key_without_a_close_match_is_reported_with_all_known_keys(
    config: Callable[..., Settings],
) -> None:
    (line,) = mistakes(config, "zzz = 1")

    assert line.startswith("zzz is not known; known are providers, actors")


@pytest.mark.parametrize("name", ["", "-a", "a-", "a--b", "A", "a b", "a/b", "a\\n", "é", "a" * 65])
def test_illegal_provider_name_is_reported(config: Callable[..., Settings], name: str) -> None:
    (line,) = mistakes(config, PROVIDER.replace("acme", name))

    assert line.startswith("providers[0].name is ")


@pytest.mark.parametrize(
    "url", ["https://u:sk-secret@x/v1", "https://x?key=sk-secret", "http://x#sk-secret"]
)
def test_base_url_with_a_user_or_query_is_reported_without_its_value(
    config: Callable[..., Settings], url: str
) -> None:
    assert mistakes(config, PROVIDER.replace("https://x.example/v1", url)) == [
        "providers[0].base_url must have no user, query or fragment"
    ]


def test_unreadable_config_file_is_reported(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    assert mistakes(settings, aibridge_config=missing) == ["No such file or directory"]
    with pytest.raises(SettingsError, match=f"aibridge_config {tmp_path}: Is a directory"):
        settings(aibridge_config=str(tmp_path))


@pytest.mark.parametrize("content", [b"[[providers]", b"name = ", b"\xff\xfe"])
def test_config_file_that_is_not_toml_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=f"aibridge_config {path} is not TOML: "):
        settings(aibridge_config=str(path))


def test_tilde_in_the_config_path_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.toml").write_text(ACTOR)

    assert settings(aibridge_config="~/a.toml").actors == {"m": Actor(id="alice")}


# Providers


def test_configured_provider_instance_is_added_to_the_defaults(
    config: Callable[..., Settings],
) -> None:
    read = config(PROVIDER + 'api_key_env = "ACME_KEY"')

    acme = Provider(
        name="acme",
        type="openai",
        base_url="https://x.example/v1",
        hosts=frozenset({"x.example"}),
        api_key_env="ACME_KEY",
    )
    assert read.providers == (*DEFAULT_PROVIDERS, acme)


def test_configured_provider_instance_replaces_the_default_with_its_name(
    config: Callable[..., Settings],
) -> None:
    read = config("""
    [[providers]]
    name = "anthropic"
    type = "anthropic"
    base_url = "http://127.0.0.1:9999"
    hosts = ["API.Anthropic.com"]
    """)

    replaced = Provider(
        name="anthropic",
        type="anthropic",
        base_url="http://127.0.0.1:9999",
        hosts=frozenset({"api.anthropic.com"}),
    )
    assert read.providers == (*DEFAULT_PROVIDERS[1:], replaced)


def test_configured_provider_instance_takes_its_hosts_from_a_default(
    config: Callable[..., Settings],
) -> None:
    read = config(PROVIDER + 'hosts = ["api.openai.com"]')

    by_name = {provider.name: provider for provider in read.providers}
    assert by_name["acme"].hosts == {"api.openai.com"}
    assert by_name["openai"].hosts == frozenset()
    assert by_name["openai"].base_url == OPENAI.base_url
    assert by_name["anthropic"] == ANTHROPIC


def test_pattern_of_a_configured_instance_takes_the_hosts_of_defaults(
    config: Callable[..., Settings],
) -> None:
    by_name = {p.name: p for p in config(PROVIDER + 'hosts = ["*.api.openai.com"]').providers}

    assert by_name["acme"].hosts == {"*.api.openai.com"}
    assert by_name["openai-eu"].hosts == frozenset()
    assert by_name["openai"].hosts == OPENAI.hosts


def test_provider_instance_can_have_no_hosts(config: Callable[..., Settings]) -> None:
    *_, acme = config(PROVIDER + "hosts = []").providers

    assert acme.hosts == frozenset()


def test_preset_gives_the_values_that_are_not_written(config: Callable[..., Settings]) -> None:
    *_, local, box = config("""
    [[providers]]
    preset = "lm-studio"

    [[providers]]
    preset = "deepseek"
    name = "box"
    base_url = "http://box.example:8000/v1"
    """).providers

    assert (local.name, local.type, local.base_url) == (
        "lm-studio",
        "openai",
        "http://127.0.0.1:1234/v1",
    )
    assert (local.hosts, local.anthropic_path, local.takes_include_usage) == (
        frozenset({"127.0.0.1"}),
        "",
        True,
    )
    assert (box.hosts, box.api_key_env, box.price_as) == (
        frozenset({"box.example"}),
        "DEEPSEEK_API_KEY",
        "deepseek",
    )
    assert box.as_anthropic
    assert box.as_anthropic.base_url == "http://box.example:8000/anthropic"


def test_unknown_preset_is_reported(config: Callable[..., Settings]) -> None:
    (line,) = mistakes(config, '[[providers]]\npreset = "gork"\n')

    assert line.startswith("providers[0]: preset must be one of openrouter, groq, ")


def test_path_of_anthropic_messages_is_checked(config: Callable[..., Settings]) -> None:
    assert mistakes(config, PROVIDER + 'anthropic_path = "anthropic/"') == [
        "providers[0].anthropic_path is 'anthropic/': must be a path such as /anthropic, or empty"
    ]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("anthropic, open*er", {"anthropic", "openrouter"}),
        ("groq", {"groq"}),
        ("", set()),
        ("*", {provider.name for provider in DEFAULT_PROVIDERS if provider.hosts}),
    ],
)
def test_option_narrows_the_instances_that_are_intercepted(
    config: Callable[..., Settings], value: str, names: set[str]
) -> None:
    read = config(PROVIDER, aibridge_intercept=value)

    assert {provider.name for provider in read.providers if provider.hosts} == {"acme", *names}
    assert len(read.providers) == len(DEFAULT_PROVIDERS) + 1


def test_repeated_provider_name_is_reported(config: Callable[..., Settings]) -> None:
    assert mistakes(config, PROVIDER + PROVIDER) == [
        "providers[1].name is 'acme', the same as providers[0].name; names must be unique"
    ]


def test_host_of_two_provider_instances_is_reported(config: Callable[..., Settings]) -> None:
    assert mistakes(config, PROVIDER + PROVIDER.replace("acme", "other")) == [
        "providers[1].hosts has 'x.example', which instance 'acme' has too;"
        " give each host to one instance (hosts = [] for none)"
    ]


# Actors


def test_actors_are_found_by_fingerprint_or_header_value(config: Callable[..., Settings]) -> None:
    read = config(
        ACTOR
        + f'[[actors]]\nmatch = "{FINGERPRINT.upper().replace("SHA", "sha")}"\nid = "bob"\n'
        + 'metadata = { team = "search" }'
    )

    assert read.actors == {
        "m": Actor(id="alice"),
        FINGERPRINT: Actor(id="bob", metadata={"team": "search"}),
    }


def test_repeated_actor_match_is_reported(config: Callable[..., Settings]) -> None:
    assert mistakes(config, ACTOR + ACTOR) == [
        "actors[1].match is 'm' again; each match must be unique"
    ]


# Secrets


def test_secrets_of_the_environment_are_absent_from_the_repr_of_the_settings(
    config: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-ant-api03-0123456789"
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "ACME_KEY"):
        monkeypatch.setenv(name, secret)

    read = config(
        PROVIDER
        + 'api_key_env = "ACME_KEY"\n'
        + '[[mcp_servers]]\nname = "docs"\nurl = "https://mcp.example/${ACME_KEY}"\n'
        + 'headers = { Authorization = "Bearer ${ACME_KEY}" }'
    )

    assert secret not in repr(read)
    assert "ACME_KEY" in repr(read)


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        settings().require_actor = True  # type: ignore[misc]


# Misspellings


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ('[providers]\nname = "a"\n', "providers: this is one table; write [[providers]]"),
        ('[actors]\nmatch = "a"\n', "actors: this is one table; write [[actors]]"),
        ("[mcp_servers]\n", "mcp_servers: this is one table; write [[mcp_servers]]"),
        ('[[injection]]\nactors = ["a"]\n', "injection: this is a list of tables; write [inj"),
        (
            '[[providers]]\nname = "A B"\ntype = "openai"\nbase_url = "https://x.test/v1"\n',
            "providers[0].name is 'A B': use lower-case letters and digits",
        ),
        (
            '[[mcp_servers]]\nname = "A B"\nurl = "https://x.test/"\n',
            "mcp_servers[0].name is 'A B': use lower-case letters and digits",
        ),
    ],
)
def test_wrong_table_syntax_or_name_is_reported_in_terms_of_toml(
    config: Callable[..., Settings], toml: str, line: str
) -> None:
    [mistake] = mistakes(config, toml)
    assert mistake.startswith(line)
    assert "pattern" not in mistake


@pytest.mark.parametrize(
    "key",
    [
        "sk-ant-api03-0123456789abcdefghij",
        "sk-proj-0123456789abcdefghij",
        "Bearer sk-0123456789",
        "xai-0123456789abcdef",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "aib_abcdefghij_0123456789012345678901234567890123456789012",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_key_in_an_actor_match_is_reported_without_its_value(
    config: Callable[..., Settings], key: str
) -> None:
    [mistake] = mistakes(config, f'[[actors]]\nmatch = "{key}"\nid = "alice"\n')
    assert mistake.startswith("actors[0].match contains a key")
    assert key not in mistake


@pytest.mark.parametrize(
    "name",
    [
        *("alice", "d.smith", "alice@example.com", "sk", "key-user", "Team Search (Berlin)"),
        *("a-very-long-name-of-a-machine-account-in-the-lab", FINGERPRINT),
        "0d5e5c0a-1b2c-4d3e-8f90-0123456789ab",
    ],
)
def test_actor_name_is_not_mistaken_for_a_key(config: Callable[..., Settings], name: str) -> None:
    assert name in config(f'[[actors]]\nmatch = "{name}"\nid = "alice"\n').actors


@pytest.mark.parametrize(
    ("kind", "url", "word"),
    [
        ("anthropic", "https://x.test/v1", "leave /v1 out"),
        ("anthropic", "https://x.test/api/v1/", "leave /v1 out"),
        ("openai", "https://x.test", "want /v1"),
        ("openai", "http://127.0.0.1:11434/", "want /v1"),
        ("openai", "https://x.test/v1/chat/completions", "leave /chat/completions out"),
        ("openai", "https://x.test/v1/responses/", "leave /responses out"),
        ("anthropic", "https://x.test/v1/messages", "leave /messages out"),
    ],
)
def test_base_url_against_the_rule_of_its_type_is_a_warning(
    config: Callable[..., Settings], kind: str, url: str, word: str
) -> None:
    read = config(f'[[providers]]\nname = "x"\ntype = "{kind}"\nbase_url = "{url}"\n')
    [doubt] = read.doubts
    assert "providers[0].base_url" in doubt
    assert word in doubt


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("anthropic", "https://x.test"),
        ("anthropic", "https://x.test/anthropic"),
        ("openai", "https://x.test/v1"),
        ("openai", "https://x.test/backend-api/codex"),
    ],
)
def test_base_url_by_the_rule_of_its_type_is_accepted_without_a_warning(
    config: Callable[..., Settings], kind: str, url: str
) -> None:
    read = config(f'[[providers]]\nname = "x"\ntype = "{kind}"\nbase_url = "{url}"\n')
    assert read.doubts == ()


@pytest.mark.parametrize("value", ["sk-proj-abcdefghijklmnop", "A" * 31 + "1", "MY KEY"])
def test_key_instead_of_a_variable_name_is_reported_without_its_value(
    config: Callable[..., Settings], value: Any
) -> None:
    table = '[[providers]]\nname = "x"\ntype = "openai"\nbase_url = "https://x.test/v1"\n'
    with pytest.raises(
        SettingsError, match=r"providers\[0\]\.api_key_env must be the name"
    ) as caught:
        config(f'{table}api_key_env = "{value}"\n')
    assert value not in str(caught.value)


def test_byte_order_mark_at_the_start_of_a_file_is_ignored(
    config: Callable[..., Settings], tmp_path: Path
) -> None:
    assert config('\ufeff[[actors]]\nmatch = "a"\nid = "b"\n').actors
    path = tmp_path / "mcp.json"
    path.write_text('\ufeff{"mcpServers": {"a": {"url": "https://x.test/"}}}', encoding="utf-8")
    assert settings(aibridge_mcp_config=str(path)).mcp_servers


# Browsers


def test_allowed_origins_and_hosts_are_read_in_lower_case() -> None:
    read = settings(
        aibridge_allowed_origins=" HTTPS://App.Example:443, null,app://notes ",
        aibridge_allowed_hosts="Proxy.Example., *",
    )
    assert read.allowed_origins == {"https://app.example", "null", "app://notes"}
    assert read.allowed_hosts == {"proxy.example", "*"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("aibridge_allowed_origins", "app.example"),
        ("aibridge_allowed_origins", "https://app.example/path"),
        ("aibridge_allowed_origins", "https://*.example"),
        ("aibridge_allowed_hosts", "https://proxy.example"),
        ("aibridge_allowed_hosts", "proxy.example:8081"),
        ("aibridge_allowed_hosts", "*.example"),
    ],
)
def test_wrong_origin_or_host_is_reported(option: str, value: Any) -> None:
    [mistake] = mistakes(settings, **{option: value})
    assert mistake.startswith(f"{option} has {value!r}; it may list")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("auto", "auto"),
        ("always", "always"),
        ("never", "never"),
        ("true", "always"),
        ("false", "never"),
        ("True", "always"),
        (True, "always"),
        (False, "never"),
    ],
)
def test_ask_chat_usage_accepts_its_rules_and_the_booleans_of_earlier_versions(
    value: Any, rule: str
) -> None:
    assert settings(aibridge_ask_chat_usage=value).ask_chat_usage == rule


def test_unknown_rule_of_ask_chat_usage_is_reported() -> None:
    with pytest.raises(SettingsError, match="must be one of auto, always, never"):
        settings(aibridge_ask_chat_usage="sometimes")


@pytest.mark.parametrize(
    ("base_url", "told", "takes_it"),
    [
        ("https://api.openai.com/v1", None, True),
        ("https://api.deepseek.com", None, True),
        ("https://openrouter.ai/api/v1", None, False),
        ("https://api.mistral.ai/v1", None, False),
        ("http://127.0.0.1:8000/v1", None, False),
        ("http://127.0.0.1:8000/v1", "true", True),
        ("https://api.openai.com/v1", "false", False),
    ],
)
def test_include_usage_is_read_from_the_config_file_or_known_for_the_host(
    config: Callable[..., Settings], base_url: str, told: str | None, takes_it: bool
) -> None:
    toml = f'[[providers]]\nname = "acme"\ntype = "openai"\nbase_url = "{base_url}"\n'
    *_, acme = config(toml + (f"include_usage = {told}\n" if told else "")).providers

    assert acme.takes_include_usage is takes_it


# Limits and model rules


def test_limits_and_model_rules_of_the_config_file_are_read(
    config: Callable[..., Settings],
) -> None:
    read = config(
        """
        [[limits]]
        name = "people"
        teams = ["ads"]
        requests_per_minute = 60
        open_requests = 4

        [[model_rules]]
        actors = ["intern-*"]
        deny = ["*opus*"]
        aliases = { fast = "claude-haiku-4-5" }
        """
    )
    (limit,) = read.limits
    assert (limit.name, limit.per, limit.selection.teams) == ("people", "actor", ("ads",))
    assert (limit.rates, limit.open_requests) == ({"requests": 60}, 4)
    (rule,) = read.model_rules
    assert (rule.deny, rule.aliases) == (("*opus*",), {"fast": "claude-haiku-4-5"})


@pytest.mark.parametrize(
    ("toml", "mistake"),
    [
        (
            '[[limits]]\nname = "a"',
            "limits[0]: sets no bound; give requests_per_minute, input_tokens_per_minute,"
            " output_tokens_per_minute or open_requests",
        ),
        (
            '[[limits]]\nname = "a"\nopen_requests = 1\nqueue = 5\nshared = true',
            "limits[0]: has queue and shared; requests cannot wait for a shared limit",
        ),
        (
            '[[limits]]\nname = "a"\nopen_requests = 0',
            "limits[0].open_requests is 0: input should be greater than or equal to 1",
        ),
        (
            '[[limits]]\nname = "a"\nrequest_per_minute = 1',
            "limits[0].request_per_minute is not known; did you mean requests_per_minute?",
        ),
        (
            '[[limits]]\nname = "a"\nper = "person"\nopen_requests = 1',
            "limits[0].per is 'person': input should be 'actor', 'team', 'token', 'instance' or"
            " 'total'",
        ),
        (
            '[[limits]]\nname = "a"\nopen_requests = 1\n' * 2,
            "limits[1].name is 'a' again; each name identifies its counters",
        ),
        (
            '[[model_rules]]\nactors = ["a"]',
            "model_rules[0]: sets no rule; give allow, deny, aliases or max_output_tokens",
        ),
    ],
)
def test_mistake_in_a_limit_or_model_rule_is_reported_with_the_key(
    config: Callable[..., Settings], toml: str, mistake: str
) -> None:
    assert mistakes(config, toml) == [mistake]


# Budgets


def test_budgets_of_the_config_file_are_read(config: Callable[..., Settings]) -> None:
    read = config(
        """
        [[budgets]]
        name = "day"
        usd = 20.5
        timezone = "Europe/Berlin"
        starts_at = "08:00"

        [[budgets]]
        name = "burst"
        per = "team"
        tokens = 1_000_000
        window = "5h"
        action = "warn"
        models = ["claude-*"]
        """
    )
    day, burst = (rule.budget for rule in read.budgets)
    assert (day.unit, day.limit, day.per) == ("usd", 20_500_000_000, "actor")
    assert (day.window.name, day.window.is_rolling, str(day.window.starts_at)) == (
        "day",
        False,
        "08:00:00",
    )
    assert day.credential_kinds == ("centralized",)
    assert (burst.unit, burst.limit, burst.window.is_rolling) == ("tokens", 1_000_000, True)
    assert not burst.refuses
    assert read.budgets[1].selection.models == ("claude-*",)


@pytest.mark.parametrize(
    ("toml", "mistake"),
    [
        ("", "budgets[0]: needs a limit: give either usd or tokens"),
        ("usd = 1\ntokens = 1", "budgets[0]: needs a limit: give either usd or tokens"),
        (
            "tokens = 1\nshow_remaining = true",
            'budgets[0]: show_remaining needs usd and action = "refuse"',
        ),
        ("usd = -1", "budgets[0].usd is -1: input should be greater than 0"),
        (
            'usd = 1\ntimezone = "Berlin"',
            "budgets[0].timezone is 'Berlin': is not a time zone; write a name such as"
            " Europe/Berlin or UTC",
        ),
        (
            'usd = 1\nstarts_at = "8 am"',
            "budgets[0].starts_at is '8 am': is not a time of day; write it as 08:00",
        ),
        (
            'usd = 1\nwindow = "year"',
            "budgets[0].window is 'year': input should be 'hour', '5h', 'day', 'week', 'month' or"
            " 'total'",
        ),
        ("usd = 1\nlimit = 2", "budgets[0].limit is not known; known are"),
    ],
)
def test_mistake_in_a_budget_is_reported_with_the_key(
    config: Callable[..., Settings], toml: str, mistake: str
) -> None:
    (reported,) = mistakes(config, f'[[budgets]]\nname = "a"\n{toml}')
    assert reported.startswith(mistake)


# Guardrails


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        (
            "dlp",
            "guardrails.policies[0] is 'dlp': write module:Class, such as my_company.dlp:NoSecrets",
        ),
        (
            "nowhere:X",
            "guardrails.policies[0]: nowhere:X cannot be created: ModuleNotFoundError: No module"
            " named 'nowhere'; set PYTHONPATH as where the proxy runs",
        ),
        (
            "string:Formatter",
            "guardrails.policies[0]: string:Formatter has no method `async def check(self, asked)`",
        ),
    ],
)
def test_mistake_in_a_guardrail_is_reported_with_the_key(
    config: Callable[..., Settings], name: str, mistake: str
) -> None:
    assert mistakes(config, f'[guardrails]\npolicies = ["{name}"]') == [mistake]


JWT = """
[[identity.jwt]]
issuer = "https://login.example.com"
audience = "aibridge"
jwks_url = "https://login.example.com/keys"
"""


def test_issuer_of_jwts_requires_authentication_unless_the_option_says_never(
    config: Callable[..., Settings],
) -> None:
    assert config("").token_rule == "auto"
    assert config(JWT).token_rule == "always"
    assert config(JWT, aibridge_require_token="never").token_rule == "never"
    (issuer,) = config(JWT).jwt_issuers
    assert (issuer.actor_claim, issuer.audiences) == ("sub", ("aibridge",))


@pytest.mark.parametrize(
    ("toml", "mistake"),
    [
        (JWT.replace('audience = "aibridge"\n', ""), "identity.jwt[0].audience is missing"),
        (
            JWT.replace("https://login.example.com/keys", "http://login.example.com/keys"),
            "identity.jwt[0].jwks_url is 'http://login.example.com/keys': must be https: whoever"
            " can change the keys on their way can sign in as anyone",
        ),
        (
            JWT + 'algorithms = ["HS256"]',
            "identity.jwt[0].algorithms[0] is 'HS256': input should be 'RS256', 'RS384', 'RS512',"
            " 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512' or 'EdDSA'",
        ),
        (
            JWT + "algorithms = []",
            "identity.jwt[0].algorithms: must not be empty",
        ),
        (JWT + 'claim = "email"', "identity.jwt[0].claim is not known; did you mean claims?"),
        (
            JWT + 'claims = { user = "email" }',
            "identity.jwt[0].claims.user is not known; known are actor, teams",
        ),
        (
            JWT + 'claims = { teams = "groups" }',
            "identity.jwt[0]: claims.teams names the claim, and teams maps its values to teams;"
            " give both",
        ),
        (
            JWT + JWT,
            "identity.jwt[1].issuer is 'https://login.example.com' again; write one table per"
            " issuer",
        ),
    ],
)
def test_mistake_in_an_issuer_of_jwts_is_reported(
    config: Callable[..., Settings], toml: str, mistake: str
) -> None:
    assert mistakes(config, toml) == [mistake]


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]:8080", "localhost"])
def test_keys_may_come_without_tls_from_this_machine(
    config: Callable[..., Settings], host: str
) -> None:
    local = JWT.replace("https://login.example.com/keys", f"http://{host}/keys")
    assert config(local).jwt_issuers[0].jwks_url == f"http://{host}/keys"
