"""`Plan`: everything that `aibridge proxy` has decided before mitmproxy is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

METRICS_OPTION = "aibridge_metrics_listen"

type AddonSet = Literal["needed", "all", "web"]
"""Addons of mitmproxy to run: the necessary ones, those of mitmdump, or those of mitmweb."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a proxy that is about to start."""

    modes: tuple[str, ...]
    """Values of mitmproxy's option `mode`."""
    addons: AddonSet = "needed"
    is_local: bool = True
    """True if only this machine can reach the proxy."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options that `config.yaml` overrides."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """Options that override `config.yaml`."""
    sets: tuple[str, ...] = ()
    """Options as `name=value`; they override everything."""
    grace_s: float = 10.0
    """Seconds that open requests get to complete at shutdown."""
    drain_s: float = 0.0
    """Seconds before them in which `/readyz` answers 503, and new requests are accepted."""
