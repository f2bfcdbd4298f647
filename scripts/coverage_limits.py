"""Compares the totals of a coverage report, given as JSON on stdin, with the limits.

With arguments, which select some tests, it only prints the totals.
"""

import json
import sys

LIMITS = {"lines": 95.0, "branches": 90.0}
"""Percent of the package's lines and branches that the tests must reach."""


def main() -> int:
    """Print both totals; return 1 if one is below its limit and all tests ran."""
    totals = json.load(sys.stdin)["totals"]
    reached = {
        "lines": 100 * totals["covered_lines"] / totals["num_statements"],
        "branches": 100 * totals["covered_branches"] / totals["num_branches"],
    }
    for name, percent in reached.items():
        print(f"{name}: {percent:.1f} % covered, at least {LIMITS[name]:.1f} % required")
    too_low = any(percent < LIMITS[name] for name, percent in reached.items())
    return int(too_low and len(sys.argv) == 1)


if __name__ == "__main__":
    sys.exit(main())
