"""Plugins: modules that the option `aibridge_plugins` names are imported when settings are read."""

import sys
from pathlib import Path

import pytest

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import Settings, read_settings


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that modules can be imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def settings_with_plugins(names: str, **options: object) -> Settings:
    return read_settings(default_values() | {"aibridge_plugins": names} | options)


def test_each_plugin_module_is_imported_once_in_the_given_order(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr(sys, "imported_plugins", imported, raising=False)
    for name in ("plugin_one", "plugin_two"):
        (plugins / f"{name}.py").write_text(
            f"import sys\nsys.imported_plugins.append({name!r})\n", encoding="utf-8"
        )

    for _ in range(2):  # settings are read again when a config file changes
        settings = settings_with_plugins(" plugin_two, plugin_one,plugin_two, ")

    assert imported == ["plugin_two", "plugin_one"]
    assert settings.plugins == ("plugin_two", "plugin_one")


def test_missing_plugin_module_is_named_with_what_to_do() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_with_plugins("no_such_plugin.policies")

    assert str(caught.value) == (
        "aibridge_plugins: there is no module 'no_such_plugin.policies'; install it where"
        " aibridge_addon is installed, or add its folder to PYTHONPATH"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("raise ValueError('a\\n  b')", "ValueError: a b"),
        ("def", "SyntaxError: "),
    ],
)
def test_plugin_module_that_fails_to_import_is_named_with_the_reason(
    plugins: Path, source: str, reason: str
) -> None:
    (plugins / "broken_plugin.py").write_text(source, encoding="utf-8")

    with pytest.raises(SettingsError) as caught:
        settings_with_plugins("broken_plugin", aibridge_max_body_mib=0)

    second, first = str(caught.value).splitlines()
    assert first.startswith(
        f"aibridge_plugins: importing the module 'broken_plugin' failed: {reason}"
    )
    assert second == "aibridge_max_body_mib is 0; it must be at least 1"
