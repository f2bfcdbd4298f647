"""Options of the relayed traffic, as rows of `options`."""

from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import MIB, at_least, capped, read_names

TRAFFIC = (
    Option(
        name="aibridge_held_bodies_mib",
        setting="held_bodies",
        read=capped(unit=MIB),
        default=1024,
        help=(
            "Maximum MiB of all request bodies in memory together. A request that would exceed it"
            " is answered with 503. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_intercept",
        setting="intercept",
        default="*",
        help=(
            "Built-in provider instances that the forward proxy intercepts, as a comma-separated"
            " list of names or shell patterns. Connections to hosts of others are tunnelled."
        ),
        read=read_names,
    ),
    Option(
        name="aibridge_ask_chat_usage",
        setting="ask_chat_usage",
        default="auto",
        choices=("auto", "always", "never"),
        old_spellings={"true": "always", "false": "never"},
        help=(
            "Request usage for Chat Completions streams where the client does not, and remove the"
            " extra chunk from the response: 'auto' in the reverse proxy, from providers that are"
            " known to accept it; 'always'; or 'never'. It changes the request; without it, most"
            " providers report no usage for streams."
        ),
    ),
    Option(
        name="aibridge_max_body_mib",
        setting="max_body_bytes",
        read=at_least(1, unit=MIB),
        default=64,
        help=(
            "Maximum MiB of a body that is read. Larger bodies are relayed and recorded as partial."
            " A larger WebSocket message closes its connection with status 1009."
        ),
    ),
    Option(
        name="aibridge_direct",
        setting="direct",
        default=True,
        help=(
            "Relay chunks of streamed HTTP/1 responses from the provider's connection to the"
            " client's without mitmproxy's layers, which costs less CPU time. false: always"
            " through the layers."
        ),
    ),
)
