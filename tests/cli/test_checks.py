"""Checks of the doctor: everything that can be wrong, with what to do about it."""

import asyncio
import errno
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import certifi
import pytest
from locks import locked
from ports import free_port
from prometheus_client import CollectorRegistry
from sqlite_utils import Database
from standin import Authority, Server

from aibridge_addon.access.jwt.issuer import JWTIssuer
from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.cli import checks
from aibridge_addon.cli.authority import make_authority
from aibridge_addon.cli.bundle import join_bundle
from aibridge_addon.cli.checks import ports, versions
from aibridge_addon.cli.checks.installation import Installation, read_configuration
from aibridge_addon.cli.checks.providers import connect
from aibridge_addon.config.settings import default_settings
from aibridge_addon.findings import Finding
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.listener import Listener
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.instance import Provider
from aibridge_addon.store import open_store
from aibridge_addon.store.sqlite import inspection
from aibridge_addon.store.sqlite.schema import migrate
from cli.command import Home

MCP_SERVER = Path(__file__).resolve().parents[1] / "mcp_server.py"


def levels(findings: Iterable[Finding]) -> list[str]:
    """Return the levels of findings."""
    return [finding.level for finding in findings]


def only(findings: Iterable[Finding], about: str) -> Finding:
    """Return the finding about a subject; it must say what to do unless all is well."""
    [found] = [finding for finding in findings if finding.about == about]
    assert found.to_do or found.level == "ok"
    return found


def with_database(path: Path, **environ: str) -> Installation:
    """Return an installation whose database is a file."""
    return Installation(settings=default_settings(database=str(path)), environ=environ)


# Versions and ports


def test_supported_versions_pass() -> None:
    assert levels(versions.check_python(Installation())) == ["ok"]
    assert levels(versions.check_mitmproxy(Installation())) == ["ok"]


def test_unsupported_versions_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda name: "11.1.3")
    monkeypatch.setattr(versions, "PYTHON", (4, 0))
    for check in (versions.check_python, versions.check_mitmproxy):
        [found] = check(Installation())
        assert found.level == "bad"
        assert found.to_do


def test_ports_are_checked_while_no_proxy_is_running(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(home.path))
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        numbers = {
            "--port": ("forward proxy", taken.getsockname()[1]),
            "--reverse-port": ("reverse proxy", free.getsockname()[1]),
        }
        monkeypatch.setattr(ports, "PORTS", numbers)
        found = list(checks.check_ports(Installation()))
    assert levels(found) == ["note", "note", "ok"]
    assert "--port" in found[1].to_do


# Health


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (Health(database="ok", mcp_servers={"a": "up", "b": "starting"}), ["ok"]),
        (Health(database="ok", mcp_servers={"a": "up", "b": "down"}), ["note"]),
        (Health(database="away", mcp_servers={"b": "down"}), ["bad", "note"]),
    ],
)
async def test_health_of_the_running_proxy_is_reported(
    shared: Home, health: Health, expected: list[str]
) -> None:
    address = ("127.0.0.1", free_port())
    listener = Listener(address, CollectorRegistry(), lambda: health)
    proxy = replace(shared.proxy(), metrics_url=f"http://127.0.0.1:{address[1]}")
    try:
        found = await asyncio.to_thread(
            lambda: list(checks.check_health(Installation(proxy=proxy)))
        )
    finally:
        listener.close()
    assert levels(found) == expected
    assert ("b" in found[-1].what.split()) == ("down" in health.mcp_servers.values())


def test_health_is_not_checked_without_a_metrics_url(shared: Home) -> None:
    assert list(checks.check_health(Installation())) == []
    without = Installation(proxy=replace(shared.proxy(), metrics_url=None))
    assert list(checks.check_health(without)) == []


def test_missing_or_odd_health_response_is_a_note(shared: Home) -> None:
    nowhere = replace(shared.proxy(), metrics_url=f"http://127.0.0.1:{free_port()}")
    not_health = replace(shared.proxy(), metrics_url=shared.proxy().reverse_url)
    for proxy in (nowhere, not_health):
        found = checks.check_health(Installation(proxy=proxy))
        assert only(found, "health").level == "note"


# The CA


def test_mistakes_in_the_files_of_a_ca_are_reported(tmp_path: Path) -> None:
    def check() -> list[Finding]:
        return list(checks.check_authority(Installation(ca_folder=tmp_path)))

    assert levels(check()) == ["note"]
    make_authority(tmp_path, name="x", days=100)
    assert levels(check()) == ["ok"]
    key, public = tmp_path / "mitmproxy-ca.pem", tmp_path / "mitmproxy-ca-cert.pem"
    key.chmod(0o644)
    assert check()[1].to_do == f"chmod 600 {key}"
    key.chmod(0o600)
    public.write_text("nonsense")
    assert "not the certificate of the key" in check()[1].what
    key.write_text("nonsense")
    assert levels(check()) == ["bad"]


def test_ca_that_expires_soon_is_a_note(tmp_path: Path) -> None:
    make_authority(tmp_path, name="x", days=5)
    [found] = checks.check_authority(Installation(ca_folder=tmp_path))
    assert (found.level, found.what) == ("note", "expires in 4 days")


# Variables


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Certificate of a CA in a folder of the test's own, which also gets the joined bundle."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    make_authority(tmp_path, name="x", days=100)
    return tmp_path / "mitmproxy-ca-cert.pem"


type CheckVariables = Callable[..., list[Finding]]


@pytest.fixture
def check_variables(shared: Home, ca: Path) -> CheckVariables:
    """Function that checks variables, by default with a running proxy."""

    def check(environ: dict[str, str], *, has_proxy: bool = True) -> list[Finding]:
        proxy = shared.proxy() if has_proxy else None
        installation = Installation(proxy=proxy, ca_folder=ca.parent, environ=environ)
        return list(checks.check_variables(installation))

    return check


def test_shell_without_variables_is_a_note(check_variables: CheckVariables) -> None:
    assert only(check_variables({}), "HTTPS_PROXY").level == "note"


def test_shell_with_all_variables_passes(
    shared: Home, ca: Path, check_variables: CheckVariables
) -> None:
    proxy = shared.proxy()
    assert proxy.forward_url
    environ = {
        "HTTPS_PROXY": proxy.forward_url,
        "https_proxy": proxy.forward_url,
        "SSL_CERT_FILE": str(join_bundle(ca, {})),
        "NODE_EXTRA_CA_CERTS": str(ca),
        "OPENAI_BASE_URL": f"{proxy.reverse_url}/openai/v1",
    }
    assert levels(check_variables(environ)) == ["ok"] * 4


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("https_proxy", "http://127.0.0.1:9", "bad"),
        ("SSL_CERT_FILE", "CA", "bad"),
        ("SSL_CERT_FILE", "/no/such/file", "bad"),
        ("NODE_EXTRA_CA_CERTS", "NONE", "bad"),
        ("CURL_CA_BUNDLE", "CERTIFI", "bad"),
        ("NO_PROXY", "*", "note"),
        ("no_proxy", "a.b, .anthropic.com", "note"),
        ("ANTHROPIC_BASE_URL", "http://localhost:9/anthropic", "note"),
    ],
)
def test_wrong_variable_is_reported(
    shared: Home, ca: Path, check_variables: CheckVariables, name: str, value: str, level: str
) -> None:
    value = {"CA": str(ca), "NONE": str(MCP_SERVER), "CERTIFI": certifi.where()}.get(value, value)
    environ = {
        "HTTPS_PROXY": str(shared.proxy().forward_url),
        "SSL_CERT_FILE": str(join_bundle(ca, {})),
    }
    about = {"https_proxy": "HTTPS_PROXY", "no_proxy": "NO_PROXY"}.get(name, name)
    assert only(check_variables(environ | {name: value}), about).level == level


def test_variable_for_another_proxy_or_none_is_a_note(check_variables: CheckVariables) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example:3128"}
    assert only(check_variables(environ), "HTTPS_PROXY").level == "note"
    assert only(check_variables(environ, has_proxy=False), "HTTPS_PROXY").to_do


def test_shell_that_uses_the_proxy_without_ca_variables_is_broken(
    shared: Home, check_variables: CheckVariables
) -> None:
    environ = {"HTTPS_PROXY": str(shared.proxy().forward_url)}
    assert only(check_variables(environ), "SSL_CERT_FILE").level == "bad"


def test_login_in_the_proxy_url_is_ignored_and_not_shown(
    shared: Home, check_variables: CheckVariables
) -> None:
    url = str(shared.proxy().forward_url).replace("://", "://alice:secret@")
    found = check_variables({"HTTPS_PROXY": url})
    assert only(found, "HTTPS_PROXY").what == "points to the proxy"
    assert "secret" not in f"{found}"
    assert only(found, "SSL_CERT_FILE").level == "bad"  # the CA variables are checked as well


def test_proxy_variable_that_is_no_url_is_a_note(check_variables: CheckVariables) -> None:
    assert only(check_variables({"HTTPS_PROXY": "http://[::1"}), "HTTPS_PROXY").level == "note"


# The configuration


@pytest.mark.parametrize(
    ("text", "to_do"),
    [(None, "check the path"), ("[[", "correct its syntax"), ("x = 1", "see this key")],
)
def test_unusable_config_file_is_reported(tmp_path: Path, text: str | None, to_do: str) -> None:
    path = tmp_path / "aibridge.toml"
    if text is not None:
        path.write_text(text)
    settings, mistakes = read_configuration({"aibridge_config": str(path)})
    installation = Installation(settings=settings, mistakes=mistakes, config=str(path))
    [found] = checks.check_config(installation)
    assert found.level == "bad"
    assert found.to_do.startswith(to_do)


# Access tokens


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An empty database with our schema."""
    path = tmp_path / "aibridge.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        migrate(Database(connection))
    return path


def test_database_without_access_tokens_requires_none(database: Path) -> None:
    found = only(checks.check_access_tokens(with_database(database)), "access tokens")
    assert found.what == "not required; 0 valid access tokens"


def test_valid_access_token_of_the_shell_is_reported(database: Path) -> None:
    text, token = AccessToken.make("alice", expires_at="2999-01-31T10:00:00.000000+00:00")
    open_store(database).add_access_token(token)
    installation = with_database(database, AIBRIDGE_LOGIN=f"x:{text}")
    found = list(checks.check_access_tokens(installation))
    assert only(found, "access tokens").what == "required; 1 valid access token"
    expected = f"access token {token.id} of alice, valid until 2999-01-31T10:00 UTC"
    assert only(found, "AIBRIDGE_LOGIN").what == expected


def test_revoked_access_token_is_reported_without_its_secret(database: Path) -> None:
    text, token = AccessToken.make("alice")
    open_store(database).add_access_token(token)
    open_store(database).revoke_access_tokens("alice")
    found = list(checks.check_access_tokens(with_database(database, AIBRIDGE_LOGIN=text)))
    assert levels(found) == ["bad", "bad"]
    assert all(finding.to_do for finding in found)
    assert text not in f"{found}"


# The database


def test_usable_database_is_reported_with_its_number_of_requests(database: Path) -> None:
    [found] = checks.check_database(with_database(database))
    assert found.level == "ok"
    assert "0 requests" in found.what
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO aibridge_interceptions (id, initiator_id, metadata, provider,"
            " provider_name, api, client, started_at) VALUES ('1', 'a', '{}', 'x', 'x', 'x', 'x',"
            " '')"
        )
    [found] = checks.check_database(with_database(database))
    assert ", 1 request," in found.what


def test_spooled_and_rejected_records_are_notes(database: Path) -> None:
    database.with_name(f"{database.name}.spool-1.jsonl").write_text("{}")
    database.with_name(f"{database.name}.rejected.jsonl").write_text("{}")
    found, *others = checks.check_database(with_database(database))
    assert found.level == "ok"
    assert levels(others) == ["note", "note"]
    assert all(other.to_do for other in others)


def test_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    other.write_text("nonsense" * 100)
    [found] = checks.check_database(with_database(other))
    assert found.level == "bad"
    assert found.to_do == "move the file away, or name another database with --db"
    [found] = checks.check_database(with_database(tmp_path))
    assert found.level == "bad"


def test_database_of_a_newer_version_is_reported(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('aibridge', 'm999_later', '')"
        )
    [found] = checks.check_database(with_database(database))
    assert found.what == f"{database}: a newer version has migrated it: m999_later"


def test_database_that_cannot_be_written_is_reported(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: str) -> None:
        assert (path, mode) == (database, "r+b")
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    monkeypatch.setattr(Path, "open", refuse)  # permissions do not bind root
    [found] = checks.check_database(with_database(database))
    assert found.level == "bad"
    assert found.what == f"{database}: Operation not permitted"
    assert "make the file writable" in found.to_do


@pytest.mark.parametrize(
    ("mib", "levels_of"), [(300, ["ok"]), (9, ["ok", "note"]), (0, ["ok", "bad"])]
)
def test_full_disk_is_reported(
    database: Path, monkeypatch: pytest.MonkeyPatch, mib: int, levels_of: list[str]
) -> None:
    usage = SimpleNamespace(free=mib * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = checks.check_database(with_database(database))
    assert levels(found) == levels_of


def test_locked_database_is_reported(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_LOCK_MS", 1)
    with locked(database):
        [found] = checks.check_database(with_database(database))
    assert found.level == "bad"
    assert found.what == f"{database}: database is locked"
    assert "end the program that has locked it" in found.to_do


def test_check_does_not_create_a_missing_database(tmp_path: Path) -> None:
    [found] = checks.check_database(with_database(tmp_path / "a" / "b.sqlite3"))
    assert found.level == "ok"
    assert not (tmp_path / "a").exists()


def test_recorder_of_the_user_is_a_note() -> None:
    settings = default_settings(recorder="mine:Recorder")
    assert levels(checks.check_database(Installation(settings=settings))) == ["note"]


# MCP servers


@pytest.mark.e2e  # starts MCP servers
def test_mcp_servers_are_connected_and_their_tools_counted(tmp_path: Path) -> None:
    servers = {
        "calc": {"command": sys.executable, "args": [str(MCP_SERVER), "stdio"]},
        "gone": {"url": "http://127.0.0.1:9/mcp"},
    }
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    settings, _ = read_configuration({"aibridge_mcp_config": str(path)})
    up, gone = checks.check_tool_servers(Installation(settings=settings))
    assert up.level == "ok", up
    assert "tools" in up.what
    assert gone.level == "bad"
    assert gone.to_do


# Providers and keys


def provider_at(base_url: str) -> Provider:
    """Return a provider instance at a base URL, whose key is in the variable KEY."""
    return Provider(
        name="x", type="anthropic", base_url=base_url, hosts=frozenset(), api_key_env="KEY"
    )


def test_reachable_provider_with_a_trusted_certificate_passes(
    standin: Server, authority: Authority
) -> None:
    assert connect(provider_at(standin.origin), str(authority.path)).level == "ok"


def test_untrusted_certificate_of_a_provider_is_reported(standin: Server) -> None:
    found = connect(provider_at(standin.origin))
    assert "not trusted" in found.what
    assert "ssl_verify_upstream_trusted_ca" in found.to_do


def test_provider_without_tls_is_checked_by_tcp(standin: Server) -> None:
    assert connect(provider_at(standin.origin.replace("https", "http"))).level == "ok"


def test_unreachable_provider_is_reported() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refusing = provider_at(f"http://127.0.0.1:{bound.getsockname()[1]}")
        assert connect(refusing).level == "bad"
    unknown = connect(provider_at("https://no-such-host.invalid"))
    assert unknown.level == "bad"
    assert unknown.to_do


def check_key(provider: Provider, trusted: str | None = None) -> Finding:
    """Check the key sk-secret of a provider."""
    installation = Installation(
        settings=default_settings(providers=(provider,)),
        environ={"KEY": "sk-secret"},
        trusted=trusted,
    )
    [found] = checks.check_keys(installation)
    assert "secret" not in f"{found}"
    return found


def test_missing_keys_are_a_note() -> None:
    [found] = checks.check_keys(Installation())
    assert found.level == "note"
    assert "ANTHROPIC_API_KEY" in found.what


@pytest.mark.parametrize("default", DEFAULT_PROVIDERS[:2], ids=lambda default: default.type)
def test_accepted_key_is_reported_with_the_number_of_models(
    standin: Server, authority: Authority, default: Provider
) -> None:
    path = "/v1" if default.type == "openai" else ""
    local = replace(default, base_url=f"{standin.origin}{path}", api_key_env="KEY")
    found = check_key(local, str(authority.path))
    assert (found.level, found.what) == ("ok", "KEY: 5 models")


def test_refused_key_is_reported_with_the_status(standin: Server, authority: Authority) -> None:
    # A path that the stand-in does not know, so that it responds with an error.
    found = check_key(provider_at(f"{standin.origin}/nowhere"), str(authority.path))
    assert found.level == "bad"
    assert "KEY is refused: HTTP 404" in found.what


def test_each_key_of_a_pool_is_checked(standin: Server, authority: Authority) -> None:
    keys = tuple(CentralKey(env=name) for name in ("GOOD", "BAD", "MISSING"))
    provider = replace(provider_at(standin.origin), api_key_env=None, keys=keys)
    installation = Installation(
        settings=default_settings(providers=(provider,)),
        environ={"GOOD": "k-1", "BAD": "k-2"},
        trusted=str(authority.path),
    )
    found = {finding.what for finding in checks.check_keys(installation)}
    assert found == {"MISSING is not set", "GOOD: 5 models", "BAD: 5 models"}


def test_key_of_an_unreachable_provider_cannot_be_checked() -> None:
    assert check_key(provider_at("http://127.0.0.1:9")).level == "bad"


def test_keys_are_checked_without_the_sdks() -> None:
    script = (
        "import sys; sys.modules['anthropic'] = sys.modules['openai'] = None\n"
        "from aibridge_addon.cli import checks\n"
        "from aibridge_addon.cli.checks.installation import Installation\n"
        "print(*(found.level for found in checks.check_keys(Installation())))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "note\n", ended.stderr


# Identity


def test_issuer_of_jwts_whose_keys_cannot_be_read_is_reported() -> None:
    issuer = JWTIssuer(
        issuer="https://login.example.com",
        audiences=("aibridge",),
        jwks_url=f"http://127.0.0.1:{free_port()}/keys",
    )
    found = checks.check_identity(Installation(settings=default_settings(jwt_issuers=(issuer,))))
    finding = only(found, "JWT https://login.example.com")
    assert finding.level == "bad"
    assert issuer.jwks_url in finding.what
    assert list(checks.check_identity(Installation(settings=default_settings()))) == []
