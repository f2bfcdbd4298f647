"""The requests before and after a request in its conversation.

Requests of a session follow each other. Clients without sessions are followed by their tool calls:
a request with the result of a call comes after the request whose response made the call.
"""

from aibridge_addon.store.connection import Connection

MOST_LATER = 2_000
"""Most later requests of the actor among which the result of a call is looked for."""

_IN_SESSION = """
SELECT n.id FROM aibridge_interceptions n JOIN aibridge_interceptions i ON i.id = :id
WHERE n.client_session_id = i.client_session_id AND n.initiator_id = i.initiator_id
AND n.agent_id IS i.agent_id AND n.api = i.api
AND coalesce(n.request_kind, 'turn') IN (coalesce(i.request_kind, 'turn'), {kinds})
AND (n.started_at, n.id) {comparison} (i.started_at, i.id)
ORDER BY n.started_at {order}, n.id {order} LIMIT 1
"""
_PREVIOUS_IN_SESSION = _IN_SESSION.format(
    comparison="<",
    order="DESC",
    kinds="CASE i.request_kind WHEN 'compaction' THEN 'turn' ELSE '' END",
)
_NEXT_IN_SESSION = _IN_SESSION.format(comparison=">", order="ASC", kinds="''")
_WITH_THE_CALL = """
SELECT n.id FROM aibridge_interceptions i
JOIN aibridge_tool_usages t ON t.tool_call_id = i.correlating_tool_call_id
JOIN aibridge_interceptions n ON n.id = t.interception_id
WHERE i.id = :id AND n.id <> i.id AND n.initiator_id = i.initiator_id AND n.api = i.api
AND n.started_at <= i.started_at ORDER BY n.started_at DESC, n.id DESC LIMIT 1
"""
_WITH_THE_RESULT = """
SELECT n.id FROM (
    SELECT n.id, n.api, n.correlating_tool_call_id FROM aibridge_interceptions n
    WHERE n.initiator_id = (SELECT initiator_id FROM aibridge_interceptions WHERE id = :id)
    AND n.started_at >= (SELECT started_at FROM aibridge_interceptions WHERE id = :id)
    AND n.id <> :id ORDER BY n.started_at LIMIT :most
) n JOIN aibridge_interceptions i ON i.id = :id AND n.api = i.api
WHERE n.correlating_tool_call_id IN (
    SELECT tool_call_id FROM aibridge_tool_usages WHERE interception_id = :id AND injected = 0
) LIMIT 1
"""
_HAS_CALLS = (
    "SELECT 1 FROM aibridge_tool_usages WHERE interception_id = :id AND injected = 0 LIMIT 1"
)


def previous(connection: Connection, id_: str) -> str | None:
    """Return the id of the request before a request."""
    return _first(connection, _PREVIOUS_IN_SESSION, id_) or _first(connection, _WITH_THE_CALL, id_)


def following(connection: Connection, id_: str) -> str | None:
    """Return the id of the request after a request, with the results of its tool calls."""
    has_calls = connection.execute(_HAS_CALLS, {"id": id_}).fetchone()
    found = _first(connection, _WITH_THE_RESULT, id_) if has_calls else None
    return found or _first(connection, _NEXT_IN_SESSION, id_)


def _first(connection: Connection, query: str, id_: str) -> str | None:
    row = connection.execute(query, {"id": id_, "most": MOST_LATER}).fetchone()
    return str(row[0]) if row else None
