"""Events of central keys and circuit breakers. Pure."""

from aibridge_addon.telemetry.alerts.event import Event


def key_set_aside(provider: str, env: str, reason: str) -> Event:
    """Return the event for a key that the provider refused; `env` names it."""
    return Event(
        type="key_set_aside",
        text=f"the key {env} of {provider} is out of use: {reason}.",
        figures={"provider": provider, "key": env, "reason": reason},
    )


def key_back(provider: str, env: str) -> Event:
    """Return the event for a key that can be used again."""
    return Event(
        type="key_back",
        text=f"the key {env} of {provider} is in use again.",
        figures={"provider": provider, "key": env},
    )


def circuit_open(provider: str, route: str, model: str, trips: int) -> Event:
    """Return the event for a circuit breaker that opened."""
    return Event(
        type="circuit_open",
        text=f"{provider} is out of order for {model} at {route}; its requests are stopped.",
        figures={"provider": provider, "route": route, "model": model, "trips": trips},
    )
