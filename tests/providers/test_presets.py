"""The table of known hosts: each row makes a working instance, in both modes."""

from typing import Any

import pytest

from aibridge_addon.prices import price_data
from aibridge_addon.prices.sellers import Seller, seller_of
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.instance import Provider, named
from aibridge_addon.providers.known_hosts import preset_of_host
from aibridge_addon.providers.presets import PRESETS
from aibridge_addon.providers.routing import Router

MESSAGES, CHAT, RESPONSES = "anthropic_messages", "openai_chat", "openai_responses"
COMPLETIONS = "openai_completions"
ROUTER: Any = Router(DEFAULT_PROVIDERS)
PUBLIC = [preset for preset in PRESETS.values() if not preset.is_local]


@pytest.mark.parametrize("preset", PUBLIC, ids=lambda preset: preset.name)
def test_public_host_is_intercepted_and_its_formats_are_recorded(preset: Any) -> None:
    path = preset.base_url.partition(preset.host)[2]
    routes = [ROUTER.forward(preset.host, f"{path}/chat/completions", "POST")]
    assert routes[0].api == CHAT
    for other in preset.other_paths:
        routes.append(ROUTER.forward(preset.host, f"{other}/responses", "POST"))
        assert routes[-1].api == RESPONSES
    if preset.anthropic_path is not None:
        path = f"{preset.anthropic_path}/v1/messages"
        routes.append(ROUTER.forward(preset.host, path, "POST"))
        assert (routes[-1].api, routes[-1].provider.type) == (MESSAGES, "anthropic")
    assert {route.provider.name for route in routes} == {preset.name}
    assert {(route.upstream, route.path) for route in routes} == {(None, None)}


@pytest.mark.parametrize("preset", PUBLIC, ids=lambda preset: preset.name)
def test_reverse_mode_reaches_the_url_of_the_table(preset: Any) -> None:
    chat = ROUTER.reverse(f"/{preset.name}/v1/chat/completions", "POST").upstream
    assert f"https://{chat.host}{chat.path}" == f"{preset.base_url}/chat/completions"

    messages = ROUTER.reverse(f"/{preset.name}/anthropic/v1/messages?beta=true", "POST")
    if preset.anthropic_path is None:
        assert messages is None
    else:
        expected = f"{preset.anthropic_path}/v1/messages?beta=true"
        assert (messages.upstream.host, messages.upstream.path) == (preset.host, expected)
        assert messages.provider.provider_type.authorization("k") == ("x-api-key", "k")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        *(("api.eu.mistral.ai", "mistral"), ("codestral.mistral.ai", "mistral")),
        *(("eu.openrouter.ai", "openrouter"), ("US.OpenRouter.ai.", "openrouter")),
        *(("eu-west-1.api.x.ai", "xai"), ("us.api.x.ai", "xai-us")),
        *(("dashscope-us.aliyuncs.com", "qwen"), ("cn-hongkong.dashscope.aliyuncs.com", "qwen")),
        *(("ws-1.eu-central-1.maas.aliyuncs.com", "qwen"), ("api.cohere.com", "cohere")),
        *(("eu.api.openai.com", "openai-eu"), ("open.bigmodel.cn", "zhipu")),
    ],
)
def test_regional_host_keeps_its_destination(host: str, name: str) -> None:
    route = ROUTER.forward(host, "/v1/chat/completions", "POST")

    assert (route.provider.name, route.api, route.upstream) == (name, CHAT, None)


@pytest.mark.parametrize(
    ("host", "path", "api"),
    [
        ("codestral.mistral.ai", "/v1/fim/completions", COMPLETIONS),
        ("api.mistral.ai", "/v1/agents/completions", CHAT),
        ("api.voyageai.com", "/v1/contextualizedembeddings", "openai_embeddings"),
        ("api.voyageai.com", "/v1/multimodalembeddings", "openai_embeddings"),
        ("api.jina.ai", "/v1/rerank", "rerank"),
        ("deepsearch.jina.ai", "/v1/chat/completions", CHAT),
        ("ai.api.nvidia.com", "/v1/retrieval/nvidia/reranking", "rerank"),
        ("ai.api.nvidia.com", "/v1/retrieval/nvidia/rerank-qa-1b/reranking", "rerank"),
        ("us.api.fireworks.ai", "/inference/v1/chat/completions", CHAT),
        ("api.deepseek.com", "/beta/chat/completions", CHAT),
        ("api.deepseek.com", "/beta/completions", COMPLETIONS),
        ("api.kimi.com", "/coding/v1/messages", MESSAGES),
        ("api.perplexity.ai", "/v1/responses", RESPONSES),
        ("api.perplexity.ai", "/chat/completions", CHAT),
        ("api.perplexity.ai", "/v1/agent", RESPONSES),
        ("api.perplexity.ai", "/v1/sonar", CHAT),
        ("router.huggingface.co", "/together/v1/chat/completions", CHAT),
        ("router.huggingface.co", "/fireworks-ai/inference/v1/chat/completions", CHAT),
        ("router.huggingface.co", "/hf-inference/models/org/m/v1/chat/completions", CHAT),
        ("api.cohere.com", "/v2/rerank", "rerank"),
        ("api.z.ai", "/api/coding/paas/v4/chat/completions", CHAT),
    ],
)
def test_model_call_below_another_path_of_a_known_host_is_recorded(
    host: str, path: str, api: str
) -> None:
    route = ROUTER.forward(host, f"{path}?x=1", "POST")

    assert (route.api, route.upstream, route.path) == (api, None, None)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("openrouter.ai", "/api/v1/other/batches"),
        ("openrouter.ai", "/api/v1/credits"),
        ("openrouter.ai", "/xchat/completionsx"),
        ("api.openai.com", "/dashboard/chat/completions"),
        ("openrouter.ai", "/" * 60_000),
    ],
)
def test_other_path_of_a_known_host_passes_unread(host: str, path: str) -> None:
    assert not ROUTER.forward(host, path, "POST").is_read


def test_names_and_hosts_of_default_instances_are_unique() -> None:
    names = [provider.name for provider in DEFAULT_PROVIDERS]
    hosts = [host for provider in DEFAULT_PROVIDERS for host in provider.hosts]

    assert (len(set(names)), len(set(hosts))) == (len(names), len(hosts))


def test_only_ollama_is_a_default_instance_on_this_machine() -> None:
    local = [p.name for p in DEFAULT_PROVIDERS if p.base_url and p.scheme != "https"]

    assert local == ["ollama"]


def test_sellers_of_all_presets_are_in_the_price_data() -> None:
    sellers = {preset.seller for preset in PRESETS.values()} - {None}

    assert sellers <= set(price_data.seller_ids())


@pytest.mark.parametrize(
    ("base_url", "asks"),
    [
        ("https://api.openai.com/v1", True),
        ("https://api.deepseek.com", True),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", True),
        ("https://api.mistral.ai/v1", False),
        ("https://openrouter.ai/api/v1", False),
        ("https://unknown.example/v1", False),
    ],
)
def test_usage_is_asked_for_only_where_that_is_known_to_be_needed(
    base_url: str, asks: bool
) -> None:
    provider = Provider(name="x", type="openai", base_url=base_url, hosts=frozenset())

    assert provider.takes_include_usage is asks


def test_rules_of_a_known_host_hold_for_instances_with_other_names() -> None:
    acme = Provider(
        name="acme", type="openai", base_url="https://api.groq.com/openai/v1", hosts=frozenset()
    )

    assert seller_of(acme.base_url) == Seller(id="groq")
    assert preset_of_host("api.groq.com.") == PRESETS["groq"]
    assert preset_of_host("api.eu.mistral.ai") == PRESETS["mistral"]
    assert preset_of_host("api.eu.mistral.ai.example") is None


def test_optional_instances_are_counted_not_listed() -> None:
    assert named(DEFAULT_PROVIDERS).startswith("anthropic, openai, chatgpt and ")
    assert named(DEFAULT_PROVIDERS[:2]) == "anthropic, openai"
