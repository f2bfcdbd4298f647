"""Maps of the code in prose: the table of packages, and the list of the command's modules."""

import re
from pathlib import Path

import aibridge_addon
from aibridge_addon import cli

PACKAGE = Path(aibridge_addon.__file__).parent
ARCHITECTURE = PACKAGE.parent / "docs" / "internals" / "architecture.md"
ALIASES = {"recorder"}
"""Modules that stand only for names of earlier versions."""


def test_architecture_names_every_module_and_package() -> None:
    text = ARCHITECTURE.read_text()
    modules = {path.stem for path in PACKAGE.glob("[a-z]*.py")} - ALIASES
    packages = {f"{path.parent.name}/" for path in PACKAGE.glob("[a-z]*/__init__.py")}
    named = {name.removesuffix(".py") for name in re.findall(r"`([a-z_]+(?:\.py|/)?)`", text)}
    assert modules | packages <= named | {f"{name}/" for name in named}


def test_command_names_every_module_of_its_package() -> None:
    modules = {path.name for path in Path(cli.__file__).parent.glob("[a-z]*.py")}
    assert modules <= set(re.findall(r"[a-z_]+\.py", cli.__doc__ or ""))
