"""Names of models as resources of Google's APIs. Pure."""

import re

_RESOURCE = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/")


def plain_model(name: str) -> str:
    """Return the name of a model without the resources that it belongs to."""
    found = _RESOURCE.match(name)
    return name[found.end() :] if found else name
