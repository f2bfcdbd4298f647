"""Nests the requests of a session: sub-agents under the request that started them. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aibridge_addon.report.rows import RequestRow


@dataclass(slots=True)
class SessionNode:
    """A request of the main conversation, with the sub-agents that it started."""

    request: RequestRow
    agents: list["AgentRun"] = field(default_factory=list)


@dataclass(slots=True)
class AgentRun:
    """The requests of one sub-agent, oldest first."""

    agent_id: str
    requests: list[RequestRow] = field(default_factory=list)


def nest(requests: Iterable[RequestRow]) -> list[SessionNode]:
    """Return the requests of the main conversation, oldest first, with their sub-agents.

    A sub-agent belongs to the newest earlier request with its prompt id, or else to the newest
    earlier request. The first request of a session is never nested.
    """
    nodes: list[SessionNode] = []
    by_prompt: dict[str, SessionNode] = {}
    runs: dict[str, AgentRun] = {}
    for row in sorted(requests, key=lambda row: (row.started_at, row.id)):
        if row.agent_id is None or not nodes:
            nodes.append(SessionNode(row))
            if row.prompt_id:
                by_prompt[row.prompt_id] = nodes[-1]
            continue
        run = runs.get(row.agent_id)
        if run is None:
            run = runs[row.agent_id] = AgentRun(row.agent_id)
            by_prompt.get(row.prompt_id or "", nodes[-1]).agents.append(run)
        run.requests.append(row)
    return nodes


def in_order(nodes: Iterable[SessionNode]) -> Iterator[RequestRow]:
    """Yield the requests of a tree: each request, then those of its sub-agents."""
    for node in nodes:
        yield node.request
        for run in node.agents:
            yield from run.requests
