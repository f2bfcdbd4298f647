"""Reads the config files: the fields of `Settings` that do not come from options."""

from collections.abc import Mapping
from typing import Any

from aibridge_addon.access.guardrails import Guardrails
from aibridge_addon.access.selection import Patterns
from aibridge_addon.config.alert_table import read_webhooks
from aibridge_addon.config.file import OPTION, ConfigFile, ConfigFileError, read_config_file
from aibridge_addon.config.guardrails_table import read_guardrails
from aibridge_addon.config.mcp_file import read_servers
from aibridge_addon.config.mistakes import Mistakes, SettingsError
from aibridge_addon.redaction import OwnRule


def read_files(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    intercept: Patterns | None,
    mistakes: Mistakes,
) -> dict[str, Any]:
    """Return fields of `Settings` by name; add what is wrong to the mistakes."""
    path = options["aibridge_config"]
    file = _read(path, mistakes)
    servers = mistakes.checked(
        (), read_servers, file.mcp_servers, path, options["aibridge_mcp_config"], environ
    )
    webhooks = mistakes.checked((), read_webhooks, file.alerts, OPTION, path, environ)
    guardrails = mistakes.checked(Guardrails(), read_guardrails, file.guardrails, OPTION, path)
    return {
        **_of_tables(file, intercept or ()),
        "mcp_servers": servers,
        "guardrails": guardrails,
        "webhooks": webhooks,
        "doubts": tuple(file.doubts(path)),
    }


def _read(path: str, mistakes: Mistakes) -> ConfigFile:
    """Return the config file, or what is right in it."""
    try:
        return read_config_file(path)
    except ConfigFileError as error:
        mistakes.add(error)
        return error.readable
    except SettingsError as error:
        mistakes.add(error)
        return ConfigFile()


def _of_tables(file: ConfigFile, intercept: Patterns) -> dict[str, Any]:
    """Return the settings that tables of the config file make by themselves."""
    return {
        "providers": file.provider_instances(intercept),
        "actors": file.known_actors(),
        "front_proxies": tuple(table.front_proxy() for table in file.front_proxies),
        "jwt_issuers": tuple(table.jwt_issuer() for table in file.identity.jwt),
        "revoked_actors": tuple(file.identity.revoked_actors),
        "prices": file.price_book(),
        "own_redactions": tuple(OwnRule(table.name, table.pattern) for table in file.redact),
        "injection": file.injection.filter(),
        "limits": tuple(table.limit() for table in file.limits),
        "model_rules": tuple(table.rule() for table in file.model_rules),
        "budgets": tuple(table.rule() for table in file.budgets),
    }
