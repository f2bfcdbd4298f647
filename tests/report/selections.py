"""Generated filters and periods, and an independent check of which requests they select."""

from itertools import product

from hypothesis import strategies as st
from report.databases import START, Request

from aibridge_addon.report.queries import RequestQuery

BOUNDS = st.sampled_from(
    [
        "",
        *(
            START.replace(hour=hour, minute=minute).isoformat(timespec="microseconds")
            for hour, minute in ((20, 0), (21, 30), (22, 0), (23, 15))
        ),
    ]
)


@st.composite
def filters(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Generate filters: most often none."""
    accepted = {
        "actors": ["alice", "al*"],
        "teams": ["search", "7", ""],
        "models": ["opus", "gpt[1m]", "gpt[*", ""],
        "clients": ["Codex"],
        "providers": ["openai"],
        "kinds": ["turn"],
        "tokens": ["t1", ""],
        "statuses": ["completed", "open"],
        "tools": ["Read"],
        "sessions": ["s-1", ""],
    }
    if draw(st.booleans()):
        return {}
    name = draw(st.sampled_from(sorted(accepted)))
    return {name: tuple(draw(st.lists(st.sampled_from(accepted[name]), min_size=1, max_size=2)))}


def matches(request: Request, query: RequestQuery) -> bool:
    """Return True if a request meets the filters above; independent of the SQL."""
    if request.started_at < query.since or (query.until and request.started_at >= query.until):
        return False
    if query.for_actor not in (None, request.actor):
        return False
    values = {
        "actors": [request.actor],
        "teams": ["" if request.team is None else str(request.team)],
        "models": [request.model or ""],
        "clients": [request.client],
        "providers": [request.provider],
        "kinds": [request.kind or ""],
        "tokens": [request.token or ""],
        "statuses": [request.status or "open"],
        "tools": request.tools,
    }
    for name, has in values.items():
        accepted = getattr(query, name)
        if accepted and not any(
            v == a or (a[-1:] == "*" and v.startswith(a[:-1])) for v, a in product(has, accepted)
        ):
            return False
    begins = [s for s in query.sessions if (request.session or "").startswith(s) and s]
    return not query.sessions or bool(begins) or ("" in query.sessions and not request.session)
