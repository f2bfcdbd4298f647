"""The scenarios of the benchmark in order, and the rows of its table with their bounds."""

from typing import Any

from bench_requests import (
    BURST_WITH_TOOLS,
    CHAT_STREAM,
    LARGE,
    LARGE_REPEATED,
    SMALL,
    SMALL_WITH_TOOLS,
    STREAM,
    STREAM_COALESCED,
    STREAM_ONE_BY_ONE,
    STREAM_WITH_TOOLS,
)
from bench_scenarios import (
    Load,
    LoadWithTools,
    Row,
    Scenario,
    measure_growth,
    measure_open_streams,
    measure_paced,
)
from bench_subjects import (
    ADDON,
    COMMAND,
    FULL_CAPTURE,
    STREAMS,
    WITH_POLICIES,
    WITH_PRICES,
    WITH_TOOLS,
)


def _requests(
    name: str, title: str, load: Load, *, seconds: float, bound: float, of_command: float
) -> Scenario:
    """Buffered responses, compared with a mitmdump that streams them."""
    own = {COMMAND.name: of_command}
    rows = (
        Row(measure="CPU", unit="ms", base=STREAMS.name, bound=bound, own_bounds=own),
        Row(measure="time", unit="ms", base=STREAMS.name),
    )
    return Scenario(name=name, title=title, rows=rows, run=load.run, seconds=seconds)


def _streams(
    name: str,
    title: str,
    load: Load,
    *,
    seconds: float,
    bound: float = 1.20,
    of_command: float | None = None,
    **upstream: Any,
) -> Scenario:
    """Streams, compared with a mitmdump that streams too."""
    own = {} if of_command is None else {COMMAND.name: of_command}
    rows = (
        Row(measure="CPU", unit="ms", base=STREAMS.name, bound=bound, own_bounds=own),
        Row(measure="first byte", unit="ms", base=STREAMS.name),
    )
    return Scenario(
        name=name,
        title=title,
        rows=rows,
        run=load.run,
        seconds=seconds,
        bases=(STREAMS,),
        **upstream,
    )


def _paced(name: str, title: str, *, bound: float, of_command: float, tls: bool) -> Scenario:
    """Many slow streams, compared with a mitmdump that streams too."""
    own = {COMMAND.name: of_command}
    rows = (
        Row(measure="CPU", unit="ms", base=STREAMS.name, bound=bound, own_bounds=own),
        Row(measure="first byte", unit="ms", base=STREAMS.name, within_noise=True),
        Row(measure="lag", unit="ms", base=STREAMS.name, bound=1.0, own_bounds={COMMAND.name: 0.5}),
        Row(measure="lag, p95", unit="ms", base=STREAMS.name),
    )
    return Scenario(
        name=name,
        title=title,
        rows=rows,
        run=measure_paced,
        seconds=40,
        bases=(STREAMS,),
        tls=tls,
    )


def _tools(name: str, title: str, load: LoadWithTools, *, seconds: float) -> Scenario:
    """Central tools that are offered and not called, compared with the addon without tools."""
    rows = (
        Row(measure="CPU", unit="ms", base=ADDON.name, bound=1.10, besides="CPU of the edit"),
        Row(measure="CPU of the tools", unit="ms"),
        Row(measure="CPU of the edit", unit="ms"),
    )
    return Scenario(
        name=name,
        title=title,
        rows=rows,
        run=load.run,
        seconds=seconds,
        bases=(ADDON,),
        judged=(WITH_TOOLS,),
    )


def _capture(
    name: str, title: str, load: Load, *, seconds: float, bound: float | None = None
) -> Scenario:
    """Everything that is said is recorded, compared with the addon that records less."""
    return Scenario(
        name=name,
        title=title,
        rows=(Row(measure="CPU", unit="ms", base=ADDON.name, bound=bound),),
        run=load.run,
        seconds=seconds,
        bases=(ADDON,),
        judged=(FULL_CAPTURE,),
    )


def _policies(name: str, title: str, load: Load, *, seconds: float) -> Scenario:
    """Budgets, limits, rules and breakers are on, compared with the addon and its prices alone."""
    return Scenario(
        name=name,
        title=title,
        rows=(Row(measure="CPU", unit="ms", base=WITH_PRICES.name, bound=1.05),),
        run=load.run,
        seconds=seconds,
        bases=(WITH_PRICES,),
        judged=(WITH_POLICIES,),
    )


SCENARIOS = (
    _requests(
        "small",
        "small JSON, 8 connections",
        Load(request=SMALL, count=300, connections=8),
        seconds=28,
        bound=1.35,
        of_command=0.70,
    ),
    _requests(
        "small-serial",
        "small JSON, one after the other",
        Load(request=SMALL, count=150, connections=1),
        seconds=18,
        bound=1.35,
        of_command=0.90,
    ),
    _requests(
        "large",
        "100 KB request, 8 connections",
        Load(request=LARGE, count=200, connections=8),
        seconds=26,
        bound=1.35,
        of_command=0.85,
    ),
    _capture(
        "capture-large",
        "100 KB request that repeats its history",
        Load(request=LARGE_REPEATED, count=200, connections=8),
        seconds=26,
        bound=1.25,
    ),
    _capture(
        "capture-stream",
        "200 events in chunks of 20",
        Load(request=STREAM_COALESCED, count=100, connections=4),
        seconds=20,
    ),
    _streams(
        "stream",
        "200 events, in a burst",
        Load(request=STREAM, count=80, connections=4),
        seconds=28,
        bound=1.0,
        of_command=0.42,
    ),
    _streams(
        "stream-chat",
        "200 events of Chat, in a burst",
        Load(request=CHAT_STREAM, count=80, connections=4),
        seconds=28,
        bound=1.0,
        of_command=0.46,
        host="localhost",
    ),
    _streams(
        "stream-tls",
        "200 events from TLS, in a burst",
        Load(request=STREAM, count=80, connections=4),
        seconds=28,
        bound=1.0,
        of_command=0.55,
        tls=True,
    ),
    _streams(
        "stream-coalesced",
        "200 events, 20 in a chunk",
        Load(request=STREAM_COALESCED, count=120, connections=4),
        seconds=16,
    ),
    _streams(
        "stream-one-by-one",
        "200 events, one by one",
        Load(request=STREAM_ONE_BY_ONE, count=30, connections=5),
        seconds=24,
    ),
    _paced("paced", "50 paced streams at once", bound=1.2, of_command=0.65, tls=False),
    _paced("paced-tls", "the same, from TLS", bound=1.2, of_command=0.72, tls=True),
    Scenario(
        name="open",
        title="1,000 open streams",
        rows=(
            Row(
                measure="memory",
                unit="MiB",
                base=STREAMS.name,
                bound=1.60,
                own_bounds={COMMAND.name: 1.15},
            ),
            Row(measure="a stream", unit="KiB", base=STREAMS.name),
            Row(
                measure="idle",
                unit="MiB",
                base=STREAMS.name,
                bound=1.70,
                own_bounds={COMMAND.name: 1.05},
            ),
        ),
        run=measure_open_streams,
        seconds=1,
        fresh=True,
        bases=(STREAMS,),
    ),
    Scenario(
        name="growth",
        title="10,000 requests",
        rows=(Row(measure="growth", unit="KiB/request", bound=3.0),),
        run=measure_growth,
        seconds=1,
        fresh=True,
        bases=(STREAMS,),
    ),
    _policies(
        "policies-small",
        "small JSON with all policies",
        Load(request=SMALL, count=300, connections=8),
        seconds=20,
    ),
    _policies(
        "policies-large",
        "100 KB request with all policies",
        Load(request=LARGE, count=200, connections=8),
        seconds=20,
    ),
    _tools(
        "tools-small",
        "small JSON with 3 tools",
        LoadWithTools(request=SMALL_WITH_TOOLS, count=300, connections=8),
        seconds=20,
    ),
    _tools(
        "tools-large",
        "100 KB request with 20 tools",
        LoadWithTools(request=LARGE, count=200, connections=8),
        seconds=20,
    ),
    _tools(
        "tools-stream",
        "200 events with 3 tools, one by one",
        LoadWithTools(request=STREAM_WITH_TOOLS, count=30, connections=5),
        seconds=24,
    ),
    _tools(
        "tools-burst",
        "200 events with 3 tools, in a burst",
        LoadWithTools(request=BURST_WITH_TOOLS, count=60, connections=4),
        seconds=20,
    ),
)
"""A new scenario goes here."""
