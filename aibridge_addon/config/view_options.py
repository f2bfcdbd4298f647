"""Options of mitmproxy's own interfaces, as rows of `options`."""

from aibridge_addon.config.option import Option
from aibridge_addon.config.option_values import MIB, capped

VIEWS = (
    Option(
        name="aibridge_kept_flows",
        setting="kept_flows",
        read=capped(),
        default=2000,
        help=(
            "Maximum number of flows that mitmweb and mitmproxy's console keep; the oldest are"
            " removed. Flows under way stay. 0: no limit."
        ),
    ),
    Option(
        name="aibridge_kept_flows_mib",
        setting="kept_flow_bytes",
        read=capped(unit=MIB),
        default=256,
        help="Maximum size, in MiB, of the flows that they keep, with all bodies. 0: no limit.",
    ),
)
