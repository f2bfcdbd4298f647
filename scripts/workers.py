"""Compares several workers of `aibridge proxy` with one: CPU time per request, and throughput.

Both proxies run side by side; each round asks both, in turn, so that a busy machine changes the
ratios little. Load and upstream are separate processes that take cores too: with few cores, the
throughput says how much of the machine is left for the workers, and only CPU time compares them.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench_load import Connection, connect
from bench_subjects import upstream
from load import Loaded, running, streams
from load_sessions import KINDS

_CONNECTIONS = 16


async def _small(loaded: Loaded, requests: int) -> tuple[float, float]:
    """Return CPU seconds and elapsed seconds of small requests."""
    connections: list[Connection] = [await connect(loaded.port) for _ in range(_CONNECTIONS)]

    async def run(number: int) -> None:
        for turn in range(requests // _CONNECTIONS):
            await connections[number].ask(KINDS["chat"].request(turn, f"session-{number}"))

    cpu, begun = loaded.cpu_seconds(), time.monotonic()
    await asyncio.gather(*map(run, range(_CONNECTIONS)))
    seconds = time.monotonic() - begun
    await asyncio.sleep(0.3)  # the proxy still writes
    for connection in connections:
        connection.close()
    return loaded.cpu_seconds() - cpu, seconds


async def _paced(loaded: Loaded, count: int) -> tuple[float, float]:
    return await streams(loaded, count), 1.0


async def compare(one: Loaded, many: Loaded, options: argparse.Namespace) -> None:
    """Print the median ratios of all rounds, with the lowest and the highest."""
    print(f"{options.workers} workers compared with one: medians of {options.rounds} rounds")
    for name, measure, count in (
        ("small JSON", _small, options.requests),
        ("paced streams", _paced, options.streams),
    ):
        for loaded in (one, many):
            await measure(loaded, _CONNECTIONS)  # warm up
        cpu, throughput = [], []
        for number in range(options.rounds):
            order = (one, many) if number % 2 else (many, one)
            found = {loaded.port: await measure(loaded, count) for loaded in order}
            cpu.append(found[many.port][0] / found[one.port][0])
            throughput.append(found[one.port][1] / found[many.port][1])
        print(f"{name:14} CPU per request {_spread(cpu)}")
        if measure is _small:
            print(f"{name:14} throughput      {_spread(throughput)}")


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Run both proxies and compare them."""
    parser = argparse.ArgumentParser(prog="scripts/workers", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="workers of the larger proxy")
    parser.add_argument("--db", help="database that both record in; default: SQLite files")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=480, help="small requests in a round")
    parser.add_argument("--streams", type=int, default=50, help="paced streams in a round")
    options = parser.parse_args()
    with ExitStack() as stack:
        port = stack.enter_context(upstream()).plain
        one, many = (
            stack.enter_context(
                running(
                    argparse.Namespace(workers=count, db=options.db),
                    Path(stack.enter_context(tempfile.TemporaryDirectory())),
                    port,
                )
            )
            for count in (1, options.workers)
        )
        asyncio.run(compare(one, many, options))


if __name__ == "__main__":
    main()
