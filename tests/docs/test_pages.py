"""The README and the documentation pages hold what the code holds."""

import json
import re
import shlex
import sqlite3
import tomllib
import warnings
from pathlib import Path

import click
import pytest
from sqlite_utils import Database

from aibridge_addon.cli import main
from aibridge_addon.config.options import OPTIONS, default_values
from aibridge_addon.config.settings import read_settings
from aibridge_addon.providers.clients import CLIENTS
from aibridge_addon.store.sqlite import schema
from docs.blocks import PAGES, ROOT, Block, blocks

with warnings.catch_warnings():  # mitmproxy's dependencies use deprecated names
    warnings.simplefilter("ignore", DeprecationWarning)
    import aibridge_addon.cli.serving  # noqa: F401 the command imports it when it is called

OF_CLIENTS = ("openai_base_url", "model_provider")
"""Keys that open a config file of a client program, not of ours."""
OF_PLUGINS = "[guardrails]"
"""Start of a config file that names a class of an operator: tests/extending has it."""

README_LINES = 150


_COMMANDS = "|".join(main.list_commands(click.Context(main)))
_CALL = re.compile(rf"(?:^|[\s/(])aibridge (?P<arguments>(?:{_COMMANDS})\b[^)|&]*)")


def aibridge_calls() -> list[tuple[str, list[str]]]:
    """Every call of the `aibridge` command in the documentation, with its arguments."""
    return [
        (f"{block}: {match[0].strip()}", shlex.split(match["arguments"]))
        for block in blocks("sh")
        for command in block.commands
        for match in _CALL.finditer(command)
    ]


@pytest.mark.parametrize(("where", "words"), aibridge_calls(), ids=lambda value: str(value)[:70])
def test_documented_aibridge_call_is_accepted_by_the_command_line_parser(
    where: str, words: list[str]
) -> None:
    context = click.Context(main, info_name="aibridge")
    name, command, rest = main.resolve_command(context, words)
    while isinstance(command, click.Group) and rest:
        name, command, rest = command.resolve_command(click.Context(command), rest)
    assert command is not None
    command.make_context(name, rest)


def _name_of_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name_of_page)
def test_documented_options_exist(page: Path) -> None:
    known = {option.name for option in OPTIONS}
    named = set(re.findall(r"--set '?(aibridge_\w+)=", page.read_text()))
    assert named <= known


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_documented_config_file_is_accepted(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.code)
    if block.code.startswith((*OF_CLIENTS, OF_PLUGINS)):
        return
    file = tmp_path / "aibridge.toml"
    file.write_text(block.code)
    variables = re.findall(r'_env = "(\w+)"', block.code)
    environ = dict.fromkeys(variables, "https://hooks.example.com/")
    read_settings(default_values() | {"aibridge_config": str(file)}, environ)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_documented_rules_select_client_programs_that_are_recognised(block: Block) -> None:
    known = {client.name for client in CLIENTS}
    for rules in tomllib.loads(block.code).values():
        for rule in filter(lambda each: isinstance(each, dict), rules):
            assert set(rule.get("clients", [])) <= known


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_documented_json_is_json(block: Block) -> None:
    json.loads(block.code)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_documented_python_compiles(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", blocks("sql"), ids=str)
def test_documented_query_runs_on_an_empty_database(block: Block) -> None:
    connection = sqlite3.connect(":memory:")
    schema.migrate(Database(connection))
    connection.executescript(block.code)
    connection.close()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "AGENTS.md"], ids=_name_of_page)
def test_documented_scripts_and_files_exist(page: Path) -> None:
    text = page.read_text()
    scripts = set(re.findall(r"(?<![\w/])(?:scripts|\.ci)/[a-z_]+(?:\.py)?", text))
    assert {name for name in scripts if not (ROOT / name).exists()} == set()


def test_internals_name_modules_that_exist() -> None:
    pages = (ROOT / "AGENTS.md", *(ROOT / "docs" / "internals").rglob("*.md"))
    named = {
        name for page in pages for name in re.findall(r"`([a-z0-9_/]+\.py)`", page.read_text())
    }
    assert len(named) > 50
    ours = {name for name in named if not name.startswith("mitmproxy/")}
    folders = (ROOT, ROOT / "aibridge_addon")
    assert {name for name in ours if not any((path / name).is_file() for path in folders)} == set()


_LINK = re.compile(r"\]\((?P<file>[^)#:]*)(?:#(?P<heading>[^)]+))?\)")


def _headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=_name_of_page)
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    for link in _LINK.finditer(page.read_text()):
        target = page.parent / link["file"] if link["file"] else page
        assert target.exists(), link[0]
        assert link["heading"] is None or link["heading"] in _headings(target), link[0]


def test_readme_fits_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
