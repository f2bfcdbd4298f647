"""Provider types of the package: their routes and hosts, and models behind other names."""

from typing import Any

import pytest

from aibridge_addon.access.policies.named_models import models_of
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.routing import Router

ROUTER: Any = Router(DEFAULT_PROVIDERS)
MESSAGES, CHAT, RESPONSES = "anthropic_messages", "openai_chat", "openai_responses"


@pytest.mark.parametrize(
    ("host", "path", "api", "model"),
    [
        ("a.openai.azure.com", "/openai/deployments/d/chat/completions?api-version=1", CHAT, "d"),
        ("a.openai.azure.com", "/openai/deployments/a%20b/chat/completions", CHAT, "a b"),
        ("a.cognitiveservices.azure.com", "/openai/v1/chat/completions", CHAT, None),
        ("a.openai.azure.com", "/openai/responses?api-version=1", RESPONSES, None),
        ("a.openai.azure.com", "/openai/v1/responses", RESPONSES, None),
        ("a.services.ai.azure.com", "/anthropic/v1/messages", MESSAGES, None),
        ("a.openai.azure.com", "/openai/deployments/d/responses", None, None),
        ("api.githubcopilot.com", "/chat/completions", CHAT, None),
        ("api.individual.githubcopilot.com", "/responses", RESPONSES, None),
        ("api.enterprise.githubcopilot.com", "/v1/messages", MESSAGES, None),
        ("copilot-api.acme.ghe.com", "/chat/completions", CHAT, None),
        ("api.business.githubcopilot.com", "/agents/swe/jobs", None, None),
    ],
)
def test_default_instance_records_the_path_and_keeps_the_destination(
    host: str, path: str, api: str | None, model: str | None
) -> None:
    route = ROUTER.forward(host, path, "POST")

    assert (route.api, route.path_values.get("model")) == (api, model)
    assert (route.upstream, route.path) == (None, None)


@pytest.mark.parametrize(
    "host", ["api.github.com", "evil.githubcopilot.com", "openai.azure.com", "x.ghe.com"]
)
def test_other_hosts_are_not_intercepted(host: str) -> None:
    assert not ROUTER.is_provider_host(host)


def test_deployments_are_checked_by_their_models() -> None:
    azure = Provider(
        name="azure",
        type="azure",
        base_url="",
        hosts=frozenset({"*.openai.azure.com"}),
        models={"our-chat": "gpt-5"},
    )
    path = "/openai/deployments/our-chat/chat/completions"
    asked: Any = _Asked(Router([azure]).forward("a.openai.azure.com", path, "POST"), path)

    assert list(models_of(asked)) == ["gpt-5", "gpt-5", "unlisted"]


class _Asked:
    """The parts of `Asked` that name models."""

    method, fields, is_message = "POST", (), False

    def __init__(self, route: Any, path: str) -> None:
        self.route, self.path = route, path

    def content(self) -> bytes:
        return b'{"model": "our-chat", "fallback_model": "unlisted"}'
