"""Checks of `aibridge doctor`, one function each. A check changes nothing and shows no secret.

A check takes the `Installation` and yields findings: what it found and, if something is wrong, what
to do. Adding a check means adding a function, and a row to one of the tables below.
"""

from collections.abc import Callable, Iterable, Iterator

from aibridge_addon.cli.checks.access_tokens import check_access_tokens
from aibridge_addon.cli.checks.authority import check_authority
from aibridge_addon.cli.checks.config import check_config
from aibridge_addon.cli.checks.database import check_database
from aibridge_addon.cli.checks.health import check_health
from aibridge_addon.cli.checks.identity import check_identity
from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.checks.keys import check_keys
from aibridge_addon.cli.checks.ports import check_ports
from aibridge_addon.cli.checks.prices import check_prices
from aibridge_addon.cli.checks.providers import check_providers
from aibridge_addon.cli.checks.tool_servers import check_tool_servers
from aibridge_addon.cli.checks.variables import check_variables
from aibridge_addon.cli.checks.versions import check_mitmproxy, check_python
from aibridge_addon.findings import Finding

__all__ = [
    "Installation",
    "check_access_tokens",
    "check_authority",
    "check_config",
    "check_database",
    "check_health",
    "check_identity",
    "check_keys",
    "check_mitmproxy",
    "check_ports",
    "check_prices",
    "check_providers",
    "check_python",
    "check_tool_servers",
    "check_variables",
    "run_checks",
]

type Check = Callable[[Installation], Iterable[Finding]]

LOCAL: tuple[Check, ...] = (
    check_python,
    check_mitmproxy,
    check_ports,
    check_health,
    check_authority,
    check_variables,
    check_config,
    check_database,
    check_prices,
    check_access_tokens,
)
"""Checks of this machine."""

REMOTE: tuple[Check, ...] = (check_tool_servers, check_identity, check_providers)
"""Checks of servers that the config file names; they need a valid configuration."""

KEYS: tuple[Check, ...] = (check_keys,)
"""Checks that send API keys; only on request."""


def run_checks(installation: Installation, *, with_keys: bool) -> Iterator[Finding]:
    """Run the checks in order, and yield their findings."""
    checks = LOCAL
    if not installation.mistakes:
        checks += REMOTE
        if with_keys:
            checks += KEYS
    for check in checks:
        yield from check(installation)
