"""Triggers: mark stale hours, number the ends of interceptions, and copy searchable texts.

Hours and ends are written when a transaction commits, under a lock that it holds to its end. So the
numbers are in the order of commits, and a roll-up that holds the lock misses no change.
"""

from aibridge_addon.store.search_texts import MAX_CHARACTERS

COMMIT_LOCK = 0x61_69_62_72_01
"""Key of the advisory lock of commits."""

_OF_CHILD = (
    "SELECT substr(i.started_at, 1, 13)"
    " FROM aibridge_interceptions i WHERE i.id = {row}.interception_id"
)
_HOURS = {
    "aibridge_interceptions": "SELECT substr({row}.started_at, 1, 13)",
    "aibridge_token_usages": _OF_CHILD,
    "aibridge_tool_usages": _OF_CHILD,
}
_ARGUMENTS = "new.tool || chr(10) || aibridge_atoms(coalesce(new.input, ''))"
_TEXTS = (
    ("aibridge_user_prompts", "prompt", "new.prompt"),
    ("aibridge_model_thoughts", "thought", "new.content"),
    ("aibridge_tool_usages", "arguments", _ARGUMENTS),
)


def _function(name: str, body: str, result: str = "trigger") -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {name} RETURNS {result}"
        f" LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
    )


def _mark(row: str, table: str) -> str:
    hour = _HOURS[table].format(row=row)
    return f"INSERT INTO aibridge_stale_hours (hour) {hour} ON CONFLICT DO NOTHING;"


def _on_commit(table: str) -> tuple[str, ...]:
    ends = (
        "IF TG_OP <> 'DELETE' AND new.ended_at IS NOT NULL"
        " AND (TG_OP = 'INSERT' OR old.ended_at IS NULL) THEN"
        " INSERT INTO aibridge_endings (interception_id) VALUES (new.id); END IF;"
    )
    body = (
        f"PERFORM pg_advisory_xact_lock({COMMIT_LOCK});"
        f" IF TG_OP <> 'INSERT' THEN {_mark('old', table)} END IF;"
        f" IF TG_OP <> 'DELETE' THEN {_mark('new', table)} END IF;"
        f" {ends if table == 'aibridge_interceptions' else ''} RETURN NULL;"
    )
    name = f"{table}_on_commit"
    return (
        _function(f"{name}()", body),
        f"DROP TRIGGER IF EXISTS {name} ON {table}",
        f"CREATE CONSTRAINT TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {table}"
        f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {name}()",
    )


_ATOMS = """CREATE OR REPLACE FUNCTION aibridge_atoms(document text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
RETURN coalesce((
    WITH RECURSIVE tree (place, item) AS (
        SELECT ARRAY[]::bigint[], document::json
        UNION ALL SELECT place || number, child FROM tree CROSS JOIN LATERAL (
            SELECT value AS child, ordinality AS number FROM json_each(
                CASE json_typeof(item) WHEN 'object' THEN item END) WITH ORDINALITY
            UNION ALL SELECT value, ordinality FROM json_array_elements(
                CASE json_typeof(item) WHEN 'array' THEN item END) WITH ORDINALITY
        ) children
    )
    SELECT string_agg(item #>> '{}', chr(10) ORDER BY place) FROM tree
    WHERE json_typeof(item) NOT IN ('object', 'array', 'null')
), '');
EXCEPTION WHEN data_exception THEN RETURN document; END $$"""
"""Returns the values in a JSON document, a line each; another text as it is."""


def _copy_text(table: str, kind: str, text: str) -> tuple[str, ...]:
    name = f"aibridge_search_{kind}"
    body = (
        "INSERT INTO aibridge_search_texts (source, interception_id, kind, text)"  # noqa: S608
        f" SELECT new.id, new.interception_id, '{kind}', substr(text, 1, {MAX_CHARACTERS})"
        f" FROM (SELECT {text} AS text) t WHERE text IS NOT NULL ON CONFLICT DO NOTHING;"
        " RETURN NULL;"
    )
    return (
        _function(f"{name}()", body),
        f"DROP TRIGGER IF EXISTS {name} ON {table}",
        f"CREATE TRIGGER {name} AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )


_REVOKED = (
    _function("aibridge_tokens_changed()", "NOTIFY aibridge_tokens; RETURN NULL;"),
    "DROP TRIGGER IF EXISTS aibridge_tokens_changed ON aibridge_tokens",
    "CREATE TRIGGER aibridge_tokens_changed AFTER INSERT OR UPDATE OR DELETE ON aibridge_tokens"
    " FOR EACH STATEMENT EXECUTE FUNCTION aibridge_tokens_changed()",
)
TRIGGERS = (
    *_on_commit("aibridge_interceptions"),
    *_on_commit("aibridge_token_usages"),
    *_on_commit("aibridge_tool_usages"),
    _ATOMS,
    *(statement for source in _TEXTS for statement in _copy_text(*source)),
    *_REVOKED,
)
"""Each can be executed again."""
