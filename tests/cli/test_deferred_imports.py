"""Modules that a running proxy does without, and that are loaded when they are needed."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from genai_prices.data import providers

_SERVE = """\
import signal, sys

from aibridge_addon.cli.plan import Plan
from aibridge_addon.cli.serving import serve

def report(proxy):
    sys.stdout.write("\\n".join(sys.modules))
    signal.raise_signal(signal.SIGTERM)

serve(Plan(modes=("regular@127.0.0.1:0",), sets=tuple(sys.argv[1:])), on_up=report)
"""
UNUSED = {
    *("flask", "jinja2", "werkzeug", "ldap3", "pyasn1", "pyparsing.core"),
    *("mitmproxy.contentviews", "ruamel.yaml.main", "mitmproxy.tools.web", "tornado"),
    *("mcp", "anyio", "httpx", "httpx2._client", "botocore", "psycopg", "jwt", "opentelemetry"),
    *("pydantic", "dateutil"),
}
"""Packages and modules that no request needs without configuration."""

_USE = """\
import sys

import aibridge_addon.cli
from aibridge_addon.redaction.rules import built_in_rules
from mitmproxy import command, flowfilter, optmanager

assert command.unquote("'a b'") == "a b"
assert command.unquote("'c d'") == "c d"
assert [str(part) for part in command.command_lexer.expr.parseString("a 'b c'")]
assert flowfilter.parse("~d example.com")
assert list(built_in_rules()) and "requests.sessions" not in sys.modules
assert optmanager.parse("anticache: true") == {"anticache": True}
"""


@pytest.mark.e2e
def test_running_proxy_has_not_imported_what_it_does_not_use(confdir: Path, tmp_path: Path) -> None:
    sets = f"confdir={confdir}", f"aibridge_db={tmp_path}/aibridge.sqlite3"
    proxy = subprocess.run(
        [sys.executable, "-c", _SERVE, *sets],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(proxy.stdout.split())
    assert "aibridge_addon.assembly" in imported
    assert imported & UNUSED == set()


_PRINT_PRICES = """\
import hashlib, sys
import aibridge_addon.cli
from genai_prices.data import providers

assert "pydantic" not in sys.modules
sys.stdout.write(hashlib.sha256(repr(providers).encode()).hexdigest())
"""


def test_price_data_without_pydantic_is_the_same() -> None:
    expected = hashlib.sha256(repr(providers).encode()).hexdigest()
    read = [sys.executable, "-c", _PRINT_PRICES]
    assert subprocess.check_output(read, text=True, timeout=60) == expected


def test_deferred_modules_are_loaded_at_their_first_use() -> None:
    subprocess.run([sys.executable, "-c", _USE], timeout=60, check=True)
