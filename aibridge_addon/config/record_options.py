"""Options of the record: where it is, what it contains and how long, as rows of `options`."""

from platformdirs import user_data_path

from aibridge_addon.config.capture import AUTO, read_capture
from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import at_least, capped

DATABASE_NAME = "aibridge.sqlite3"


def _default_database() -> str:
    return str(user_data_path("aibridge", appauthor=False) / DATABASE_NAME)


RECORD = (
    Option(
        name="aibridge_db",
        setting="database",
        default=_default_database,
        help=(
            "Database for all records: the path of a SQLite database, which is created if it does"
            " not exist, postgresql://…, or the location of a store that a plugin registers."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_recorder",
        setting="recorder",
        default="",
        help="Your own recorder, as module:Class, instead of the SQLite database.",
        fixed=True,
    ),
    Option(
        name="aibridge_on_record_failure",
        setting="refuse_unrecorded",
        read=lambda value: value == "refuse",
        default="relay",
        choices=("relay", "refuse"),
        help=(
            "While the database is unavailable: 'relay' passes requests on and spools their"
            " records; 'refuse' answers bridged requests with 503."
        ),
    ),
    Option(
        name="aibridge_retention_days",
        setting="retention_days",
        read=capped(),
        default=0,
        help="Delete interceptions and their details after this many days. 0: never.",
        fixed=True,
    ),
    Option(
        name="aibridge_content_days",
        setting="content_days",
        read=capped(),
        default=0,
        help=(
            "Delete recorded requests and responses (answers, results, system, requests) after this"
            " many days; the rest of the record stays. 0: with the rest."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_tool_memory_days",
        setting="tool_memory_days",
        read=capped(),
        default=30,
        help=(
            "Store hidden turns for this many days, so that later requests of a conversation"
            " contain the results of central tools. 0: forever."
        ),
        fixed=True,
    ),
    Option(
        name="aibridge_commit_wait_ms",
        setting="commit_wait",
        read=at_least(0, unit=0.001),
        default=2000,
        help="Maximum milliseconds that the end of a response waits until it is recorded.",
    ),
    Option(
        name="aibridge_capture",
        setting="capture",
        read=read_capture,
        default=AUTO,
        help=(
            "Content to record besides token counts, as a comma-separated list of prompts, tools,"
            " thoughts, answers, results, system and requests; all: everything; empty: none. auto:"
            " all at a proxy that only its own machine can use, else prompts,tools,thoughts."
        ),
    ),
    Option(
        name="aibridge_redact",
        setting="redact",
        default=True,
        help=(
            "Replace API keys, passwords in URLs and other secrets by marks in what is recorded."
            " Requests and responses stay unchanged."
        ),
    ),
)
