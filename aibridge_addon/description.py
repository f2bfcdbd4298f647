"""Describes the running proxy to other processes: its URLs, and what its clients need.

`observe.announcement` stores the description in a file.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from mitmproxy.master import Master

from aibridge_addon.access.admission import AdmissionControl
from aibridge_addon.access.listening import is_loopback, is_private
from aibridge_addon.addresses import url_here
from aibridge_addon.config.capture import describe_capture
from aibridge_addon.config.settings import Settings
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.store import open_store


def describe_proxy(master: Master, settings: Settings) -> RunningProxy:
    """Describe a proxy that listens already."""
    options = master.options
    urls = _urls(master)
    metrics = settings.metrics_listen
    providers = settings.providers
    location = open_store(settings.database).location
    return RunningProxy(
        pid=os.getpid(),
        forward_url=urls.get("regular") or urls.get("upstream"),
        reverse_url=urls.get("reverse"),
        ca=_absolute(f"{options.confdir}/mitmproxy-ca-cert.pem"),
        database="" if settings.recorder else location,
        config=_absolute(options.aibridge_config),
        metrics_url=url_here(*metrics) if metrics else None,
        hosts=tuple(sorted(host for provider in providers for host in provider.hosts)),
        plain_hosts=tuple(
            sorted(
                host
                for provider in providers
                if provider.scheme == "http"
                for host in provider.hosts & {provider.host}
            )
        ),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        needs_login=bool(options.proxyauth) if "proxyauth" in options else False,
        token_rule=settings.token_rule,
        tokens_in=location,
        providers=tuple(provider.name for provider in providers),
        knows_runs=True,
        plugins=settings.plugins,
        open_on=_open_on(master),
        records=_records(master, settings),
    )


def _records(master: Master, settings: Settings) -> str:
    admission = AdmissionControl(open_store(settings.database), settings.token_rule)
    private = is_private(master.options, requires_token=admission.requires_token)
    return describe_capture(settings.capture, is_private=private)


def _absolute(path: str) -> str:
    """Return a path that other processes find, wherever they were started; empty stays empty."""
    return str(Path(path).expanduser().absolute()) if path else ""


def _open_on(master: Master) -> str:
    servers = master.addons.get("proxyserver").servers
    hosts = (server.listen_addrs[0][0] for server in servers if server.listen_addrs)
    return next((host for host in hosts if not is_loopback(host)), "")


def _urls(master: Master) -> dict[str, str]:
    servers = master.addons.get("proxyserver").servers
    return {
        server.mode.type_name: url_here(*server.listen_addrs[0][:2])
        for server in servers
        if server.listen_addrs
    }
