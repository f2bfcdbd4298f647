"""Keys of `[[providers]]` about key pools, retries and fallbacks."""

from pathlib import Path

import pytest

from aibridge_addon.config.file import ConfigFile, read_config_file
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.providers.central_keys import CentralKey

PROVIDER = """
[[providers]]
name = "acme"
type = "openai"
base_url = "https://api.acme.example/v1"
"""


def config(tmp_path: Path, text: str) -> ConfigFile:
    path = tmp_path / "config.toml"
    path.write_text(PROVIDER + text)
    return read_config_file(str(path))


def test_pool_and_rules_are_read(tmp_path: Path) -> None:
    file = config(
        tmp_path,
        'keys = [{ env = "A", organization = "eu", weight = 2 }, { env = "B" }]\n'
        "max_sends = 3\nretry_errors = true\nhead_timeout_s = 30\n"
        'fallbacks = [{ provider = "openai", models = { x = "y" } }]\n',
    )
    acme = file.provider_instances()[-1]
    assert acme.central_keys == (
        CentralKey(env="A", organization="eu", weight=2.0),
        CentralKey(env="B"),
    )
    rules = acme.resend
    assert (rules.max_sends, rules.retry_errors, rules.head_seconds) == (3, True, 30)
    [fallback] = rules.fallbacks
    assert (fallback.provider, fallback.models) == ("openai", {"x": "y"})
    assert fallback.on == {"overload", "circuit_open", "rate", "credential"}


def test_single_key_needs_no_pool_and_nothing_is_retried_by_default(tmp_path: Path) -> None:
    acme = config(tmp_path, 'api_key_env = "A"\n').provider_instances()[-1]
    assert acme.central_keys == (CentralKey(env="A"),)
    assert acme.keys == ()
    assert not acme.resend.retries


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('keys = [{ env = "A" }]\napi_key_env = "B"', "has keys and api_key_env"),
        ('keys = [{ env = "A" }, { env = "A" }]', r"keys\[1\].env is 'A' again"),
        ('keys = [{ env = "A", weight = 0 }]', "greater than 0"),
        ('keys = ["A"]', r"keys\[0\]"),
        ("max_sends = 0", "greater than or equal to 1"),
        ("head_timeout_s = 0", "greater than 0"),
        ('fallbacks = [{ provider = "gone", models = { x = "y" } }]', "no instance is named"),
        ('fallbacks = [{ provider = "acme", models = { x = "y" } }]', "the instance itself"),
        ('fallbacks = [{ provider = "anthropic", models = { x = "y" } }]', "another type"),
        (
            '[[providers]]\nname = "ours"\ntype = "azure"\nbase_url = "https://a.example"\n'
            'fallbacks = [{ provider = "azure", models = { x = "y" } }]',
            "no base_url; a fallback needs an address",
        ),
        ('fallbacks = [{ provider = "openai", models = {} }]', "must not be empty"),
        ('fallbacks = [{ provider = "openai", models = { x = "y" }, on = ["ever"] }]', "on"),
    ],
)
def test_mistakes_are_reported(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(SettingsError, match=mistake):
        config(tmp_path, text)


def test_key_in_place_of_a_variable_is_not_repeated(tmp_path: Path) -> None:
    secret = "sk-ant-api03-" + "x" * 40
    with pytest.raises(SettingsError) as caught:
        config(tmp_path, f'keys = [{{ env = "{secret}" }}]')
    assert secret not in str(caught.value)
