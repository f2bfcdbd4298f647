"""The `aibridge` command: one module per subcommand, imported when it is run.

    proxy.py run.py env.py usage.py web.py limits.py token.py doctor.py ca.py completion.py   the
                           subcommands
    listening_ports.py startup_message.py   parts of `proxy`
    plan.py serving.py master.py chosen_addons.py shutdown.py logs.py   how mitmproxy is run
    deferred_imports.py    modules of mitmproxy that are imported at their first use
    page.py dashboard.py   the web page, and the page inside the proxy's process
    token_use.py           last use and spend of access tokens
    own.py known_actors.py the owner of an access token, for `--mine`
    running.py             finds a running proxy, or starts a temporary one
    databases.py           opens the store that a command uses
    connection.py          connection settings of the running proxy, and its login
    client_setup.py        variables and arguments for a client program
    authority.py bundle.py the CA, and the bundle that joins it with the system's
    budget.py budget_state.py   budgets and their accounts
    central_keys.py        states of central keys and limits, from the running proxy
    plugins.py             imports the plugins that a command needs
    checks/                checks of the doctor, one function each
    tail.py search.py export.py show.py   single requests: live, by words, as JSON, as a tree
    migrate.py             copies a SQLite database into PostgreSQL
    prices.py reprice.py configured_prices.py   prices of recorded calls
    sessions.py            sessions
    status.py              proxy processes
    workers/               several processes behind the same ports
    usage_table.py columns.py   totals as a table that fits
    unread_traffic.py      tunnels to services that are not read
    filters.py             options that select requests
    totals.py tables.py    totals as text, and tables on a terminal
    request_lines.py tree.py timeline_tree.py safe_text.py   requests on a terminal
    parameters.py          parameter types

Modules import mitmproxy and other large packages where they use them: that takes seconds, and
people run `eval "$(aibridge env)"` in their shell profiles.
"""

import difflib
import errno
import importlib
import sys

import click

from aibridge_addon import __version__
from aibridge_addon.cli.deferred_imports import defer_imports

defer_imports()

_COMMANDS = (
    *(
        "proxy",
        "run",
        "env",
        "usage",
        "sessions",
        "tail",
        "show",
        "search",
        "web",
        "export",
        "limits",
        "status",
    ),
    *("budget", "token", "prices", "reprice", "migrate", "doctor", "ca", "completion"),
)
"""Modules with a `command`, in the order of the help."""


def _is_store_error(error: Exception) -> bool:
    """Return True for an error of a store, whose modules are imported by the commands."""
    errors = sys.modules.get("aibridge_addon.store.errors")
    return errors is not None and isinstance(error, errors.StoreError)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None for an unknown name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; report files and stores that cannot be used without a traceback."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename is None or error.errno == errno.EPIPE:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error
        except Exception as error:
            if not _is_store_error(error):
                raise
            raise click.ClickException(str(error)) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that arguments name; suggest one for a misspelled name."""
        name = args[0]
        if not (name.startswith("-") or name in _COMMANDS or ctx.resilient_parsing):
            close = difflib.get_close_matches(name, _COMMANDS, n=1)
            hint = (
                f" Did you mean {close[0]!r}?" if close else f" Commands: {', '.join(_COMMANDS)}."
            )
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try first:  aibridge run -- claude   and then   aibridge web",
)
@click.version_option(__version__, prog_name="aibridge")
def main() -> None:
    """Record what your AI clients send and spend.

    Runs a proxy between AI clients (Claude Code, Codex, SDKs, any HTTP client) and AI providers.
    The proxy relays every byte unchanged, and records who used which model, the tokens, the prompts
    and the tool calls. All records stay on your machine.
    """
