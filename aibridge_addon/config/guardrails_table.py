"""The table `[guardrails]` of the config file, and the import of its classes."""

import importlib
import inspect
from typing import Annotated

import pydantic

from aibridge_addon.access.guardrails import Guardrail, Guardrails, OnFailure
from aibridge_addon.config.mistakes import SettingsError, listed
from aibridge_addon.config.validation import TABLE


class GuardrailsTable(pydantic.BaseModel):
    """Guardrails, `[guardrails]`."""

    model_config = TABLE

    policies: list[str] = []
    timeout_s: Annotated[float, pydantic.Field(gt=0, le=120, allow_inf_nan=False)] = 5.0
    on_failure: OnFailure = "refuse"


def read_guardrails(table: GuardrailsTable, option: str, path: str) -> Guardrails:
    """Import and create the guardrails.

    Raises:
        SettingsError: with all mistakes.
    """
    mistakes: list[str] = []
    made = [
        (name, guardrail)
        for index, name in enumerate(table.policies)
        if (guardrail := _make(f"guardrails.policies[{index}]", name, mistakes))
    ]
    if mistakes:
        raise SettingsError(listed(option, path, mistakes))
    return Guardrails(policies=tuple(made), timeout_s=table.timeout_s, on_failure=table.on_failure)


def _make(key: str, name: str, mistakes: list[str]) -> Guardrail | None:
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        mistakes.append(f"{key} is {name!r}: write module:Class, such as my_company.dlp:NoSecrets")
        return None
    try:
        made: Guardrail = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # noqa: BLE001 the edge: third-party code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "; set PYTHONPATH as where the proxy runs" * isinstance(error, ImportError)
        mistakes.append(f"{key}: {name} cannot be created: {reason}{hint}")
        return None
    if not inspect.iscoroutinefunction(getattr(made, "check", None)):
        mistakes.append(f"{key}: {name} has no method `async def check(self, asked)`")
        return None
    return made
