"""Settings that a child process reads are the settings that this process would read."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e  # each starts a process

_CONFIG = """\
[[providers]]
name = "anthropic"
type = "anthropic"
base_url = "http://127.0.0.1:1"
hosts = ["api.example.com", "*.example.org"]
max_sends = 2
keys = [{ env = "FIRST_KEY" }, { env = "SECOND_KEY", weight = 2 }]
fallbacks = [{ provider = "second", models = { "*" = "claude-x" } }]

[[providers]]
name = "second"
type = "anthropic"
base_url = "http://127.0.0.1:2"
price_as = "azure"

[[actors]]
match = "alice"
id = "alice@example.com"
metadata = { team = "blue", level = 2 }

[[front_proxies]]
networks = ["10.0.0.0/8"]
actor_header = "x-user"

[identity]
revoked_actors = ["mallory"]

[[identity.jwt]]
issuer = "https://id.example.com"
audience = "ai"
jwks_url = "https://id.example.com/keys"

[[prices]]
match = "gpt-*"
from = 2026-01-01
input = 1.25
output = 10

[[redact]]
name = "ticket"
pattern = "TICKET-[0-9]{6}"

[[budgets]]
name = "day"
usd = 10.5
timezone = "Europe/Berlin"

[[limits]]
name = "people"
requests_per_minute = 60

[[model_rules]]
deny = ["forbidden-*"]

[[alerts]]
url = "https://alerts.example.com/hook"
"""

_READ = """\
import os
import sys

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import read_settings
from aibridge_addon.config.settings_process import read_settings_apart

correct, wrong = sys.argv[1:]

def options(path):
    return default_values() | {"aibridge_config": path}

def mistakes(read):
    try:
        read(options(wrong))
    except SettingsError as error:
        return str(error)

before = os.listdir("/dev/fd")
mistakes_apart = mistakes(read_settings_apart)
assert os.listdir("/dev/fd") == before, "a wrong config file leaves nothing open"
apart = read_settings_apart(options(correct))
assert "pydantic" not in sys.modules
assert apart.budgets and apart.webhooks and apart.jwt_issuers
assert apart == read_settings_apart(options(correct)) == read_settings(options(correct))
assert mistakes_apart == mistakes(read_settings) is not None
"""

_PACK = """\
import asyncio
import os
import sys

from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings_process import read_settings_apart
from aibridge_addon.prices import price_data

async def settings_once_the_child_is_reaped():
    settings = read_settings_apart(default_values() | {"aibridge_config": sys.argv[1]})
    while True:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return settings
        await asyncio.sleep(0.01)

settings = asyncio.run(settings_once_the_child_is_reaped())
price_data.load()
sellers = {seller.id for seller in settings.prices.sellers.values() if seller}
packed = {id_: price_data.providers_of(id_) for id_ in sellers}
assert len(packed["azure"]) > 1 and "genai_prices.data" not in sys.modules
price_data.providers_of.cache_clear()
price_data._packed.clear()
assert packed == {id_: price_data.providers_of(id_) for id_ in sellers}
"""

_READ_HERE = """\
import sys

from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings_process import read_settings_apart

(path,) = sys.argv[1:]
settings = read_settings_apart(default_values() | {"aibridge_config": path})
assert settings.mcp_servers and "pydantic" in sys.modules
"""


def _run(script: str, *arguments: Path) -> None:
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], timeout=60, check=True)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_settings_of_a_child_process_equal_those_of_this_process(tmp_path: Path) -> None:
    correct = _written(tmp_path / "correct.toml", _CONFIG)
    wrong = _written(tmp_path / "wrong.toml", _CONFIG + "[unknown]\n")
    _run(_READ, correct, wrong)


def test_child_process_is_reaped_and_packs_the_price_data_of_the_package(tmp_path: Path) -> None:
    _run(_PACK, _written(tmp_path / "correct.toml", _CONFIG))


def test_config_with_mcp_servers_is_read_in_this_process(tmp_path: Path) -> None:
    servers = '[[mcp_servers]]\nname = "files"\ncommand = "files"\n'
    _run(_READ_HERE, _written(tmp_path / "servers.toml", servers))
