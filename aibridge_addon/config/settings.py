"""Settings: the options and config files, checked and turned into one frozen dataclass.

All mistakes are found before the first request. Secrets are not part of the settings, except in
the configuration of MCP servers: provider keys stay in the environment variables that are named.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aibridge_addon.access.budget_rule import BudgetRule
from aibridge_addon.access.front_proxies import FrontProxy
from aibridge_addon.access.guardrails import Guardrails
from aibridge_addon.access.jwt.issuer import JWTIssuer
from aibridge_addon.access.limits.rules import Limit
from aibridge_addon.access.model_rule import ModelRule
from aibridge_addon.access.selection import Patterns
from aibridge_addon.config.mistakes import Mistakes
from aibridge_addon.config.options import OPTIONS, default_values, unknown_options
from aibridge_addon.config.plugins import import_plugins
from aibridge_addon.config.private_networks import PrivateNetworks
from aibridge_addon.prices.pricing import PriceBook
from aibridge_addon.providers.identity import Actor
from aibridge_addon.providers.instance import Provider
from aibridge_addon.redaction import OwnRule
from aibridge_addon.telemetry.alerts.webhook import Webhook
from aibridge_addon.tools.names import InjectionFilter
from aibridge_addon.tools.server_config import ServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. None of them has a default here: see `config.options`."""

    # From the config files

    providers: tuple[Provider, ...]
    actors: Mapping[str, Actor]
    """Known actors by credential fingerprint or header value."""
    front_proxies: tuple[FrontProxy, ...]
    jwt_issuers: tuple[JWTIssuer, ...]
    revoked_actors: tuple[str, ...]
    """Names or shell patterns."""
    mcp_servers: tuple[ServerConfig, ...]
    prices: PriceBook
    own_redactions: tuple[OwnRule, ...]
    injection: InjectionFilter
    """Limits the requests that central tools are offered to."""
    limits: tuple[Limit, ...]
    model_rules: tuple[ModelRule, ...]
    budgets: tuple[BudgetRule, ...]
    guardrails: Guardrails
    webhooks: tuple[Webhook, ...]
    """Receivers of alerts."""
    doubts: tuple[str, ...]
    """Warnings about values of the config file that are probably wrong."""

    # From the options, in their order

    plugins: tuple[str, ...]
    """Names of the imported plugin modules."""
    database: str
    """Path or URL of the store."""
    recorder: str
    refuse_unrecorded: bool
    """True if bridged requests are refused while the store is unavailable."""
    retention_days: int | None
    content_days: int | None
    tool_memory_days: int | None
    commit_wait: float
    """Seconds."""
    capture: frozenset[str]
    """A subset of `CAPTURABLE`, or `auto`; see `resolve_capture`."""
    redact: bool
    require_actor: bool
    actor_header: str
    """In lower case; empty: none."""
    require_token: str
    """auto, always or never."""
    allow_open: bool
    allowed_origins: frozenset[str]
    """Web origins, in lower case and without default ports; `*`: all."""
    allowed_hosts: frozenset[str]
    """Host names of the reverse proxy, in lower case; `*`: all."""
    private: PrivateNetworks
    intercept: Patterns
    """Names of the built-in provider instances that the forward proxy intercepts."""
    max_connections: int | None
    max_connections_per_address: int | None
    first_request_seconds: float | None
    held_bodies: int | None
    """Bytes."""
    ask_chat_usage: str
    """auto, always or never."""
    max_body_bytes: int
    direct: bool
    tool_call_seconds: float
    """For calls that report no progress."""
    tool_call_max_seconds: float
    tool_result_bytes: int
    tool_iterations: int
    tool_loop_seconds: float
    metrics_listen: tuple[str, int] | None
    metrics_initiators: bool
    metrics_tools: bool
    metrics_label_values: int
    kept_flows: int | None
    kept_flow_bytes: int | None
    otel: bool
    otel_content: bool

    @property
    def has_rules(self) -> bool:
        """True if there are rules beside access tokens that refuse requests."""
        return bool(
            any(rule.budget.refuses for rule in self.budgets)
            or any(rule.allow or rule.deny for rule in self.model_rules)
            or self.limits
            or self.guardrails.policies
            or self.revoked_actors
            or self.require_actor
            or self.refuse_unrecorded
        )

    @property
    def token_rule(self) -> str:
        """The rule `require_token`: issuers of JWTs make authentication necessary too."""
        return "always" if self.jwt_issuers and self.require_token == "auto" else self.require_token  # noqa: S105


def read_settings(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Check options and config files; import the plugins first.

    Args:
        options: Values of all our options. Other options are ignored, unless their prefix is ours.
        environ: The variables that the configuration of MCP servers and webhooks names.

    Raises:
        SettingsError: with all mistakes.
    """
    mistakes = Mistakes(unknown_options(options))
    values = {
        option.setting: mistakes.checked(None, option.read_setting, options[option.name])
        for option in OPTIONS
        if option.setting
    }
    # Before the config file, which may name what a plugin registers.
    mistakes.checked(None, import_plugins, values["plugins"])
    # Imported here: it imports pydantic, which takes megabytes of memory.
    from aibridge_addon.config.files import read_files

    of_files = read_files(options, environ, values["intercept"], mistakes)
    mistakes.raise_all()
    return Settings(**of_files, **values)


def default_settings(**changes: Any) -> Settings:
    """Return the settings without any configuration, with some fields changed."""
    return replace(read_settings(default_values()), **changes)
