"""Bounds what Hypothesis does, so that the core's tests stay a matter of seconds."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "core", max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("core")
