"""Bounds what Hypothesis does on a machine that may be slow: tests stay a matter of seconds.

Set `HYPOTHESIS_EXAMPLES` to look further.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "bounded",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("bounded")
