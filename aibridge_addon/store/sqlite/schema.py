"""The tables, as migrations: small functions in order, each applied once, in a transaction.

Never change a released migration: add the next. Names of tables and columns are a contract with
the queries of users.
"""

from contextlib import closing

from sqlite_utils import Database, Migrations

from aibridge_addon.store.sqlite import (
    budget_tables,
    child_tables,
    content_tables,
    endings,
    limit_tables,
    processes,
    rollup_tables,
    search_index,
    tunnels,
)

TABLES = (
    "aibridge_interceptions",
    "aibridge_token_usages",
    "aibridge_user_prompts",
    "aibridge_tool_usages",
    "aibridge_model_thoughts",
    "aibridge_messages",
    "aibridge_parts",
    "aibridge_hidden_turns",
    "aibridge_tokens",
    "aibridge_background_responses",
    "aibridge_rate_limits",
    "aibridge_tunnels",
    "aibridge_processes",
    "aibridge_hourly",
    "aibridge_hourly_tools",
    "aibridge_stale_hours",
    "aibridge_spans",
    "aibridge_span_figures",
    "aibridge_span_models",
    "aibridge_span_sessions",
    "aibridge_span_tools",
    "aibridge_span_person_tools",
    "aibridge_span_latency",
    "aibridge_search_texts",
    "aibridge_endings",
    "aibridge_budget_entries",
    "aibridge_budget_counters",
    "aibridge_budget_holds",
    "aibridge_budget_resets",
    "aibridge_budget_warnings",
    "aibridge_budget_leases",
    "aibridge_budget_slices",
    "aibridge_limit_buckets",
    "aibridge_limit_slots",
)

migrations = Migrations("aibridge")


def migrate(db: Database) -> None:
    """Migrate a database to the newest schema.

    Raises:
        SchemaTooNewError: a newer version of this program has migrated it.
    """
    if unknown := unknown_migrations(db):
        raise SchemaTooNewError(f"it was migrated by a newer version: {', '.join(unknown)}")
    migrations.apply(db)
    search_index.prepare(db)


def unknown_migrations(db: Database) -> list[str]:
    """Return the names of applied migrations that this version does not know."""
    return sorted({applied.name for applied in migrations.applied(db)} - known_migrations())


def known_migrations() -> frozenset[str]:
    """Return the names of all migrations of this version."""
    with closing(Database(memory=True)) as empty:
        return frozenset(migration.name for migration in migrations.pending(empty))


class SchemaTooNewError(Exception):
    """The database has migrations that this version does not know."""


@migrations()
def m001_interceptions(db: Database) -> None:
    """Create the table of interceptions."""
    table = db.table("aibridge_interceptions")
    table.create(
        {
            "id": str,
            "initiator_id": str,
            "metadata": str,
            "provider": str,
            "provider_name": str,
            "api": str,
            "model": str,
            "client": str,
            "user_agent": str,
            "client_session_id": str,
            "correlating_tool_call_id": str,
            "credential_kind": str,
            "credential_hint": str,
            "streaming": int,
            "started_at": str,
            "ended_at": str,
            "status": str,
            "http_status": int,
            "error_type": str,
            "error_message": str,
            "partial": int,
        },
        pk="id",
        not_null={"initiator_id", "metadata", "provider", "provider_name", "api", "started_at"},
    )
    table.create_index(["initiator_id", "started_at"])
    table.create_index(["client_session_id"])


@migrations()
def m002_children(db: Database) -> None:
    """Create the tables whose rows belong to an interception."""
    child_tables.create_child(
        db,
        "aibridge_token_usages",
        {
            "model": str,
            "input_tokens": int,
            "output_tokens": int,
            "cache_read_input_tokens": int,
            "cache_write_input_tokens": int,
            "extra": str,
            "raw": str,
        },
    )
    child_tables.create_child(db, "aibridge_user_prompts", {"prompt": str})
    child_tables.create_child(
        db,
        "aibridge_tool_usages",
        {
            "tool": str,
            "tool_call_id": str,
            "server_url": str,
            "input": str,
            "injected": int,
            "invocation_error": str,
        },
    )
    db.table("aibridge_tool_usages").create_index(["tool_call_id"])
    child_tables.create_child(db, "aibridge_model_thoughts", {"content": str})


@migrations()
def m003_hidden_turns(db: Database) -> None:
    """Create the table of hidden turns of the inner loop."""
    table = db.table("aibridge_hidden_turns")
    table.create(
        {"scope": str, "key": str, "content": str, "created_at": str},
        pk=("scope", "key"),
        not_null={"content", "created_at"},
    )
    table.create_index(["created_at"])


@migrations()
def m004_tokens(db: Database) -> None:
    """Create the table of access tokens."""
    db.table("aibridge_tokens").create(
        {
            "id": str,
            "initiator_id": str,
            "digest": str,
            "providers": str,
            "models": str,
            "created_at": str,
            "expires_at": str,
            "revoked_at": str,
        },
        pk="id",
        not_null={"initiator_id", "digest", "providers", "models", "created_at"},
    )


@migrations()
def m005_request_kinds(db: Database) -> None:
    """Add the purpose of each request, and the ids that join the requests of one typed prompt."""
    table = db.table("aibridge_interceptions")
    for column in ("request_kind", "prompt_id", "agent_id"):
        table.add_column(column, str)
    table.create_index(["prompt_id"])


@migrations()
def m006_background_responses(db: Database) -> None:
    """Create the table of background responses, whose interceptions a later poll ends."""
    table = db.table("aibridge_background_responses")
    table.create(
        {
            "provider_name": str,
            "response_id": str,
            "interception_id": str,
            "content": str,
            "created_at": str,
        },
        pk=("provider_name", "response_id"),
        not_null={"interception_id", "content", "created_at"},
    )
    table.create_index(["interception_id"])


@migrations()
def m007_prompt_digests(db: Database) -> None:
    """Store each typed prompt once, whichever process or attempt sends it."""
    table = db.table("aibridge_user_prompts")
    table.add_column("digest", str)
    table.create_index(["digest"], unique=True)


@migrations()
def m008_index_of_starts(db: Database) -> None:
    """Index the start of interceptions, for `aibridge usage --since` and for retention."""
    db.table("aibridge_interceptions").create_index(["started_at"])


@migrations()
def m009_times_and_prices(db: Database) -> None:
    """Add access tokens, times of upstream requests and tool calls, and prices."""
    interceptions = db.table("aibridge_interceptions")
    interceptions.add_column("access_token_id", str)
    interceptions.add_column("ttft_ms", int)
    interceptions.create_index(["ended_at"])
    usages = db.table("aibridge_token_usages")
    for column, kind in {
        "upstream": int,
        "started_at": str,
        "duration_ms": int,
        "ttft_ms": int,
        "service_tier": str,
        "cost_nano_usd": int,
        "uncached_cost_nano_usd": int,
        "price_source": str,
        "unpriced_reason": str,
        "provider_cost_nano_usd": int,
    }.items():
        usages.add_column(column, kind)
    for column in ("duration_ms", "result_bytes"):
        db.table("aibridge_tool_usages").add_column(column, int)


@migrations()
def m010_content(db: Database) -> None:
    """Create the tables of what was said: parts, each stored once, and references to them."""
    content_tables.create(db)


@migrations()
def m011_rollup(db: Database) -> None:
    """Create the roll-up of figures by hour; the hours of all interceptions are to be rolled up."""
    rollup_tables.create(db)
    db.table("aibridge_interceptions").create_index(["client_session_id", "started_at"])


@migrations()
def m012_search(db: Database) -> None:
    """Create the table of searchable texts; `search_index.prepare` adds the index over it."""
    search_index.create_texts(db)


@migrations()
def m013_rate_limits(db: Database) -> None:
    """Create the table of the rate limits that responses stated last."""
    key = ("provider_name", "credential_kind", "credential_hint", "initiator_id", "header")
    table = db.table("aibridge_rate_limits")
    table.create(
        {**dict.fromkeys(key, str), "value": str, "seen_at": str},
        pk=key,
        not_null={"value", "seen_at"},
    )
    table.create_index(["seen_at"])


@migrations()
def m014_admins(db: Database) -> None:
    """Mark the access tokens whose owners see all records on the web page."""
    db.table("aibridge_tokens").add_column("admin", int, not_null_default=0)


@migrations()
def m015_endings(db: Database) -> None:
    """Number the ends of interceptions in the order of commits."""
    endings.create(db)


@migrations()
def m016_budgets(db: Database) -> None:
    """Create the tables of budgets: entries, counters, holds, resets, warnings and leases."""
    budget_tables.create(db)


@migrations()
def m017_index_of_failures(db: Database) -> None:
    """Index the start of interceptions that ended without completing: few among many."""
    db.execute(
        "CREATE INDEX idx_aibridge_interceptions_not_completed"
        " ON aibridge_interceptions (started_at) WHERE status <> 'completed'"
    )


@migrations()
def m018_rollup_of_sessions_and_tools(db: Database) -> None:
    """Add sessions, tools, weeks and latency to the roll-up, which is filled again by and by."""
    rollup_tables.add_sessions_and_tools(db)


@migrations()
def m020_processes(db: Database) -> None:
    """Create the table of proxy processes, which interceptions name."""
    processes.create(db)


@migrations()
def m021_tunnels(db: Database) -> None:
    """Create the table of tunnels to AI services that are not read."""
    tunnels.create(db)


@migrations()
def m022_budget_slices(db: Database) -> None:
    """Create the table of the room of budgets that processes have set aside."""
    budget_tables.create_slices(db)


@migrations()
def m023_shared_limits(db: Database) -> None:
    """Create the tables of limits that several processes count together."""
    limit_tables.create(db)


@migrations()
def m024_promised_slices(db: Database) -> None:
    """Promise slices of budgets to their owners for a moment."""
    budget_tables.add_promises(db)
