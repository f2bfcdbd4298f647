"""`aibridge doctor`: each thing that can be wrong, with what to do about it."""

import asyncio
import json
import socket
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from e2e.proxy import free_port
from prometheus_client import CollectorRegistry
from sqlite_utils import Database
from standin import Authority, Server

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.cli import checks
from aibridge_addon.cli.authority import make_authority
from aibridge_addon.cli.bundle import join_bundle
from aibridge_addon.cli.checks import Finding
from aibridge_addon.config.settings import default_settings
from aibridge_addon.observe.health import Health
from aibridge_addon.observe.listener import Listener
from aibridge_addon.providers.routing import DEFAULT_PROVIDERS, Provider
from aibridge_addon.store import open_store
from aibridge_addon.store.sqlite import inspection
from aibridge_addon.store.sqlite.schema import migrate
from cli.command import Home

MCP_SERVER = Path(__file__).resolve().parents[1] / "mcp_server.py"
HOSTS = ("api.anthropic.com", "api.openai.com")


def levels(findings: list[Finding], about: str = "") -> list[str]:
    """Return how bad what was found is, about one thing or all."""
    return [finding.level for finding in findings if about in ("", finding.about)]


def only(findings: list[Finding], about: str) -> Finding:
    """Return what was found about a thing; it must say what to do if something is wrong."""
    [found] = [finding for finding in findings if finding.about == about]
    assert found.to_do or found.level == "ok"
    return found


def examine(home: Home, *words: str, **options: object) -> Result:
    """Run the doctor; nothing may break it."""
    result = home.invoke("doctor", *words, **options)  # type: ignore[arg-type]
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# The command


def test_where_all_is_well_it_says_so(shared: Home, authority: Authority) -> None:
    trusted = f"ssl_verify_upstream_trusted_ca={authority.path}"
    result = examine(shared, "--set", trusted)
    assert result.exit_code == 0, result.output
    assert "Nothing is broken" in result.output
    for part in (f"process {shared.proxy().pid}", "mitmproxy", str(shared.database), "anthropic"):
        assert part in result.output


def test_what_is_broken_makes_it_fail(home: Home) -> None:
    home.config.write_text("[[providers]]\nnonsense = 1\n")
    words = ("--config", str(home.config), "--db", str(home.path / "x"), "--set", "confdir=x")
    result = examine(home, *words)
    assert result.exit_code == 1
    assert "nonsense is not known" in result.output
    assert "broken" in result.output
    assert "api.anthropic.com, port" not in result.output  # who knows what is meant


def test_keys_are_tried_only_when_asked_and_never_shown(shared: Home, authority: Authority) -> None:
    trusted = ("--set", f"ssl_verify_upstream_trusted_ca={authority.path}")
    env = {"ANTHROPIC_API_KEY": "sk-ant-very-secret-0123456789", "OPENAI_API_KEY": "sk-secret-2"}
    result = examine(shared, *trusted, "--keys", env=env)
    assert "key of anthropic" in result.output
    assert "ANTHROPIC_API_KEY: 5 models" in result.output
    assert result.exit_code == 0, result.output
    assert "secret" not in result.output
    assert "key of" not in examine(shared, *trusted, env=env).output


def test_paths_are_whole_on_a_narrow_terminal(shared: Home) -> None:
    result = examine(shared, env={"COLUMNS": "40"})
    for path in (shared.database, shared.proxy().ca):
        assert any(str(path) in line for line in result.output.splitlines()), result.output
    about = next(line for line in result.output.splitlines() if "HTTPS_PROXY" in line)
    assert len(about.rstrip()) <= 60  # prose is folded: it stands beside the longest name


@pytest.mark.parametrize(
    ("text", "todo"),
    [(None, "is the path right?"), ("[[", "mend its syntax"), ("x = 1", "see the README")],
)
def test_a_config_file_that_is_no_use(tmp_path: Path, text: str | None, todo: str) -> None:
    path = tmp_path / "aibridge.toml"
    if text is not None:
        path.write_text(text)
    [found], _ = checks.config(str(path), {"aibridge_config": str(path)})
    assert found.level == "bad"
    assert found.to_do.startswith(todo)


def test_an_option_that_it_does_not_look_at_is_refused(home: Home) -> None:
    slip = examine(home, "--set", "aibridge_max_body_mb=5")
    assert "did you mean aibridge_max_body_mib?" in slip.stderr
    assert examine(home, "--set", "http2=true").exit_code == 2
    assert examine(home, "--set", "aibridge_max_body_mib=many").exit_code == 2


# Versions and ports


def test_versions_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(checks.versions()) == ["ok", "ok"]
    monkeypatch.setattr(checks, "version", lambda name: "11.1.3")
    monkeypatch.setattr(checks, "PYTHON", (4, 0))
    assert levels(checks.versions()) == ["bad", "bad"]


def test_ports_without_a_proxy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(home.path))
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        usual = {
            "forward proxy": taken.getsockname()[1],
            "reverse proxy": free.getsockname()[1],
        }
        found = checks.ports(None, usual)
    assert levels(found) == ["note", "note", "ok"]
    assert "--port" in found[1].to_do


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (Health(database="ok", mcp_servers={"a": "up", "b": "starting"}), ["ok"]),
        (Health(database="ok", mcp_servers={"a": "up", "b": "down"}), ["note"]),
        (Health(database="away", mcp_servers={"b": "down"}), ["bad", "note"]),
    ],
)
async def test_a_running_proxy_is_asked_how_it_is(
    shared: Home, health: Health, expected: list[str]
) -> None:
    address = ("127.0.0.1", free_port())
    listener = Listener(address, CollectorRegistry(), lambda: health)
    proxy = replace(shared.proxy(), metrics_url=f"http://127.0.0.1:{address[1]}")
    try:
        found = await asyncio.to_thread(checks.health, proxy)
    finally:
        listener.close()
    assert levels(found) == expected
    assert ("b" in found[-1].what.split()) == ("down" in health.mcp_servers.values())


def test_a_proxy_that_does_not_tell_how_it_is(shared: Home) -> None:
    assert checks.health(None) == []
    assert checks.health(replace(shared.proxy(), metrics_url=None)) == []
    nowhere = replace(shared.proxy(), metrics_url=f"http://127.0.0.1:{free_port()}")
    elsewhere = replace(shared.proxy(), metrics_url=shared.proxy().reverse_url)
    for proxy in (nowhere, elsewhere):
        assert only(checks.health(proxy), "health").level == "note"


# The CA


def test_a_ca_and_what_can_be_wrong_with_it(tmp_path: Path) -> None:
    assert levels(checks.authority(tmp_path)) == ["note"]
    make_authority(tmp_path, name="x", days=100)
    assert levels(checks.authority(tmp_path)) == ["ok"]
    key, public = tmp_path / "mitmproxy-ca.pem", tmp_path / "mitmproxy-ca-cert.pem"
    key.chmod(0o644)
    assert checks.authority(tmp_path)[1].to_do == f"chmod 600 {key}"
    key.chmod(0o600)
    public.write_text("nonsense")
    assert "not the certificate of the key" in checks.authority(tmp_path)[1].what
    key.write_text("nonsense")
    assert levels(checks.authority(tmp_path)) == ["bad"]


def test_a_ca_that_is_about_to_expire(tmp_path: Path) -> None:
    make_authority(tmp_path, name="x", days=5)
    [found] = checks.authority(tmp_path)
    assert (found.level, found.what) == ("note", "expires in 4 days")


# Variables


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CA's certificate, with a bundle beside it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    make_authority(tmp_path, name="x", days=100)
    return tmp_path / "mitmproxy-ca-cert.pem"


def test_a_shell_without_variables_goes_past(shared: Home, ca: Path) -> None:
    found = checks.variables({}, shared.proxy(), HOSTS, ca)
    assert only(found, "HTTPS_PROXY").level == "note"


def test_a_shell_that_is_set_up(shared: Home, ca: Path) -> None:
    proxy = shared.proxy()
    assert proxy.forward_url
    environ = {
        "HTTPS_PROXY": proxy.forward_url,
        "https_proxy": proxy.forward_url,
        "SSL_CERT_FILE": str(join_bundle(ca, {})),
        "NODE_EXTRA_CA_CERTS": str(ca),
        "OPENAI_BASE_URL": f"{proxy.reverse_url}/openai/v1",
    }
    found = checks.variables(environ, proxy, HOSTS, ca)
    assert levels(found) == ["ok"] * 4


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
def test_what_can_be_wrong_with_a_shell(
    shared: Home, ca: Path, name: str, value: str, level: str
) -> None:
    import certifi

    proxy = shared.proxy()
    value = {"CA": str(ca), "NONE": str(MCP_SERVER), "CERTIFI": certifi.where()}.get(value, value)
    environ = {"HTTPS_PROXY": str(proxy.forward_url), "SSL_CERT_FILE": str(join_bundle(ca, {}))}
    found = checks.variables(environ | {name: value}, proxy, HOSTS, ca)
    about = {"https_proxy": "HTTPS_PROXY", "no_proxy": "NO_PROXY"}.get(name, name)
    assert only(found, about).level == level


def test_a_shell_that_leads_elsewhere_or_nowhere(shared: Home, ca: Path) -> None:
    environ = {"HTTPS_PROXY": "http://proxy.example:3128"}
    assert only(checks.variables(environ, shared.proxy(), HOSTS, ca), "HTTPS_PROXY").level == "note"
    assert only(checks.variables(environ, None, HOSTS, ca), "HTTPS_PROXY").to_do


def test_a_shell_that_goes_by_the_proxy_and_trusts_nobody(shared: Home, ca: Path) -> None:
    environ = {"HTTPS_PROXY": str(shared.proxy().forward_url)}
    found = checks.variables(environ, shared.proxy(), HOSTS, ca)
    assert only(found, "SSL_CERT_FILE").level == "bad"


def test_a_login_in_the_proxys_url_leads_there_all_the_same(shared: Home, ca: Path) -> None:
    url = str(shared.proxy().forward_url).replace("://", "://alice:secret@")
    found = checks.variables({"HTTPS_PROXY": url}, shared.proxy(), HOSTS, ca)
    assert only(found, "HTTPS_PROXY").what == "leads to the proxy"
    assert "secret" not in f"{found}"
    assert only(found, "SSL_CERT_FILE").level == "bad"  # it goes on to look at these
    nonsense = checks.variables({"HTTPS_PROXY": "http://[::1"}, shared.proxy(), HOSTS, ca)
    assert only(nonsense, "HTTPS_PROXY").level == "note"


# Access tokens


def test_gateway_tokens_and_ones_own(database: Path) -> None:
    settings = default_settings(database=str(database))
    assert "not asked for; 0 good ones" in only(checks.tokens(None, settings, {}), "tokens").what
    text, token = AccessToken.make("alice", expires_at="2999-01-31T10:00:00.000000+00:00")
    open_store(database).add_access_token(token)
    found = checks.tokens(None, settings, {"AIBRIDGE_LOGIN": f"x:{text}"})
    assert only(found, "tokens").what == "asked for; 1 good one"
    own = only(found, "AIBRIDGE_LOGIN").what
    assert own == f"the token {token.id} of alice, good until 2999-01-31T10:00 UTC"
    open_store(database).revoke_access_tokens("alice")
    for finding in checks.tokens(None, settings, {"AIBRIDGE_LOGIN": text}):
        assert finding.level == "bad"
        assert finding.to_do
        assert text not in f"{finding}"


# The database


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An empty database of ours."""
    path = tmp_path / "aibridge.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        migrate(Database(connection))
    return path


def test_a_database_and_what_waits_beside_it(database: Path) -> None:
    settings = default_settings(database=str(database))
    [found] = checks.database(settings)
    assert found.level == "ok"
    assert "0 requests" in found.what
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO aibridge_interceptions (id, initiator_id, metadata, provider,"
            " provider_name, api, client, started_at) VALUES ('1', 'a', '{}', 'x', 'x', 'x', 'x',"
            " '')"
        )
    assert ", 1 request," in checks.database(settings)[0].what
    database.with_name(f"{database.name}.spool-1.jsonl").write_text("{}")
    database.with_name(f"{database.name}.rejected.jsonl").write_text("{}")
    found, *others = checks.database(settings)
    assert found.level == "ok"
    assert levels(others) == ["note", "note"]
    assert all(other.to_do for other in others)


def test_databases_that_cannot_be_used(database: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    other.write_text("nonsense" * 100)
    [found] = checks.database(default_settings(database=str(other)))
    assert (found.level, found.to_do) == (
        "bad",
        "move the file away, or name another database with --db",
    )
    [found] = checks.database(default_settings(database=str(tmp_path)))
    assert found.level == "bad"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('aibridge', 'm999_later', '')"
        )
    [found] = checks.database(default_settings(database=str(database)))
    assert "newer version" in found.what


def test_a_database_that_is_held(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_LOCK_MS", 1)
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        [found] = checks.database(default_settings(database=str(database)))
        holder.execute("ROLLBACK")
    assert found.level == "bad"
    assert "locked" in found.what


def test_a_database_that_is_not_there_yet(tmp_path: Path) -> None:
    [found] = checks.database(default_settings(database=str(tmp_path / "a" / "b.sqlite3")))
    assert found.level == "ok"
    assert not (tmp_path / "a").exists()
    [found] = checks.database(default_settings(recorder="mine:Recorder"))
    assert found.level == "note"


# Servers and providers


def test_mcp_servers_are_connected_and_their_tools_counted(home: Home, tmp_path: Path) -> None:
    servers = {
        "calc": {"command": sys.executable, "args": [str(MCP_SERVER), "stdio"]},
        "gone": {"url": "http://127.0.0.1:9/mcp"},
    }
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    _, settings = checks.config("", {"aibridge_mcp_config": str(path)})
    up, gone = checks.tool_servers(settings)
    assert up.level == "ok", up
    assert "tools" in up.what
    assert gone.level == "bad"
    assert gone.to_do


def test_providers_that_can_and_cannot_be_reached(standin: Server, authority: Authority) -> None:
    def provider(base_url: str) -> Provider:
        return Provider(name="x", type="anthropic", base_url=base_url, hosts=frozenset())

    trusted = str(authority.path)
    assert checks.reach(provider(standin.origin), trusted).level == "ok"
    distrusted = checks.reach(provider(standin.origin))
    assert "not trusted" in distrusted.what
    assert "ssl_verify_upstream_trusted_ca" in distrusted.to_do
    plain = standin.origin.replace("https", "http")
    assert checks.reach(provider(plain)).level == "ok"  # as far as TCP can tell
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refusing = provider(f"http://127.0.0.1:{bound.getsockname()[1]}")
        assert checks.reach(refusing).level == "bad"
    nowhere = checks.reach(provider("https://no-such-host.invalid"))
    assert nowhere.level == "bad"
    assert nowhere.to_do


def test_no_key_is_no_trouble() -> None:
    [found] = checks.keys(default_settings(), {}, None)
    assert found.level == "note"
    assert "ANTHROPIC_API_KEY" in found.what


def test_a_key_that_cannot_be_tried_is_not_shown() -> None:
    provider = Provider(
        name="x",
        type="openai",
        base_url="http://127.0.0.1:9/v1",
        hosts=frozenset(),
        api_key_env="KEY",
    )
    [found] = checks.keys(default_settings(providers=(provider,)), {"KEY": "sk-secret"}, None)
    assert found.level == "bad"
    assert "secret" not in f"{found}"


def test_a_key_that_is_refused(standin: Server, authority: Authority) -> None:
    # At a path where the stand-in knows nothing: an answer other than 200.
    provider = replace(DEFAULT_PROVIDERS[0], base_url=f"{standin.origin}/nowhere", api_key_env="K")
    [found] = checks.keys(
        default_settings(providers=(provider,)), {"K": "sk-ant-secret"}, str(authority.path)
    )
    assert found.level == "bad"
    assert "K is refused: HTTP 404" in found.what
