"""Script for mitmdump that loads the addon when a client asks for it, and then sets an option.

`GET /load` loads the script `LATE_SCRIPT`; `GET /mend` sets `aibridge_config` to `LATE_CONFIG`.
"""

import os

from mitmproxy import ctx, http


def request(flow: http.HTTPFlow) -> None:
    """Do what the path of the request says."""
    if flow.request.path == "/load":
        ctx.options.update(scripts=[*ctx.options.scripts, os.environ["LATE_SCRIPT"]])
    elif flow.request.path == "/mend":
        ctx.options.update(aibridge_config=os.environ["LATE_CONFIG"])
    flow.response = http.Response.make(204)
