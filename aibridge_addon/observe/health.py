"""Health of the proxy, for probes. It contains no secret and no address."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

from aibridge_addon import __version__
from aibridge_addon.prices import price_list

if TYPE_CHECKING:
    from aibridge_addon.tools.server import ServerStatus

type KeyState = Mapping[str, Any]
"""`provider`, `key`, `organization`, `hint`, `state`, `reason`, `since`, `next_check`, and
`is_checked`: true if a check lets the key be used again."""
type LimitsState = Mapping[str, int]
"""`processes`: each process enforces the limits of the config file divided by this number.

If some are shared: the number of those that are `divided` and those that are `shared`, and whether
the latter are counted `together`, in the database, or divided while it does not respond."""
_KEY_STATES = ("ok", "cooling", "set aside")

type DatabaseState = Literal["ok", "away", "unknown"]
_WORST_FIRST: tuple[DatabaseState, ...] = ("unknown", "away", "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Health at a moment."""

    database: DatabaseState
    """`unknown` if the proxy's event loop does not respond in time."""
    mcp_servers: Mapping[str, str] = field(default_factory=dict)
    """By name: up, down or starting."""
    prices: Literal["ok", "old"] = "ok"
    """`old` if the price data should be updated; this degrades nothing."""
    keys: Sequence[KeyState] = ()
    """States of the keys in pools; keys are named by their environment variables."""
    limits: LimitsState | None = None
    """The way in which the limits of the config file count; None without limits."""

    @classmethod
    def now(
        cls,
        *,
        can_record: bool,
        servers: "Iterable[ServerStatus]",
        keys: Sequence[KeyState] = (),
        limits: LimitsState | None = None,
    ) -> Self:
        """Return the health, given whether records can be written, and the states of others."""
        return cls(
            keys=keys,
            limits=limits,
            database="ok" if can_record else "away",
            mcp_servers={
                server.name: "down" if server.state == "stopped" else server.state
                for server in servers
            },
            prices="old" if price_list.is_old(datetime.now(UTC).date()) else "ok",
        )

    @property
    def http_status(self) -> HTTPStatus:
        """Status of the response to a probe.

        503 while the database is unavailable: records wait on this machine's disk, or requests are
        refused, so a load balancer should prefer another process. An MCP server that is down does
        not count: models go on without its tools, and another process cannot reach it either.
        """
        return HTTPStatus.OK if self.database == "ok" else HTTPStatus.SERVICE_UNAVAILABLE

    @classmethod
    def of_all(cls, healths: "Iterable[Health]") -> Self:
        """Return the health of several processes: the worst of each."""
        known = list(healths)
        servers: dict[str, str] = {}
        for name, state in (pair for health in known for pair in health.mcp_servers.items()):
            servers[name] = "down" if "down" in (state, servers.get(name)) else state
        databases = {health.database for health in known}
        return cls(
            database=next((state for state in _WORST_FIRST if state in databases), "unknown"),
            mcp_servers=servers,
            keys=_worst_keys(known),
            limits=_most_shared(known),
            prices="old" if any(health.prices == "old" for health in known) else "ok",
        )

    def as_json(self) -> str:
        """Return a line of JSON; its status is `degraded` if anything does not work."""
        is_healthy = self.database == "ok" and "down" not in self.mcp_servers.values()
        return json.dumps(
            {
                "status": "ok" if is_healthy else "degraded",
                "database": self.database,
                "mcp_servers": dict(self.mcp_servers),
                "prices": self.prices,
                "version": __version__,
                **({"keys": list(self.keys)} if self.keys else {}),
                **({"limits": self.limits} if self.limits else {}),
            }
        )


def read_health(text: str) -> Health:
    """Return the health that `Health.as_json` has written."""
    values = json.loads(text)
    known = ("database", "mcp_servers", "prices")
    more = {"keys": values.get("keys", ()), "limits": values.get("limits")}
    return Health(**{name: values[name] for name in known}, **more)


def _most_shared(healths: Iterable[Health]) -> LimitsState | None:
    """Return the state of the limits in the process that knows the most others."""
    states = [health.limits for health in healths if health.limits]
    most = max(states, key=lambda state: state["processes"], default=None)
    if most is None or "together" not in most:
        return most
    return {**most, "together": all(state.get("together", True) for state in states)}


def _worst_keys(healths: Iterable[Health]) -> Sequence[KeyState]:
    """Return the worst state of each key among several processes."""
    worst: dict[tuple[str, str], KeyState] = {}
    for state in (state for health in healths for state in health.keys):
        name = (state["provider"], state["key"])
        known = worst.get(name, state)
        worst[name] = max(known, state, key=lambda each: _KEY_STATES.index(each["state"]))
    return tuple(worst.values())
