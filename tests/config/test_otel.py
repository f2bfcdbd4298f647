"""The options of traces: a missing extra, and variables that cannot be used, are clear mistakes."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.config.options import default_values
from aibridge_addon.config.settings import read_settings
from aibridge_addon.telemetry.alerts.outbox import Outbox
from aibridge_addon.telemetry.outputs import Outputs, TelemetryError

type FindSpec = Callable[[str], Any]


def missing(name: str) -> None:
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("find", [missing, lambda name: None], ids=["parent", "module"])
def test_traces_without_the_extra_are_a_mistake(
    monkeypatch: pytest.MonkeyPatch, find: FindSpec
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", find)

    with pytest.raises(SettingsError, match=r"aibridge_otel .* install aibridge-addon\[otel\]"):
        read_settings(default_values() | {"aibridge_otel": True}, {})
    assert read_settings(default_values(), {}).otel is False


def test_variable_that_cannot_be_used_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000")

    with pytest.raises(TelemetryError, match="max_export_batch_size"):
        Outputs(
            otel=True,
            redact=None,
            is_recording=lambda: True,
            on_alert=lambda *_: None,
            outbox=Outbox(tmp_path),
        )
