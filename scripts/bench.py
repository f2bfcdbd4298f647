"""Measures the cost of the addon compared with a streaming mitmdump, on this machine, in this run.

Subjects run in turn (A B C A B C …) under the same load. Only the ratio within a round counts, as
a median over rounds: a shared machine changes its speed, but rarely within a second.

streams         `mitmdump` with a script of two lines: it streams every response, as agents need,
                and parses nothing
addon           `mitmdump -s aibridge_addon/__init__.py`, recording everything in SQLite
aibridge proxy  the addon with only the mitmproxy addons that it needs
full capture    the addon recording everything that is said; all others record no answers, results
                and system prompts
with tools      the addon offering ten tools of an MCP server, none of which the model calls; it may
                cost more than the addon by the edit of the request, and noise

The traffic is HTTP in reverse mode with the upstream as the target: all subjects get the same bytes
at the same path and send them to the same place. In scenarios named `tls` the upstream speaks TLS;
all else is plain. The addon routes by the target's host and does everything that it does for
requests in reverse mode.

Load, proxies and upstream are separate processes; only the proxy is measured, with all its threads.
The arrival of events matters: `stream` sends 200 events as fast as possible, each as an HTTP chunk,
so that some arrive in one read; `stream-coalesced` puts 20 into a chunk; `stream-one-by-one` waits
a millisecond before each. The exit code is 0 whatever the numbers are: speed is not a test.
"""

import argparse
import asyncio
import gc
import itertools
import json
import platform
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench_scenarios import Measures, Row, Run, Scenario
from bench_subjects import ADDON, Place, Ports, Proxy, Subject, other_checkout, upstream
from bench_table import SCENARIOS
from mitmproxy.certs import CertStore
from rich.console import Console
from rich.table import Table

type Measured = dict[str, dict[str, list[float]]]
"""Values of each round, by subject and measure."""
type Results = dict[str, Measured]
"""Results by scenario."""

LEAST_ROUNDS = 3

MEASURABLE = 1.1
"""Smallest relevant ratio; anything below is noise, even if a few rounds agree."""

console = Console()
if console.width < 110:
    console.width = 110
progress = Console(stderr=True)


CA_BITS = 2048


class Bench:
    """Runs the benchmark once."""

    def __init__(self, others: Iterable[Subject], *, quick: bool, directory: Path) -> None:
        self._others = tuple(others)
        self.results: Results = {}
        self._quick = quick
        self._directory = directory
        # Proxies that start at once would each write the CA.
        CertStore.from_store(directory / "confdir", "mitmproxy", CA_BITS)
        self._started = 0

    def judged(self, scenario: Scenario) -> tuple[Subject, ...]:
        """Return the subjects that are compared with the bases of a scenario."""
        return (*scenario.judged, *(self._others if ADDON in scenario.judged else ()))

    async def measure(self, scenario: Scenario, ports: Ports) -> None:
        """Run rounds of a scenario for its time."""
        subjects = (*scenario.bases, *self.judged(scenario))
        origin = scenario.origin(ports)
        deadline = time.monotonic() + scenario.seconds / (4 if self._quick else 1)
        if scenario.fresh:
            for subject in subjects:
                async with self._proxies([subject], origin) as proxies:
                    await self._round(scenario, proxies, ports)
            return
        async with self._proxies(subjects, origin) as proxies:
            for number in itertools.count():
                if number >= LEAST_ROUNDS and time.monotonic() > deadline:
                    return
                await self._round(scenario, proxies, ports)

    async def _round(self, scenario: Scenario, proxies: list[Proxy], ports: Ports) -> None:
        measured: dict[str, Measures] = {}
        for proxy in proxies:
            gc.collect()
            run = Run(proxy=proxy, upstream_port=ports.plain, quick=self._quick, before=measured)
            measured[proxy.subject.name] = await scenario.run(run)
        for subject, measures in measured.items():
            kept = self.results.setdefault(scenario.name, {}).setdefault(subject, {})
            for name, value in measures.items():
                kept.setdefault(name, []).append(value)

    @asynccontextmanager
    async def _proxies(self, subjects: Iterable[Subject], origin: str) -> Any:
        """Run proxies, with empty databases."""
        async with AsyncExitStack() as stack:
            proxies = []
            for subject in subjects:
                self._started += 1
                directory = self._directory / f"{self._started}"
                directory.mkdir()
                confdir = self._directory / "confdir"
                place = Place(directory=directory, confdir=confdir, origin=origin)
                proxy = Proxy(subject, place)
                stack.callback(proxy.stop)
                proxies.append(proxy)
            for proxy in proxies:
                await proxy.wait_until_up()
            yield proxies


# --- the table


def ratios(of: list[float], to: list[float]) -> list[float]:
    """Return the ratio of each round."""
    return [mine / theirs for mine, theirs in zip(of, to, strict=True) if theirs]


def judge(row: Row, results: Measured, subject: str) -> dict[str, Any]:
    """Compare a subject's measure with its base and its bound."""
    values = results[subject][row.measure]
    judged: dict[str, Any] = {"value": median(values)}
    compared = judged["value"]
    if row.base:
        of_rounds = ratios(values, results[row.base][row.measure])
        judged |= {"ratio": median(of_rounds), "ratios": of_rounds}
        compared = judged["ratio"]
    bound = _bound_of(row, results, subject)
    if bound is not None:
        judged |= {"bound": bound, "ok": compared <= bound}
    return judged


def _bound_of(row: Row, results: Measured, subject: str) -> float | None:
    bound = row.own_bounds.get(subject, row.bound)
    if row.base is None:
        return bound
    base = results[row.base][row.measure]
    if row.within_noise:
        bound = max(MEASURABLE, max(base) / median(base))
    if row.besides and bound is not None:
        bound += median(results[subject][row.besides]) / median(base)
    return bound


def tables(scenarios: Iterable[Scenario], bench: Bench) -> Iterator[Table]:
    """Lay out the results: a table for all scenarios that judge the same subjects."""
    for judged, group in itertools.groupby(scenarios, bench.judged):
        yield _table(list(group), [subject.name for subject in judged], bench.results)


def _table(scenarios: list[Scenario], judged: list[str], results: Results) -> Table:
    bases = list(dict.fromkeys(base.name for s in scenarios for base in s.bases))
    shown = Table(caption="medians of rounds; ratios: median (least–most) of the rounds'")
    shown.add_column("scenario")
    shown.add_column("measure")
    for name in (*bases, *judged):
        shown.add_column(name, justify="right")
    for name in judged:
        shown.add_column("ratio" if name == judged[0] else f"ratio of {name}", justify="right")
    shown.add_column("bound", justify="right")
    for scenario in scenarios:
        title = scenario.title
        for row in scenario.rows:
            measured = results[scenario.name]
            cells = [_value(measured.get(n, {}).get(row.measure)) for n in (*bases, *judged)]
            verdicts = [judge(row, measured, name) for name in judged]
            cells += [_ratio(verdict) for verdict in verdicts]
            shown.add_row(title, f"{row.measure}, {row.unit}", *cells, _bound(row, verdicts))
            title = ""
        shown.add_section()
    return shown


def _value(values: list[float] | None) -> str:
    return f"{median(values):.2f}" if values else "–"


def _ratio(judged: dict[str, Any]) -> str:
    if "ratio" not in judged:
        return ""
    of_rounds = judged["ratios"]
    color = {True: "green", False: "red", None: "default"}[judged.get("ok")]
    mark = {True: " ok", False: " over", None: ""}[judged.get("ok")]
    ratio = f"{judged['ratio']:.2f} ({min(of_rounds):.2f}–{max(of_rounds):.2f})"
    return f"[{color}]{ratio}{mark}[/]"


def _bound(row: Row, verdicts: list[dict[str, Any]]) -> str:
    of = f" of {row.base}" if row.base else ""
    bounds = dict.fromkeys(f"{v['bound']:.2f}" for v in verdicts if "bound" in v)
    if not bounds:
        return of.strip()
    why = " (noise)" if row.within_noise else ""
    if row.besides:
        why = f" (with the {row.besides})"
    return f"≤ {' / '.join(bounds)}{why}{of}"


# --- the command


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument(
        "--scenario", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the load, a quarter of the time"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all values")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="CHECKOUT",
        action="append",
        default=[],
        help="measure another checkout's addon too, such as a git worktree",
    )
    options = parser.parse_args()
    _allow_many_sockets()
    chosen = [s for s in SCENARIOS if not options.scenario or s.name in options.scenario]
    others = [other_checkout(path.resolve()) for path in options.compare]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aibridge-bench-") as directory:
        bench = Bench(others, quick=options.quick, directory=Path(directory))
        asyncio.run(_measure_all(bench, chosen))
    for table in tables(chosen, bench):
        console.print(table)
    progress.print(f"{time.monotonic() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(_report(chosen, bench), indent=1))


async def _measure_all(bench: Bench, scenarios: list[Scenario]) -> None:
    with upstream() as ports:
        for scenario in scenarios:
            with progress.status(scenario.title):
                start = time.monotonic()
                await bench.measure(scenario, ports)
            progress.print(f"{scenario.title}: {time.monotonic() - start:.0f} s")


def _report(scenarios: list[Scenario], bench: Bench) -> dict[str, Any]:
    results = bench.results
    return {
        "machine": platform.platform(),
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
        "values": results,
        "judged": {
            scenario.name: {
                row.measure: {
                    subject.name: judge(row, results[scenario.name], subject.name)
                    for subject in bench.judged(scenario)
                }
                for row in scenario.rows
            }
            for scenario in scenarios
        },
    }


def _allow_many_sockets() -> None:
    """Raise the limit of open files for this process and those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if most == resource.RLIM_INFINITY else min(8192, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


if __name__ == "__main__":
    main()
