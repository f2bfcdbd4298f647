"""Checks the versions of Python and mitmproxy."""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.findings import Finding

PYTHON = (3, 13)
"""Oldest version that works."""
MITMPROXY = ((12, 2), (13,))
"""Oldest version that works, and the first version that has not been tested."""


def check_python(_: Installation) -> Iterator[Finding]:
    """Check the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= PYTHON:
        yield Finding(about="Python", level="ok", what=found)
    else:
        yield Finding(
            about="Python",
            level="bad",
            what=f"{found} is too old",
            to_do=f"install Python {PYTHON[0]}.{PYTHON[1]} or newer",
        )


def check_mitmproxy(_: Installation) -> Iterator[Finding]:
    """Check the version of mitmproxy, whose internals the addon depends on."""
    try:
        found = version("mitmproxy")
    except PackageNotFoundError:
        what, to_do = "is not installed", "install aibridge-addon again"
        yield Finding(about="mitmproxy", level="bad", what=what, to_do=to_do)
        return
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if MITMPROXY[0] <= numbers < MITMPROXY[1]:
        yield Finding(about="mitmproxy", level="ok", what=found)
    else:
        yield Finding(
            about="mitmproxy",
            level="bad",
            what=f"{found} has not been tested with this version of the addon",
            to_do="pip install 'mitmproxy>=12.2,<13'",
        )
