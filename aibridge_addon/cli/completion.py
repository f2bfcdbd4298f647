"""`aibridge completion`: prints click's script for shell completion."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_AIBRIDGE_COMPLETE"
"""Variable that makes click print completions."""


@click.command(short_help="Print a script for shell completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete the aibridge command.

    \b
    bash   echo 'eval "$(aibridge completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(aibridge completion zsh)"' >> ~/.zshrc
    fish   aibridge completion fish > ~/.config/fish/completions/aibridge.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(ctx.find_root().command, {}, "aibridge", _VARIABLE).source())
