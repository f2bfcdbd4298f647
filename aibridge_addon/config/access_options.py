"""Options of access: who may use the proxy, and for which destinations, as rows of `options`."""

from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import capped
from aibridge_addon.config.origins import read_hosts, read_origins
from aibridge_addon.config.private_networks import read_private_networks

ACCESS = (
    Option(
        name="aibridge_require_actor",
        setting="require_actor",
        default=False,
        help="Refuse bridged requests whose actor would be anonymous.",
    ),
    Option(
        name="aibridge_actor_header",
        setting="actor_header",
        read=lambda value: value.strip().lower(),
        default="X-AIBridge-Actor",
        help=(
            "Request header that names the actor. It is never sent to the provider. Any client can"
            " set it: leave it empty if clients are not trusted."
        ),
    ),
    Option(
        name="aibridge_require_token",
        setting="require_token",
        default="auto",
        choices=("auto", "always", "never"),
        help=(
            "Require access tokens from clients, for tunnels too: 'auto' as soon as the first"
            " access token exists, 'always', or 'never'."
        ),
    ),
    Option(
        name="aibridge_allow_open",
        setting="allow_open",
        default=False,
        help="Allow listening on non-loopback addresses without authentication.",
        fixed=True,
    ),
    Option(
        name="aibridge_allowed_origins",
        setting="allowed_origins",
        read=read_origins,
        default="",
        help=(
            "Web origins whose pages may use the reverse proxy, as a comma-separated list such as"
            " https://app.example.com, or * for all. Without an access token, pages of other"
            " origins cannot use central keys and central tools."
        ),
    ),
    Option(
        name="aibridge_allowed_hosts",
        setting="allowed_hosts",
        read=read_hosts,
        default="",
        help=(
            "Host names by which clients without an access token may use the reverse proxy, as a"
            " comma-separated list, or * for all. Loopback names, IP addresses and the name that"
            " the proxy listens on are always allowed."
        ),
    ),
    Option(
        name="aibridge_private_networks",
        setting="private",
        read=read_private_networks,
        default="",
        help=(
            "Non-public destinations that clients may connect to through the proxy, as a"
            " comma-separated list of networks, addresses and host names, or * for all. Provider"
            " hosts from the config file are always allowed."
        ),
    ),
    Option(
        name="aibridge_max_connections",
        setting="max_connections",
        read=capped(),
        default=4096,
        help=(
            "Maximum number of open client connections; further connections are closed. Each needs"
            " at least two file descriptors. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_max_connections_per_address",
        setting="max_connections_per_address",
        read=capped(),
        default=0,
        help=(
            "Maximum number of open connections from one client address; further connections are"
            " closed. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_first_request_seconds",
        setting="first_request_seconds",
        read=capped(),
        default=120,
        help="Close client connections without a request after this many seconds. 0: never.",
    ),
)
