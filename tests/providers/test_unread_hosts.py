"""AI services that are not read: recognised by their hosts, and nothing else is."""

import pytest

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.hosts import is_pattern, mistake_in_pattern
from aibridge_addon.providers.routing import Router
from aibridge_addon.providers.unread_hosts import UNREAD_SERVICES, unread_service


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("api2.cursor.sh", "Cursor"),
        ("server.codeium.com", "Windsurf"),
        ("q.us-east-1.amazonaws.com", "Kiro"),
        ("ampcode.com", "Amp"),
        ("CLAUDE.ai.", "Claude (web)"),
        ("ws.chatgpt.com", "ChatGPT (web)"),
        ("api.groq.com", "groq"),
        ("acme.openai.azure.com", "azure"),
    ],
)
def test_host_of_an_ai_service_is_recognised(host: str, service: str) -> None:
    assert unread_service(host) == service


@pytest.mark.parametrize(
    "host", ["example.com", "amazonaws.com", "s3.amazonaws.com", "api2.cursor.sh.example", ""]
)
def test_other_host_is_no_ai_service(host: str) -> None:
    assert unread_service(host) is None


def test_patterns_of_unread_services_are_anchored() -> None:
    hosts = [host for service in UNREAD_SERVICES for host in service.hosts]

    assert [host for host in hosts if is_pattern(host) and mistake_in_pattern(host)] == []
    assert len(set(hosts)) == len(hosts)


def test_unread_services_are_not_intercepted() -> None:
    router = Router(DEFAULT_PROVIDERS)
    hosts = {host.replace("*", "x") for service in UNREAD_SERVICES for host in service.hosts}

    # Codex with a ChatGPT login uses the host of the web page too.
    assert {host for host in hosts if router.is_provider_host(host)} == {"chatgpt.com"}
