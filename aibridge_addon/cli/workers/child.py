"""A worker process: a proxy on the ports that its supervisor has bound."""

import sys

import click
from prometheus_client import generate_latest

from aibridge_addon.cli.logs import log_to_stderr
from aibridge_addon.cli.serving import Bridge, StartError, serve
from aibridge_addon.cli.workers.messages import Message, Report, read_assignment
from aibridge_addon.relay.connection_counts import ConnectionCounts
from aibridge_addon.relay.inherited_listeners import use_inherited


def main() -> None:
    """Run the proxy that the first line of stdin describes, until stdin is closed."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        assignment = read_assignment(stdin.readline())
    counts = ConnectionCounts(assignment.counts)
    use_inherited(assignment.descriptors, counts, assignment.slot)
    with log_to_stderr(assignment.log_format, verbose=assignment.verbose):
        try:
            bridge = serve(
                assignment.plan,
                on_up=lambda proxy: _say(Message(up=proxy)),
                on_change=lambda proxy: _say(Message(changed=proxy)),
                until_eof=True,
                on_question=_report,
            )
        except StartError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
    _report(bridge)


def _report(bridge: Bridge) -> None:
    if bridge.metrics is None or bridge.health is None:
        return
    _say(
        Message(
            report=Report(
                metrics=generate_latest(bridge.metrics.registry).decode(),
                health=bridge.health.as_json(),
                open_requests=bridge.open_requests,
            )
        )
    )


def _say(message: Message) -> None:
    # A supervisor that was killed no longer reads.
    try:
        sys.stdout.write(message.as_line() + "\n")
        sys.stdout.flush()
    except OSError:
        pass


if __name__ == "__main__":
    main()
