"""`[[alerts]]` of the config file: URLs, secrets from the environment, and mistakes."""

from pathlib import Path

import pytest

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import read_settings
from aibridge_addon.telemetry.alerts.event import EVENT_TYPES
from aibridge_addon.telemetry.alerts.webhook import Webhook

URL = "https://hooks.example.com/T000/secret-path"


def read(tmp_path: Path, text: str, **environ: str) -> tuple[Webhook, ...]:
    path = tmp_path / "aibridge.toml"
    path.write_text(text)
    return read_settings(default_values() | {"aibridge_config": str(path)}, environ).webhooks


def mistake(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text, **environ)
    return str(caught.value)


def test_webhook_sends_all_events_by_default(tmp_path: Path) -> None:
    [webhook] = read(tmp_path, f'[[alerts]]\nurl = "{URL}"')

    assert webhook == Webhook(url=URL, secret="", events=frozenset(EVENT_TYPES))
    assert webhook.host == "hooks.example.com"


def test_url_and_secret_come_from_the_environment(tmp_path: Path) -> None:
    text = '[[alerts]]\nurl_env = "HOOK"\nsecret_env = "KEY"\nevents = ["record_away"]'

    [webhook] = read(tmp_path, text, HOOK=URL, KEY="k-1")

    assert webhook == Webhook(url=URL, secret="k-1", events=frozenset({"record_away"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "alerts[0] must have either url or url_env"),
        (f'url = "{URL}"\nurl_env = "HOOK"', "alerts[0] must have either url or url_env"),
        ('url_env = "NONE"', "alerts[0].url_env is 'NONE', and the environment has no NONE"),
        (f'url = "{URL}"\nsecret_env = "NONE"', "alerts[0].secret_env is 'NONE'"),
        ('url_env = "BAD"', "alerts[0].url_env: the value of BAD must be a URL"),
        ('url = "ftp://x/y"', "alerts[0].url must be a URL such as"),
        (f'url = "{URL}"\nevents = ["budget"]', "alerts[0].events[0] is 'budget'"),
        (f'url = "{URL}"\nevent = []', "alerts[0].event is not known; did you mean events?"),
    ],
)
def test_mistake_names_the_key_and_shows_no_secret(
    tmp_path: Path, text: str, expected: str
) -> None:
    found = mistake(tmp_path, f"[[alerts]]\n{text}", HOOK=URL, BAD="secret-value")

    assert expected in found
    assert "secret-" not in found
