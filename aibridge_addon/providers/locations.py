"""Locations of Vertex AI, by its hosts. Pure."""

import re

_HOST = re.compile(
    r"(?:(?P<region>[a-z0-9-]+)-)?aiplatform\.(?:(?P<multi>[a-z0-9-]+)\.rep\.)?googleapis\.com"
)


def location_of_host(host: str) -> str | None:
    """Return the location that a host serves, as paths name it; None for any other host."""
    found = _HOST.fullmatch(host)
    return found and (found["region"] or found["multi"] or "global")
