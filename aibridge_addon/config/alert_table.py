"""The table `[[alerts]]` of the config file: webhooks that receive events."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self
from urllib.parse import urlsplit

import pydantic
from pydantic_core import PydanticCustomError

from aibridge_addon.config.mistakes import SettingsError, listed
from aibridge_addon.config.validation import TABLE, UNSHOWN, VariableName
from aibridge_addon.telemetry.alerts.event import EVENT_TYPES, EventType
from aibridge_addon.telemetry.alerts.webhook import Webhook


def _check_url(value: str) -> str:
    if not _is_url(value):
        raise PydanticCustomError(UNSHOWN, "must be a URL such as https://hooks.example.com/alerts")
    return value


class AlertTable(pydantic.BaseModel):
    """A webhook, `[[alerts]]`."""

    model_config = TABLE

    url: Annotated[str, pydantic.AfterValidator(_check_url)] | None = None
    url_env: VariableName | None = None
    secret_env: VariableName | None = None
    events: list[EventType] = list(EVENT_TYPES)

    @pydantic.model_validator(mode="after")
    def _has_url(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            raise PydanticCustomError(UNSHOWN, "must have either url or url_env")
        return self


def read_webhooks(
    tables: Sequence[AlertTable], option: str, path: str, environ: Mapping[str, str]
) -> tuple[Webhook, ...]:
    """Return the webhooks, with URLs and secrets from the environment.

    Raises:
        SettingsError: with all mistakes.
    """
    mistakes: list[str] = []
    webhooks = [_webhook(index, table, environ, mistakes) for index, table in enumerate(tables)]
    if mistakes:
        raise SettingsError(listed(option, path, mistakes))
    return tuple(dict.fromkeys(webhooks))


def _webhook(
    index: int, table: AlertTable, environ: Mapping[str, str], mistakes: list[str]
) -> Webhook:
    key = f"alerts[{index}]"
    for name, variable in (("url_env", table.url_env), ("secret_env", table.secret_env)):
        if variable and not environ.get(variable):
            mistakes.append(f"{key}.{name} is {variable!r}, and the environment has no {variable}")
    url = table.url or environ.get(table.url_env or "", "")
    if table.url_env and url and not _is_url(url):
        mistakes.append(f"{key}.url_env: the value of {table.url_env} must be a URL")
    return Webhook(
        url=url,
        secret=environ.get(table.secret_env or "", ""),
        events=frozenset(table.events),
    )


def _is_url(value: str) -> bool:
    try:
        url = urlsplit(value)
        _ = url.port  # raises `ValueError` if it is not a port
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname) and value.isprintable()
