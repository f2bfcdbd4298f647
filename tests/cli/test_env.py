"""`aibridge env`: variables of each client, shells, logins, and the joined bundle."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from e2e.clients import ANTHROPIC_KEY
from e2e.records import read_records
from standin import Authority, Server

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.cli import client_setup
from aibridge_addon.cli.bundle import bundle_path, join_bundle, own_extra
from aibridge_addon.cli.client_setup import (
    LOCAL_HOSTS,
    ConnectionSettings,
    SetupError,
    variables,
)
from aibridge_addon.cli.connection import connect_to
from aibridge_addon.cli.env import SHELLS
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.providers import clients
from aibridge_addon.providers.clients import ANY_PROGRAM, CLIENTS, ClientProgram
from aibridge_addon.store import open_store
from cli.command import Home

CONNECTION = ConnectionSettings(
    forward_url="http://127.0.0.1:1",
    reverse_url="http://127.0.0.1:2",
    ca=Path("/ca.pem"),
    bundle=Path("/bundle.pem"),
    adding=Path("/ca.pem"),
    hosts=("api.anthropic.com", "api.openai.com"),
)
ANTHROPIC, OPENAI = "http://127.0.0.1:2/anthropic", "http://127.0.0.1:2/openai/v1"

EVERY_VARIABLE = {
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "NO_PROXY": "localhost,127.0.0.1,::1",
    "no_proxy": "localhost,127.0.0.1,::1",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
    "DENO_CERT": "/ca.pem",
    "NODE_USE_ENV_PROXY": "1",
    "SSL_CERT_FILE": "/bundle.pem",
    "REQUESTS_CA_BUNDLE": "/bundle.pem",
    "CURL_CA_BUNDLE": "/bundle.pem",
    "GIT_SSL_CAINFO": "/bundle.pem",
    "AWS_CA_BUNDLE": "/bundle.pem",
    "CODEX_CA_CERTIFICATE": "/bundle.pem",
}


# The table


@pytest.mark.parametrize("client", [*CLIENTS, ANY_PROGRAM], ids=lambda client: client.name)
def test_every_client_gets_all_proxy_and_ca_variables(client: ClientProgram) -> None:
    found = variables(client, CONNECTION, {})
    assert found.items() >= EVERY_VARIABLE.items()
    assert "HTTP_PROXY" not in found


def test_node_gets_base_urls_beside_the_forward_proxy() -> None:
    found = variables(clients.by_command("js"), CONNECTION, {})
    assert found["OPENAI_BASE_URL"] == OPENAI
    without = variables(clients.by_command("node"), replace(CONNECTION, reverse_url=None), {})
    assert "OPENAI_BASE_URL" not in without


@pytest.mark.parametrize(
    ("had", "kept"),
    [
        ("https://api.openai.com/v1", False),
        ("https://API.OPENAI.COM", False),
        ("", False),
        ("https://openrouter.ai/api/v1", True),
        ("http://127.0.0.1:4000", True),
        ("http://[nonsense", True),
    ],
)
def test_base_url_of_an_unknown_provider_is_not_replaced(had: str, kept: bool) -> None:
    """The key beside it belongs to that provider and must not be sent to another."""
    found = variables(clients.by_command("node"), CONNECTION, {"OPENAI_BASE_URL": had})
    assert ("OPENAI_BASE_URL" not in found) == kept
    assert found["ANTHROPIC_BASE_URL"] == ANTHROPIC


def test_http_proxy_is_set_only_for_a_remote_provider_without_tls() -> None:
    assert "HTTP_PROXY" not in variables(
        ANY_PROGRAM, replace(CONNECTION, plain_hosts=("127.0.0.1",)), {}
    )
    found = variables(ANY_PROGRAM, replace(CONNECTION, plain_hosts=("models.lan",)), {})
    assert found["http_proxy"] == found["HTTP_PROXY"] == CONNECTION.forward_url


GOOGLE = {
    "GOOGLE_GEMINI_BASE_URL": ANTHROPIC.replace("anthropic", "gemini"),
    "GOOGLE_VERTEX_BASE_URL": ANTHROPIC.replace("anthropic", "vertex"),
}
SDKS = {
    "ANTHROPIC_BASE_URL": ANTHROPIC,
    "ANTHROPIC_VERTEX_BASE_URL": ANTHROPIC.replace("anthropic", "vertex/v1"),
    "OPENAI_BASE_URL": OPENAI,
    **GOOGLE,
}
API_BASE = {"ANTHROPIC_API_BASE": ANTHROPIC, "OPENAI_API_BASE": OPENAI}
REVERSE = {
    "claude": {
        "ANTHROPIC_BASE_URL": ANTHROPIC,
        "ANTHROPIC_BEDROCK_BASE_URL": ANTHROPIC.replace("anthropic", "bedrock"),
        "ANTHROPIC_VERTEX_BASE_URL": ANTHROPIC.replace("anthropic", "vertex/v1"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    },
    "qwen": {"ANTHROPIC_BASE_URL": ANTHROPIC, "OPENAI_BASE_URL": OPENAI, **GOOGLE},
    "aider": API_BASE,
    "python": SDKS,
    "node": SDKS,
    "any": SDKS | API_BASE,
    "llm": {"ANTHROPIC_BASE_URL": ANTHROPIC, "OPENAI_BASE_URL": OPENAI},
}


@pytest.mark.parametrize("name", REVERSE)
def test_reverse_sets_base_urls_and_no_proxy_variables(name: str) -> None:
    found = variables(clients.by_command(name), CONNECTION, {}, reverse=True)
    local = ",".join(LOCAL_HOSTS)
    assert found == REVERSE[name] | {"NO_PROXY": local, "no_proxy": local}


@pytest.mark.parametrize(
    ("environ", "sets_key"),
    [({}, True), ({"GEMINI_API_KEY": "k"}, False), ({"GOOGLE_API_KEY": "k"}, False)],
)
def test_access_token_takes_the_place_of_a_missing_key_of_gemini(
    environ: dict[str, str], sets_key: bool
) -> None:
    connection = replace(CONNECTION, token="aib_t")
    found = variables(ANY_PROGRAM, connection, environ, reverse=True)
    assert (found.get("GEMINI_API_KEY") == "aib_t") == sets_key
    assert found["OPENAI_API_KEY"] == "aib_t"


def test_codex_reads_its_base_url_from_arguments() -> None:
    codex = clients.by_command("codex")
    words = ["-c", f'openai_base_url="{OPENAI}"']
    assert client_setup.arguments(codex, CONNECTION, reverse=True) == words
    assert client_setup.arguments(codex, CONNECTION, reverse=False) == []
    assert "OPENAI_BASE_URL" not in variables(codex, CONNECTION, {}, reverse=True)


def test_codex_uses_the_provider_instance_of_its_login() -> None:
    words = client_setup.arguments(
        clients.by_command("codex"), replace(CONNECTION, codex="chatgpt"), reverse=True
    )
    assert words == ["-c", 'openai_base_url="http://127.0.0.1:2/chatgpt/v1"']


TOKENS: dict[str, object] = {"tokens": {"access_token": "t"}}


@pytest.mark.parametrize(
    ("login", "environ", "instance"),
    [
        ({"auth_mode": "chatgpt", "OPENAI_API_KEY": None, **TOKENS}, {}, "chatgpt"),
        ({"OPENAI_API_KEY": None, **TOKENS}, {}, "chatgpt"),
        ({"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk", **TOKENS}, {}, "chatgpt"),
        ({"auth_mode": "chatgpt", **TOKENS}, {"CODEX_API_KEY": "sk"}, "openai"),
        ({"auth_mode": "apikey", "OPENAI_API_KEY": "sk"}, {}, "openai"),
        ({"OPENAI_API_KEY": "sk", **TOKENS}, {}, "openai"),
        ({"auth_mode": "of tomorrow"}, {}, "openai"),
        ([], {}, "openai"),
        (None, {}, "openai"),
    ],
)
def test_provider_instance_of_codex_follows_its_auth_file(
    shared: Home, tmp_path: Path, login: object, environ: dict[str, str], instance: str
) -> None:
    if login is not None:
        (tmp_path / "auth.json").write_text(json.dumps(login))
    env = {"CODEX_HOME": str(tmp_path), **environ}
    result = shared.invoke("env", "codex", "--reverse", env=env)
    assert f"/{instance}/v1" in result.stderr


def test_opencode_gets_base_urls_as_json_unless_it_has_a_configuration() -> None:
    opencode = clients.by_command("opencode")
    content = variables(opencode, CONNECTION, {}, reverse=True)["OPENCODE_CONFIG_CONTENT"]
    assert json.loads(content)["provider"] == {
        "anthropic": {"options": {"baseURL": f"{ANTHROPIC}/v1"}},
        "openai": {"options": {"baseURL": OPENAI}},
    }
    variables(opencode, CONNECTION, {"OPENCODE_CONFIG_CONTENT": content}, reverse=True)
    with pytest.raises(SetupError, match="would be lost"):
        variables(opencode, CONNECTION, {"OPENCODE_CONFIG_CONTENT": "{}"}, reverse=True)


@pytest.mark.parametrize("name", ["curl"])
def test_client_without_a_base_url_refuses_reverse(name: str) -> None:
    with pytest.raises(SetupError, match=name):
        variables(clients.by_command(name), CONNECTION, {}, reverse=True)


def test_missing_forward_or_reverse_proxy_is_an_error() -> None:
    with pytest.raises(SetupError, match="use --reverse"):
        variables(ANY_PROGRAM, replace(CONNECTION, forward_url=None), {})
    with pytest.raises(SetupError, match="leave --reverse out"):
        variables(ANY_PROGRAM, replace(CONNECTION, reverse_url=None), {}, reverse=True)


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("claude", "claude"),
        ("/usr/local/bin/codex", "codex"),
        ("Codex.EXE", "codex"),
        ("python3.13", "python"),
        ("uv", "python"),
        ("npx", "node"),
        ("curl", "curl"),
        ("curly", "any"),
        ("my-claude", "any"),
    ],
)
def test_executable_is_mapped_to_its_client(program: str, name: str) -> None:
    assert clients.by_executable(program).command == name


@pytest.mark.parametrize(
    ("had", "kept"),
    [
        ("intra.example,10.0.0.1", "intra.example,10.0.0.1"),
        ("*", ""),
        ("api.anthropic.com,a.b", "a.b"),
        (".anthropic.com, a.b ", "a.b"),
        ("*.openai.com,com,a.b", "a.b"),
        ("api.openai.com:443", ""),
        ("notopenai.com,localhost", "notopenai.com"),
    ],
)
def test_no_proxy_keeps_entries_that_do_not_cover_providers(had: str, kept: str) -> None:
    expected = ",".join(filter(None, [*LOCAL_HOSTS, kept]))
    assert variables(ANY_PROGRAM, CONNECTION, {"NO_PROXY": had})["no_proxy"] == expected
    assert (
        variables(ANY_PROGRAM, CONNECTION, {"no_proxy": had, "NO_PROXY": "z"})["NO_PROXY"]
        == expected
    )


# Shells

AWKWARD = 'a\'b \\ "c" $HOME `x`;\n*'


def test_sh_line_quotes_every_character() -> None:
    script = SHELLS["sh"]("NAME", AWKWARD) + '\nprintf %s "$NAME"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == AWKWARD


def test_fish_and_powershell_lines_are_quoted() -> None:
    assert SHELLS["fish"]("A", "it's a \\") == r"set -gx A 'it\'s a \\'"
    assert SHELLS["powershell"]("A", "it's $b") == "$env:A = 'it''s $b'"


# The command


def test_env_prints_a_line_for_each_variable(shared: Home) -> None:
    result = shared.invoke("env", "claude")
    assert result.exit_code == 0, result.output
    lines = dict(shlex.split(line)[1].split("=", 1) for line in result.stdout.splitlines())
    where = shared.proxy()
    assert lines["HTTPS_PROXY"] == where.forward_url
    assert lines["NODE_EXTRA_CA_CERTS"] == where.ca
    assert lines["SSL_CERT_FILE"] == str(shared.data / "ca-bundle.pem")


def test_env_takes_the_shell_from_the_environment(shared: Home) -> None:
    assert shared.invoke("env", env={"SHELL": "/usr/bin/fish"}).stdout.startswith("set -gx ")
    assert shared.invoke("env", "--shell", "powershell").stdout.startswith("$env:")


def test_env_prints_arguments_and_impossible_setups_to_stderr(shared: Home) -> None:
    result = shared.invoke("env", "codex", "--reverse")
    assert "codex -c 'openai_base_url=" in result.stderr
    assert "curl cannot" in shared.invoke("env", "curl", "--reverse").stderr


def test_gemini_gets_the_base_url_of_each_api_of_google() -> None:
    found = variables(clients.by_command("gemini"), CONNECTION, {}, reverse=True)
    assert found["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:2/gemini"
    assert found["GOOGLE_VERTEX_BASE_URL"] == "http://127.0.0.1:2/vertex"
    assert found["CODE_ASSIST_ENDPOINT"] == "http://127.0.0.1:2/code-assist"


def test_env_imports_no_large_package() -> None:
    script = (
        "import sys, aibridge_addon.cli.env, aibridge_addon.cli.usage, aibridge_addon.cli.run\n"
        "heavy = {'mitmproxy', 'anthropic', 'openai', 'mcp', 'rich', 'cryptography'}\n"
        "print(*heavy & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("\n", "")


def test_curl_uses_the_proxy_after_eval_of_env(shared: Home) -> None:
    before = len(read_records(shared.database).interceptions)
    body = '{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "by curl"}]}'
    aibridge = shlex.join([sys.executable, "-P", "-m", "aibridge_addon.cli"])
    ended = shared.shell(
        [
            *("sh", "-euc"),
            f'eval "$({aibridge} env curl)"; curl -sS --fail https://api.anthropic.com/v1/messages'
            f' -H "x-api-key: {ANTHROPIC_KEY}" -H "anthropic-version: 2023-06-01" -d {body!r}',
        ]
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["type"] == "message"
    [row] = read_records(shared.database).interceptions[before:]
    assert row["status"] == "completed"
    assert row["user_agent"].startswith("curl/")


def test_login_is_part_of_the_proxy_url(shared: Home) -> None:
    host = str(shared.proxy().forward_url).removeprefix("http://")
    by_variable = shared.invoke("env", env={"AIBRIDGE_LOGIN": "al:s/@:ß"})
    by_option = shared.invoke("env", "--login", "al:s/@:ß")
    for result in (by_variable, by_option):
        assert f"HTTPS_PROXY=http://al:s%2F%40%3A%C3%9F@{host}\n" in result.stdout


def test_missing_login_for_the_proxy_is_an_error(shared: Home) -> None:
    with pytest.raises(click.ClickException, match="AIBRIDGE_LOGIN"):
        connect_to(replace(shared.proxy(), needs_login=True))


@pytest.fixture
def with_tokens(shared: Home, tmp_path: Path) -> RunningProxy:
    """A proxy whose access tokens are in an existing, empty database."""
    database = tmp_path / "tokens.sqlite3"
    database.touch()
    return replace(shared.proxy(), tokens_in=str(database))


def make_token(proxy: RunningProxy, **values: str) -> str:
    """Create an access token for a proxy; return its text."""
    text, token = AccessToken.make("alice", **values)  # type: ignore[arg-type]
    open_store(proxy.tokens_in).add_access_token(token)
    return text


def test_access_token_without_a_user_becomes_the_password(with_tokens: RunningProxy) -> None:
    text = make_token(with_tokens)
    host = str(with_tokens.forward_url).removeprefix("http://")
    for login in (text, f"{text}:"):
        assert connect_to(with_tokens, login).forward_url == f"http://aibridge:{text}@{host}"
    assert connect_to(with_tokens, f"al:{text}").forward_url == f"http://al:{text}@{host}"


def test_login_that_the_proxy_would_refuse_is_an_error_without_its_secret(
    with_tokens: RunningProxy,
) -> None:
    connect_to(with_tokens, "al:secret")  # it requires no access token yet
    expired = make_token(with_tokens, expires_at="2026-01-31T10:00:00.000000+00:00")
    for login, why in (
        (expired, rf"{expired[4:14]} expired at 2026-01-31"),
        (AccessToken.make("eve")[0], r"[a-z2-7]{10} is not known to the proxy's database"),
        ("aib_something", "the access token is not known"),
        ("al:secret", "no access token"),
        (None, "requires a login"),
    ):
        with pytest.raises(click.ClickException, match=why) as caught:
            connect_to(with_tokens, login)
        assert not login or login not in str(caught.value)


def test_login_that_cannot_be_checked_is_accepted(with_tokens: RunningProxy) -> None:
    elsewhere = replace(with_tokens, tokens_in=f"{with_tokens.tokens_in}-of-somebody-else")
    assert connect_to(elsewhere, AccessToken.make("alice")[0])
    assert connect_to(replace(elsewhere, token_rule="always"), AccessToken.make("alice")[0])


# The joined bundle


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "aibridge"


def test_joined_bundle_verifies_tunnelled_and_intercepted_hosts(
    shared: Home, standin: Server, authority: Authority
) -> None:
    """The stand-in is tunnelled under its own name, like any public host."""
    shown = shared.invoke("env", "curl", env={"SSL_CERT_FILE": str(authority.path)})
    assert shown.exit_code == 0, shown.output
    lines = dict(shlex.split(line)[1].split("=", 1) for line in shown.stdout.splitlines())
    env = {name: value for name, value in lines.items() if name.lower() != "no_proxy"}
    for url in (f"{standin.origin}/v1/models", "https://api.anthropic.com/v1/models"):
        ended = shared.shell(["curl", "-sS", "--fail", "-H", "x-api-key: k", url], env=env)
        assert ended.returncode == 0, (url, ended.stderr)
        alone = shared.shell(
            ["curl", "-sS", url], env=env | {"CURL_CA_BUNDLE": str(authority.path)}
        )
        assert (alone.returncode == 0) == (url.startswith(standin.origin))
    assert shared.invoke("env").exit_code == 0  # with the system's again, for other tests


def test_joined_bundle_is_rewritten_only_after_a_change(data: Path, tmp_path: Path) -> None:
    system, ca = tmp_path / "system.pem", tmp_path / "ca.pem"
    system.write_text("SYSTEM")
    ca.write_text("CA ONE\n")
    environ = {"SSL_CERT_FILE": str(system)}
    path = join_bundle(ca, environ)
    assert path == data / "ca-bundle.pem"
    assert path.read_text() == "SYSTEM\nCA ONE\n"
    written = path.stat().st_ino
    assert join_bundle(ca, environ).stat().st_ino == written
    ca.write_text("CA TWO")
    join_bundle(ca, environ)
    assert path.read_text() == "SYSTEM\nCA TWO\n"
    assert [entry.name for entry in data.iterdir()] == ["ca-bundle.pem"]


def test_joined_bundle_does_not_include_itself(data: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("CA")
    first = join_bundle(ca, {}).read_bytes()
    assert b"-----BEGIN CERTIFICATE-----" in first
    again = {"SSL_CERT_FILE": str(bundle_path()), "NODE_EXTRA_CA_CERTS": str(bundle_path())}
    assert join_bundle(ca, again).read_bytes() == first
    assert join_bundle(ca, {"SSL_CERT_FILE": str(ca)}).read_bytes() == first


def test_joined_bundle_includes_the_users_extra_certificates(data: Path, tmp_path: Path) -> None:
    ca, extra = tmp_path / "ca.pem", tmp_path / "extra.pem"
    ca.write_text("CA")
    extra.write_text("-----BEGIN CERTIFICATE-----\nEXTRA")
    environ = {"NODE_EXTRA_CA_CERTS": str(extra)}
    assert own_extra(ca, environ) == extra
    assert "EXTRA" in join_bundle(ca, environ).read_text()
    for ours in (str(ca), str(bundle_path()), "/no/such/file", ""):
        assert own_extra(ca, {"NODE_EXTRA_CA_CERTS": ours}) is None
