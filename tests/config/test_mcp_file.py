"""MCP servers in both kinds of configuration: reading, mistakes, and hidden secrets."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import Settings, read_settings
from aibridge_addon.tools.names import InjectionFilter
from aibridge_addon.tools.server_config import ServerConfig

SECRET = "s3cr3t-value"
ENVIRON = {"TOKEN": SECRET, "EMPTY": "", "HOST": "mcp.internal.example", "BROKEN": f"{SECRET}\n\nx"}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that reads settings with a TOML text and a JSON document."""

    def read(toml: str = "", document: object = None, text: str | None = None) -> Settings:
        paths = {"aibridge_config": "", "aibridge_mcp_config": ""}
        if toml:
            path = tmp_path / "aibridge.toml"
            path.write_text(toml, encoding="utf-8")
            paths["aibridge_config"] = str(path)
        if document is not None or text is not None:
            path = tmp_path / "mcp.json"
            path.write_text(json.dumps(document) if text is None else text, encoding="utf-8")
            paths["aibridge_mcp_config"] = str(path)
        options = default_values()
        return read_settings(options | paths, ENVIRON)

    return read


@pytest.fixture
def mistakes(read: Callable[..., Settings]) -> Callable[..., list[str]]:
    """Return a function that returns the lines of the error, without the paths of the files."""

    def mistakes(*args: object, **kwargs: object) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            read(*args, **kwargs)
        assert SECRET not in str(caught.value)
        return [re.sub(r" /\S+\.(toml|json)", "", line) for line in str(caught.value).splitlines()]

    return mistakes


def server(read: Callable[..., Settings], toml: str) -> ServerConfig:
    found: ServerConfig
    (found,) = read(f"[[mcp_servers]]\n{toml}").mcp_servers
    return found


# Reading


def test_no_mcp_servers_and_no_injection_limits_by_default(read: Callable[..., Settings]) -> None:
    settings = read()

    assert settings.mcp_servers == ()
    assert settings.injection == InjectionFilter()
    assert (settings.tool_call_seconds, settings.tool_loop_seconds) == (60, 600)
    assert (settings.tool_iterations, settings.tool_result_bytes) == (25, 256 * 1024)


def test_mcp_server_with_a_url_is_read(read: Callable[..., Settings]) -> None:
    found = server(
        read,
        """
        name = "deepwiki"
        url = "https://mcp.deepwiki.com/mcp"
        headers = { Authorization = "Bearer ${TOKEN}", X-Plain = "1" }
        allow = "^ask_question$"
        deny = ""
        timeout_s = 5
        """,
    )

    assert found == ServerConfig(
        name="deepwiki",
        transport="http",
        shown_url="https://mcp.deepwiki.com/mcp",
        url="https://mcp.deepwiki.com/mcp",
        headers={"Authorization": f"Bearer {SECRET}", "X-Plain": "1"},
        allow=re.compile("^ask_question$"),
        timeout_s=5,
        secrets=found.secrets,
    )


def test_mcp_server_that_is_a_program_is_read(read: Callable[..., Settings]) -> None:
    found = server(
        read,
        """
        name = "files"
        command = "${EMPTY:-npx}"
        args = ["-y", "server", "--token=${TOKEN}"]
        env = { KEY = "${TOKEN}" }
        cwd = "/srv"
        """,
    )

    assert found == ServerConfig(
        name="files",
        transport="stdio",
        shown_url="stdio:${EMPTY}",
        command="npx",
        args=("-y", "server", f"--token={SECRET}"),
        env={"KEY": SECRET},
        cwd="/srv",
        secrets=found.secrets,
    )


def test_sse_transport_is_chosen_by_the_type(read: Callable[..., Settings]) -> None:
    assert server(read, 'name="s"\ntype="sse"\nurl="http://h/sse"').transport == "sse"


def test_mcp_servers_file_of_other_programs_is_read(read: Callable[..., Settings]) -> None:
    settings = read(
        document={
            "numStartups": 3,
            "mcpServers": {
                "GitHub Enterprise": {
                    "type": "streamable-http",
                    "url": "https://${HOST}/mcp/",
                    "headers": {"Authorization": "Bearer ${env:TOKEN}"},
                    "autoApprove": ["x"],
                },
                "files": {"command": "npx", "args": ["-y", "server"], "env": {"A": "b"}},
                "events": {"type": "sse", "url": "http://localhost/sse"},
                "old": {"command": "npx", "disabled": True},
            },
        }
    )

    assert [(s.name, s.transport, s.shown_url) for s in settings.mcp_servers] == [
        ("github-enterprise", "http", "https://${HOST}/mcp/"),
        ("files", "stdio", "stdio:npx"),
        ("events", "sse", "http://localhost/sse"),
    ]
    assert settings.mcp_servers[0].url == "https://mcp.internal.example/mcp/"
    assert settings.mcp_servers[0].headers == {"Authorization": f"Bearer {SECRET}"}
    assert settings.mcp_servers[1].env == {"A": "b"}


def test_mcp_server_names_are_unique_across_both_files(read: Callable[..., Settings]) -> None:
    settings = read(
        '[[mcp_servers]]\nname = "files"\nurl = "http://h/mcp"',
        {"mcpServers": {"files": {"command": "a"}, "Files": {"command": "b"}}},
    )
    first, *others = [found.name for found in settings.mcp_servers]

    assert first == "files"
    assert len({first, *others}) == 3
    assert all(re.fullmatch("files-[0-9a-f]{8}", name) for name in others)


def test_injection_limits_are_read(read: Callable[..., Settings]) -> None:
    settings = read('[injection]\nactors = ["alice"]\nmodels = ["claude-*"]')

    assert settings.injection == InjectionFilter(actors=("alice",), models=("claude-*",))


# Variables


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${TOKEN}", SECRET),
        ("a${TOKEN}b${HOST}", f"a{SECRET}bmcp.internal.example"),
        ("${UNSET:-default}", "default"),
        ("${UNSET:-}", ""),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("$TOKEN and $5", "$TOKEN and $5"),
    ],
)
def test_environment_variables_are_expanded(
    read: Callable[..., Settings], written: str, value: Any
) -> None:
    assert server(read, f'name="s"\ncommand="c"\nargs=["{written}"]').args == (value,)


@pytest.mark.parametrize(
    "entry",
    [
        'url = "https://h/${UNSET}"',
        'url = "https://h/"\nheaders = { A = "${UNSET}" }',
        'command = "${UNSET}"',
        'command = "c"\nargs = ["a", "${UNSET}"]',
        'command = "c"\nenv = { A = "${UNSET}" }',
    ],
)
def test_unset_environment_variable_is_reported_with_its_key(
    mistakes: Callable[..., list[str]], entry: str
) -> None:
    key = {"headers": "headers.A", "args": "args[1]", "env": "env.A"}.get(
        entry.split("\n")[-1].split(" ")[0], entry.split(" ")[0]
    )

    assert mistakes(f'[[mcp_servers]]\nname = "s"\n{entry}') == [
        f"aibridge_config: mcp_servers[0].{key} has ${{UNSET}}, and the environment has no UNSET;"
        " set it, or write ${UNSET:-default}"
    ]


# Mistakes


@pytest.mark.parametrize(
    ("entry", "mistake"),
    [
        ("", "mcp_servers[0] has neither url nor command; add one of them"),
        (
            'url = "http://h"\ncommand = "c"',
            "mcp_servers[0] has both url and command; remove one of them",
        ),
        (
            'type = "stdio"\nurl = "http://h"',
            "mcp_servers[0].command is missing; a stdio server is a program to run",
        ),
        (
            'type = "sse"\ncommand = "c"',
            "mcp_servers[0].url is missing; type 'sse' is reached by URL",
        ),
        (
            'command = "c"\nheaders = { A = "b" }',
            "mcp_servers[0].headers is only for servers reached by URL",
        ),
        (
            'url = "http://h"\nargs = ["a"]',
            "mcp_servers[0].args is only for servers of type stdio",
        ),
        ('url = "ftp://h"', "mcp_servers[0].url must be a URL such as https://mcp.example.com/mcp"),
        ('url = "http://h:x/"', "mcp_servers[0].url must be a URL such as"),
        ('url = "http://[h/"', "mcp_servers[0].url must be a URL such as"),
        ('url = "http://${TOKEN} /"', "mcp_servers[0].url must be a URL such as"),
        ('url = "http://h/${TOKEN"', "mcp_servers[0].url has a ${ that names no variable; write"),
        (
            'url = "http://h"\nheaders = { A = "${BROKEN}" }',
            "mcp_servers[0].headers.A has characters that a header cannot carry, such as",
        ),
        (
            'url = "http://h"\nheaders = { "A B" = "c" }',
            "mcp_servers[0].headers.A B is not a legal header name",
        ),
        (
            'url = "http://h"\nheaders = "Bearer s3cr3t-value"',
            "mcp_servers[0].headers: must be a table, such as { key = value }",
        ),
        (
            'url = "http://h"\nallow = "("',
            "mcp_servers[0].allow is '(': is not a regular expression",
        ),
        ('url = "http://h"\ntimeout_s = 0', "mcp_servers[0].timeout_s is 0: input should be gre"),
        ('url = "http://h"\nheader = {}', "mcp_servers[0].header is not known; did you mean head"),
        ('url = "http://h"\ntype = "ws"', "mcp_servers[0].type is 'ws': input should be 'http', "),
    ],
)
def test_mistake_in_an_mcp_server_table_is_reported_with_its_key(
    mistakes: Callable[..., list[str]], entry: str, mistake: str
) -> None:
    (found,) = mistakes(f'[[mcp_servers]]\nname = "s"\n{entry}')

    assert found.startswith(f"aibridge_config: {mistake}")


@pytest.mark.parametrize("name", ["My Server", "", "a--b", "-a", "x" * 33])
def test_illegal_mcp_server_name_is_reported(mistakes: Callable[..., list[str]], name: str) -> None:
    (found,) = mistakes(f'[[mcp_servers]]\nname = "{name}"\nurl = "http://h"')

    said = found.removeprefix(f"aibridge_config: mcp_servers[0].name is {name!r}: ")
    assert said.startswith(("use lower-case", "string should have at most"))


def test_repeated_mcp_server_name_is_reported(mistakes: Callable[..., list[str]]) -> None:
    table = '[[mcp_servers]]\nname = "s"\nurl = "http://h"\n'

    assert mistakes(table + table) == [
        "aibridge_config: mcp_servers[1].name is 's', the same as mcp_servers[0].name;"
        " names must be unique"
    ]


@pytest.mark.parametrize(
    ("document", "mistake"),
    [
        ({"servers": {}}, 'has no table of servers; it must be {"mcpServers": {"a-name": {"url"'),
        ([], "has no table of servers"),
        ({"mcpServers": {"s": {"url": 5}}}, "mcpServers.s.url: input should be a valid string"),
        ({"mcpServers": {"s": {"type": "ws", "url": "http://h"}}}, "mcpServers.s.type is 'ws'; it"),
        ({"mcpServers": {"a b": {}}}, "mcpServers.a b has neither url nor command; add one"),
        (
            {"mcpServers": {"s": {"command": "c", "env": {"K": "${NO}"}}}},
            "mcpServers.s.env.K has ${NO}, and the environment has no NO; set it",
        ),
    ],
)
def test_mistake_in_an_mcp_servers_file_is_reported_with_its_key(
    mistakes: Callable[..., list[str]], document: Any, mistake: str
) -> None:
    (found,) = mistakes(document=document)

    assert found.startswith(f"aibridge_mcp_config: {mistake}")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"\\ud800'])
def test_mcp_servers_file_that_is_not_json_is_reported(
    mistakes: Callable[..., list[str]], text: str
) -> None:
    (found,) = mistakes(text=text)

    assert found.startswith("aibridge_mcp_config is not JSON: ")


def test_missing_mcp_servers_file_is_reported(read: Callable[..., Settings]) -> None:
    options = default_values()

    with pytest.raises(SettingsError, match=r"^aibridge_mcp_config /no/file: No such file"):
        read_settings(options | {"aibridge_mcp_config": "/no/file"})


def test_mistakes_of_both_mcp_configurations_are_reported_together(
    mistakes: Callable[..., list[str]],
) -> None:
    found = mistakes(
        '[[mcp_servers]]\nname = "a"\n[[mcp_servers]]\nname = "b"\nurl = "${X}${Y}"',
        {"mcpServers": {"c": {}}},
    )

    assert len(found) == 4


def test_unknown_key_of_the_injection_table_is_reported(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes("[injection]\nactor = []") == [
        "aibridge_config: injection.actor is not known; did you mean actors?"
    ]


# Secrets


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://user:pass-word@h.example/mcp?key=query-key#x", "https://h.example/mcp"),
        ("https://${TOKEN}@h.example:8/a?b", "https://h.example:8/a"),
        ("https://h.example/${TOKEN}/mcp", "https://h.example/${TOKEN}/mcp"),
        ("https://${UNSET:-u:p@other}/mcp", "https://${UNSET}/mcp"),
    ],
)
def test_shown_url_of_an_mcp_server_has_no_secret(
    read: Callable[..., Settings], written: str, shown: str
) -> None:
    found = server(read, f'name = "s"\nurl = "{written}"')

    assert found.shown_url == shown
    assert found.url
    assert found.hide(f"<{found.url}>").count("pass-word") == 0
    assert "query-key" not in found.hide(found.url)


def test_mcp_server_secrets_are_absent_from_reprs_and_hidden_in_messages(
    read: Callable[..., Settings],
) -> None:
    settings = read(
        '[[mcp_servers]]\nname = "a"\nurl = "https://${HOST}/x?k=${TOKEN}"\n'
        'headers = { Authorization = "Bearer literal-token" }\n'
        '[[mcp_servers]]\nname = "b"\ncommand = "c"\nargs = ["${TOKEN}"]\n'
        'env = { K = "literal-env" }'
    )
    first, second = settings.mcp_servers

    for secret in (SECRET, "literal-token", "literal-env", "mcp.internal.example"):
        assert secret not in repr(settings)
    assert first.hide(f"{SECRET} literal-token mcp.internal.example a") == "*** *** *** a"
    assert second.hide(f"x={SECRET} literal-env") == "x=*** ***"
