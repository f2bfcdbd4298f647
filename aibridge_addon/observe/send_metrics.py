"""Metrics of circuit breakers, key pools, retries and fallbacks."""

from aibridge_addon.facts import SendFailed, ServedElsewhere
from aibridge_addon.observe import samplers
from aibridge_addon.observe.metric import Metric

CIRCUIT_STATE = Metric(
    name="circuit_breaker_state",
    kind="gauge",
    help="State of a circuit breaker at its last request: 0 closed, 1 half-open, 2 open.",
    labels=("provider", "route", "model"),
    across="most",
)
CIRCUIT_TRIPS = Metric(
    name="circuit_breaker_trips",
    kind="gauge",
    help="Number of times that a circuit breaker opened, since the proxy started.",
    labels=("provider", "route", "model"),
)
KEYS_USABLE = Metric(
    name="keys_usable",
    kind="gauge",
    help="Keys of a pool that are not set aside.",
    labels=("provider",),
    across="least",
)
KEYS_SET_ASIDE = Metric(
    name="keys_set_aside_total",
    kind="counter",
    help="Keys of a pool that were set aside after the provider refused them.",
    labels=("provider", "key"),
)
RESENDS = Metric(
    name="resends_total",
    kind="counter",
    help="Failed sends that another send followed, by failure and receiver of the next one.",
    labels=("provider", "failure", "to"),
    samplers={SendFailed: samplers.once},
)
FALLBACKS = Metric(
    name="fallbacks_total",
    kind="counter",
    help="Requests that this instance served in place of another one, by reason.",
    labels=("provider", "reason"),
    samplers={ServedElsewhere: lambda fact: [(fact.reason, 1)] if fact.reason else []},
)

SEND_METRICS = (CIRCUIT_STATE, CIRCUIT_TRIPS, KEYS_USABLE, KEYS_SET_ASIDE, RESENDS, FALLBACKS)
