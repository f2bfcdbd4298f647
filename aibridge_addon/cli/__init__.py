"""The `aibridge` command: one module per sub-command, imported when it is run.

    proxy.py run.py env.py usage.py token.py doctor.py ca.py completion.py   the sub-commands
    plan.py serving.py master.py dispatch.py shutdown.py logs.py   how mitmproxy is run
    running.py             finds a running proxy, or starts a temporary one
    connection.py          connection settings of the running proxy, and its login
    client_setup.py        variables and arguments for a client program
    authority.py bundle.py the CA, and the bundle that joins it with the system's
    checks/                checks of the doctor, one function each
    totals.py tables.py    sums of recorded usage, and tables on a terminal

Modules import mitmproxy, the SDKs and the like where they use them: those take seconds, and
`eval "$(aibridge env)"` stands in people's shell profiles.
"""

import difflib
import errno
import importlib

import click

from aibridge_addon import __version__

_COMMANDS = ("proxy", "run", "env", "usage", "token", "doctor", "ca", "completion")
"""In the order in which the help shows them. Each is a module with a `command`."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a sub-command; None if there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a sub-command; say in one line what cannot be written, such as a read-only home."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename is None or error.errno == errno.EPIPE:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command that arguments begin with; suggest one for a mistyped name."""
        name = args[0]
        if not (name.startswith("-") or name in _COMMANDS or ctx.resilient_parsing):
            close = difflib.get_close_matches(name, _COMMANDS, n=1)
            hint = (
                f" Did you mean {close[0]!r}?" if close else f" There are {', '.join(_COMMANDS)}."
            )
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Two commands to begin with:  aibridge run -- claude   and then   aibridge usage",
)
@click.version_option(__version__, prog_name="aibridge")
def main() -> None:
    """See what your AI clients send and spend.

    A proxy stands between AI clients (Claude Code, Codex, SDKs, anything that speaks HTTP) and AI
    providers, passes every byte on, and records who used which model with how many tokens, what
    they asked and which tools were called. All of it stays on your machine.
    """
