"""The route table, by both ways in, and what reverse mode must never let through."""

import itertools
import re
from typing import Any
from urllib.parse import unquote

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.routing import Router, Upstream
from aibridge_addon.providers.types import PROVIDER_TYPES, RouteTemplate

ANTHROPIC, OPENAI, CHATGPT = DEFAULT_PROVIDERS[:3]
ROUTER: Any = Router(DEFAULT_PROVIDERS)

MESSAGES, CHAT, RESPONSES = "anthropic_messages", "openai_chat", "openai_responses"
COMPACT = "openai_responses_compact"


def provider(base_url: str, **changes: object) -> Provider:
    """An instance named `acme`."""
    values: dict[str, Any] = {
        "name": "acme",
        "type": "openai",
        "hosts": frozenset(),
        "base_url": base_url,
    }
    return Provider(**values | changes)


# The table of the behaviour: instance, method, path as the provider knows it, wire format, label

ANTHROPIC_ROWS = [
    ("POST", "/v1/messages", MESSAGES, "/v1/messages"),
    ("POST", "/v1/messages/count_tokens", None, "/v1/messages/count_tokens"),
    ("GET", "/v1/models", None, "/v1/models"),
    ("GET", "/v1/models/claude-opus-4-5", None, "/v1/models/*"),
    ("POST", "/v1/messages/batches", "anthropic_batches", "/v1/messages/batches"),
    ("GET", "/v1/messages/batches/b/results", None, "/v1/messages/batches/*"),
    ("POST", "/api/event_logging/batch", None, "/api/event_logging/*"),
    ("HEAD", "/", None, "/"),
]
OPENAI_ROWS = [
    ("POST", "/v1/chat/completions", CHAT, "/v1/chat/completions"),
    ("POST", "/v1/responses", RESPONSES, "/v1/responses"),
    ("GET", "/v1/responses", None, "/v1/responses"),
    ("POST", "/v1/responses/compact", COMPACT, "/v1/responses/compact"),
    ("GET", "/v1/responses/resp_1", None, "/v1/responses/*"),
    ("POST", "/v1/responses/resp_1/cancel", None, "/v1/responses/*"),
    ("GET", "/v1/models", None, "/v1/models"),
    ("GET", "/v1/models/gpt-5", None, "/v1/models/*"),
    ("POST", "/v1/conversations", None, "/v1/conversations"),
    ("GET", "/v1/conversations/conv_1/items", None, "/v1/conversations/*"),
    ("POST", "/v1/completions", "openai_completions", "/v1/completions"),
    ("POST", "/v1/embeddings", "openai_embeddings", "/v1/embeddings"),
    ("POST", "/v1/moderations", "openai_moderations", "/v1/moderations"),
    ("POST", "/v1/images/generations", "openai_images", "/v1/images/generations"),
    ("POST", "/v1/images/edits", "openai_images", "/v1/images/edits"),
    ("POST", "/v1/audio/transcriptions", "openai_transcriptions", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/translations", "openai_transcriptions", "/v1/audio/translations"),
    ("POST", "/v1/audio/speech", "openai_speech", "/v1/audio/speech"),
    ("POST", "/v1/rerank", "rerank", "/v1/rerank"),
    ("POST", "/v1/responses/input_tokens", None, "/v1/responses/input_tokens"),
    ("POST", "/v1/batches", "openai_batches", "/v1/batches"),
    ("GET", "/v1/realtime", None, "/v1/realtime"),
    ("POST", "/v1/realtime/client_secrets", None, "/v1/realtime/client_secrets"),
    ("POST", "/v1/realtime/calls/c/hangup", None, "/v1/realtime/calls/*"),
    ("GET", "/v1/batches/batch_1", None, "/v1/batches/*"),
    ("POST", "/v1/files", None, "/v1/files"),
    ("GET", "/v1/files/file-1/content", None, "/v1/files/*"),
    ("POST", "/v1/uploads/upload_1/parts", None, "/v1/uploads/*"),
    ("POST", "/v1/vector_stores", None, "/v1/vector_stores"),
    ("POST", "/v1/vector_stores/vs_1/search", None, "/v1/vector_stores/*"),
]
ROWS = [(ANTHROPIC, *row) for row in ANTHROPIC_ROWS] + [(OPENAI, *row) for row in OPENAI_ROWS]


@pytest.mark.parametrize(("instance", "method", "path", "api", "label"), ROWS)
def test_forward_mode_matches_every_route_and_keeps_its_destination(
    instance: Any, method: str, path: str, api: str | None, label: Any
) -> None:
    (host,) = instance.hosts

    route = ROUTER.forward(host, path, method)

    assert (route.provider, route.api, route.label) == (instance, api, label)
    assert route.upstream is None


@pytest.mark.parametrize(("instance", "method", "path", "api", "label"), ROWS)
def test_reverse_mode_knows_every_row_and_sends_it_to_the_base_url(
    instance: Any, method: str, path: str, api: str | None, label: Any
) -> None:
    route = ROUTER.reverse(f"/{instance.name}{path}", method)

    assert (route.provider, route.api, route.label) == (instance, api, label)
    assert route.upstream == Upstream(scheme="https", host=instance.host, port=443, path=path)


@pytest.mark.parametrize(("instance", "method", "path", "api", "label"), ROWS)
def test_reverse_mode_routes_a_path_without_an_instance_to_its_target(
    instance: Any, method: str, path: str, api: str | None, label: Any
) -> None:
    route = ROUTER.reverse(path, method, target_host=instance.host.upper())

    assert (route.provider, route.api, route.label) == (instance, api, label)
    assert route.upstream.path == path


def test_head_of_the_base_url_itself_is_allowed() -> None:
    assert ROUTER.reverse("/anthropic", "HEAD").upstream.path == "/"
    assert ROUTER.reverse("/anthropic?x=1", "HEAD").upstream.path == "/?x=1"


def test_reverse_mode_allows_only_head_on_the_root() -> None:
    assert ROUTER.reverse("/anthropic/", "GET") is None
    assert ROUTER.reverse("/anthropic", "POST") is None


# Codex with a ChatGPT login


@pytest.mark.parametrize(
    ("method", "path", "api", "label"),
    [
        ("POST", "/backend-api/codex/responses", RESPONSES, "/v1/responses"),
        ("GET", "/backend-api/codex/responses", None, "/v1/responses"),
        ("POST", "/backend-api/codex/responses/compact", COMPACT, "/v1/responses/compact"),
        ("GET", "/backend-api/codex/responses/compact", None, "/v1/responses/compact"),
        ("GET", "/backend-api/codex/models?client_version=1", None, "/v1/models"),
        ("GET", "/backend-api/wham/accounts/check", None, "other"),
        ("POST", "/backend-api/conversation", None, "other"),
        ("GET", "/", None, "other"),
    ],
)
def test_only_codex_routes_of_chatgpt_are_bridged(
    method: str, path: str, api: str | None, label: Any
) -> None:
    route = ROUTER.forward("chatgpt.com", path, method)

    assert (route.provider, route.api, route.label) == (CHATGPT, api, label)
    assert route.upstream is None


def test_codex_may_come_to_chatgpt_by_the_reverse_proxy() -> None:
    route = ROUTER.reverse("/chatgpt/v1/responses", "POST")

    assert (route.provider, route.api) == (CHATGPT, RESPONSES)
    assert route.upstream == Upstream(
        scheme="https", host="chatgpt.com", port=443, path="/backend-api/codex/responses"
    )
    assert ROUTER.reverse("/chatgpt/backend-api/wham/accounts/check", "GET") is None


def test_only_responses_and_realtime_can_be_a_websocket() -> None:
    for host, base in (("api.openai.com", "/v1"), ("chatgpt.com", "/backend-api/codex")):
        assert ROUTER.forward(host, f"{base}/responses", "GET").socket == RESPONSES
        assert ROUTER.forward(host, f"{base}/responses", "POST").socket is None
        assert ROUTER.forward(host, f"{base}/realtime", "GET").socket == "openai_realtime"
        assert ROUTER.forward(host, f"{base}/chat/completions", "GET").socket is None
    assert ROUTER.reverse("/openai/v1/responses", "GET").socket == RESPONSES
    assert ROUTER.reverse("/openai/v1/responses/resp_1", "GET").socket is None


# Query, case, slashes


def test_query_is_not_matched_and_is_relayed() -> None:
    route = ROUTER.reverse("/anthropic/v1/messages?beta=true&x=/../y", "POST")

    assert route.api == MESSAGES
    assert route.upstream.path == "/v1/messages?beta=true&x=/../y"
    assert ROUTER.forward("api.anthropic.com", "/v1/messages?beta=true", "POST").api == MESSAGES


@pytest.mark.parametrize("path", ["/v1/Messages", "/V1/messages", "/v1/messages/"])
def test_case_and_a_trailing_slash_count_as_they_do_for_the_upstream(path: str) -> None:
    assert ROUTER.reverse("/anthropic" + path, "POST") is None
    route = ROUTER.forward("api.anthropic.com", path, "POST")
    assert (route.api, route.label, route.path) == (None, "other", None)


@pytest.mark.parametrize("path", ["//v1/messages", "/v1//messages", "///v1////messages"])
def test_doubled_slashes_are_collapsed_before_routing_and_the_collapsed_path_goes_up(
    path: str,
) -> None:
    query = "?x=//a//b"
    for prefix in ("/anthropic", "//anthropic"):
        route = ROUTER.reverse(prefix + path + query, "POST")
        assert (route.api, route.upstream.path) == (MESSAGES, "/v1/messages" + query)
    route = ROUTER.forward("api.anthropic.com", path + query, "POST")
    assert (route.api, route.upstream, route.path) == (MESSAGES, None, "/v1/messages" + query)


@pytest.mark.parametrize(
    ("path", "api", "upstream"),
    [
        ("/openai/v1//chat/completions", CHAT, "/v1/chat/completions"),
        ("/openai//v1/responses", RESPONSES, "/v1/responses"),
        ("/openai//v1//chat//completions?a=//", CHAT, "/v1/chat/completions?a=//"),
    ],
)
def test_doubled_slashes_are_collapsed_for_openai(
    path: str, api: str | None, upstream: Any
) -> None:
    route = ROUTER.reverse(path, "POST")
    assert (route.api, route.upstream.path) == (api, upstream)
    assert ROUTER.instance_of("/" + path).name == "openai"


def test_unknown_path_keeps_its_doubled_slashes_in_forward_mode() -> None:
    route = ROUTER.forward("api.anthropic.com", "/files//a?x=//", "GET")
    assert (route.label, route.upstream, route.path) == ("other", None, None)


def test_doubled_slashes_before_a_dot_segment_do_not_hide_it() -> None:
    assert ROUTER.reverse("/openai/v1//models//..//..//files", "GET") is None


@pytest.mark.parametrize(
    ("path", "api", "counts_for"),
    [("/messages", MESSAGES, None), ("/messages/count_tokens", None, MESSAGES)],
)
def test_anthropic_instance_takes_message_paths_without_v1(
    path: str, api: str | None, counts_for: Any
) -> None:
    for prefix in ("/anthropic", "/anthropic/"):
        route = ROUTER.reverse(f"{prefix}{path}?beta=true", "POST")
        assert (route.api, route.counts_for) == (api, counts_for)
        assert route.label == "/v1" + path
        assert route.upstream.path == f"/v1{path}?beta=true"
    assert ROUTER.reverse("/openai" + path, "POST") is None
    assert ROUTER.reverse("/anthropic" + path, "GET") is None
    assert ROUTER.reverse(path, "POST", target_host="api.anthropic.com").api == api


@pytest.mark.parametrize("path", ["/models", "/messages/batches", "/messages/"])
def test_anthropic_instance_takes_no_other_path_without_v1(path: str) -> None:
    assert ROUTER.reverse("/anthropic" + path, "POST") is None


def test_path_below_a_route_keeps_its_trailing_slash() -> None:
    assert ROUTER.reverse("/anthropic/v1/models/", "GET").upstream.path == "/v1/models/"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "post"])
def test_only_post_is_bridged_and_the_forward_proxy_passes_the_others_on(method: str) -> None:
    for host, path in (
        ("api.anthropic.com", "/v1/messages"),
        ("api.openai.com", "/v1/chat/completions"),
        ("api.openai.com", "/v1/responses"),
    ):
        route = ROUTER.forward(host, path, method)
        assert (route.api, route.label) == (None, path)


# Methods of reverse mode, where a central key may go along

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/anthropic/v1/messages", {"POST"}),
        ("/anthropic/v1/messages/count_tokens", {"POST"}),
        ("/anthropic/v1/models", {"GET", "HEAD"}),
        ("/anthropic/v1/models/claude-opus-4-5", {"GET", "HEAD"}),
        ("/anthropic/api/event_logging/batch", {"POST"}),
        ("/anthropic/", {"HEAD"}),
        ("/openai/v1/chat/completions", {"POST"}),
        ("/openai/v1/responses", {"POST", "GET"}),
        ("/openai/v1/responses/compact", {"POST"}),
        ("/openai/v1/responses/resp_1", {"GET", "POST", "DELETE"}),
        ("/openai/v1/models", {"GET", "HEAD"}),
        ("/openai/v1/models/ft:gpt-4.1:acme", {"GET", "HEAD"}),
        ("/openai/v1/conversations", {"GET", "POST", "DELETE"}),
        ("/openai/v1/conversations/conv_1/items", {"GET", "POST", "DELETE"}),
        ("/openai/v1/embeddings", {"POST"}),
        ("/openai/v1/files", {"GET", "HEAD", "POST"}),
        ("/openai/v1/files/file-1", {"GET", "HEAD", "DELETE"}),
        ("/openai/v1/uploads/upload_1/complete", {"POST"}),
        ("/openai/v1/vector_stores", {"GET", "HEAD", "POST"}),
        ("/openai/v1/vector_stores/vs_1/files/file-1", {"GET", "POST", "DELETE"}),
    ],
)
def test_reverse_mode_allows_the_methods_of_a_row_and_no_others(path: str, allowed: Any) -> None:
    odd = [*map(str.lower, METHODS), "", "POST ", "POSTS", "\udcff\udcfe"]

    assert {method for method in [*METHODS, *odd] if ROUTER.reverse(path, method)} == allowed


def test_no_route_allows_a_method_that_echoes_the_key() -> None:
    for table in PROVIDER_TYPES.values():
        for pattern in table.routes:
            assert pattern.methods <= {"GET", "HEAD", "POST", "PATCH", "DELETE"}


def test_only_event_logging_files_and_existing_batches_cannot_name_models() -> None:
    without = {
        pattern.path
        for table in PROVIDER_TYPES.values()
        for pattern in table.routes
        if not pattern.names_models
    }

    of_files = ("/files", "/files/*", "/uploads", "/uploads/*", "/batches/*")
    code_assist = {route.path for route in PROVIDER_TYPES["code-assist"].routes}
    others = {path for path in without - code_assist if not path.endswith(of_files)}
    assert others == {"/api/event_logging/*"}
    assert not ROUTER.reverse("/anthropic/api/event_logging/batch", "POST").names_models
    assert ROUTER.forward("api.openai.com", "/v1/audio/transcriptions", "POST").names_models


# What forward mode passes on, and reverse mode does not


@pytest.mark.parametrize("path", ["/v1/assistants", "/v1/organizations/api_keys", "/", "*", ""])
def test_forward_mode_relays_every_path_of_a_provider(path: str) -> None:
    route = ROUTER.forward("api.openai.com", path, "GET")

    assert route.provider == OPENAI
    assert (route.api, route.upstream, route.label) == (None, None, "other")


@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/assistants",
        "/openai/v1/organization/admin_api_keys",
        "/openai/v1",
        "/openai/v1/",
        "/openai/chat/completions",
        "/openai/v1chat/completions",
        "/openai/v2/responses",
        "/openai/v1/modelsx",
        "/anthropic/v1/agents",
        "/anthropic/v1/messagesx",
        "/anthropic/api/event_logging",
        "/anthropicx/v1/messages",
        "anthropic/v1/messages",
        "xanthropic/v1/messages",
        "/v1/messages",
        "/nobody/v1/messages",
        "/",
        "",
        "*",
    ],
)
def test_reverse_mode_refuses_paths_that_are_not_in_the_table(path: str) -> None:
    assert ROUTER.reverse(path, "POST") is None


def test_reverse_target_of_no_instance_allows_nothing_without_a_name() -> None:
    assert ROUTER.reverse("/v1/messages", "POST", target_host="example.com") is None
    assert ROUTER.reverse("/v1/messages", "POST", target_host="api.openai.com") is None


def test_name_in_the_path_wins_over_the_reverse_target() -> None:
    route = ROUTER.reverse("/anthropic/v1/messages", "POST", target_host="api.openai.com")

    assert route.provider == ANTHROPIC


def test_instance_of_a_forbidden_path_is_found() -> None:
    assert ROUTER.instance_of("/openai/v1/files?x") == OPENAI
    assert ROUTER.instance_of("/openai") == OPENAI
    assert ROUTER.instance_of("/v1/files") is None


@pytest.mark.parametrize("host", ["example.com", "anthropic.com", "x.api.anthropic.com", ""])
def test_host_of_no_instance_has_no_route(host: str) -> None:
    assert ROUTER.forward(host, "/v1/messages", "POST") is None
    assert not ROUTER.is_provider_host(host)


def test_hosts_are_compared_without_case() -> None:
    assert ROUTER.is_provider_host("API.Anthropic.COM")
    assert ROUTER.forward("API.Anthropic.COM", "/v1/messages", "POST").upstream is None


@pytest.mark.parametrize("host", ["api.anthropic.com.", "API.anthropic.com."])
def test_final_dot_of_a_host_name_is_ignored(host: str) -> None:
    assert ROUTER.is_provider_host(host)
    route = ROUTER.forward(host, "/v1/messages?x", "POST")
    assert (route.provider, route.api) == (ANTHROPIC, MESSAGES)
    assert route.upstream == Upstream(
        scheme="https", host="api.anthropic.com", port=443, path="/v1/messages?x"
    ), "the certificate is for the name without it"
    assert ROUTER.reverse("/v1/messages", "POST", target_host=host).provider == ANTHROPIC
    assert not ROUTER.is_provider_host(f"{host}.")


def test_instance_may_be_configured_with_the_dot() -> None:
    acme = provider("https://x.example./v1", hosts=frozenset({"x.example."}))

    assert Router([acme]).is_provider_host("x.example")


# Host patterns

REGIONS = provider("https://eu.llm.example/v1", hosts=frozenset({"*.llm.example"}))


def test_request_to_a_host_of_a_pattern_goes_where_the_client_chose() -> None:
    router: Any = Router([REGIONS])

    assert router.is_provider_host("us.llm.example")
    assert not router.is_provider_host("us.llm.example.org")
    route = router.forward("us.llm.example", "/v1//chat/completions?x=1", "POST")
    assert (route.provider, route.api) == (REGIONS, CHAT)
    assert (route.upstream, route.path) == (None, "/v1/chat/completions?x=1")
    assert router.tunnels_to("us.llm.example", 443) == []


def test_exact_host_of_another_instance_wins_over_a_pattern() -> None:
    own = provider("https://stand-in.example/v1", name="own", hosts=frozenset({"us.llm.example"}))
    route: Any = Router([REGIONS, own]).forward("us.llm.example", "/v1/responses", "POST")

    assert (route.provider, route.upstream.host) == (own, "stand-in.example")


def test_reverse_mode_goes_to_its_target_if_a_pattern_matches_it() -> None:
    router: Any = Router([REGIONS])
    route = router.reverse("/v1/chat/completions?x", "POST", target_host="us.llm.example")

    assert (route.provider, route.upstream) == (REGIONS, None)
    assert route.path == "/v1/chat/completions?x"
    assert router.reverse("/v1/assistants", "GET", target_host="us.llm.example") is None
    assert router.reverse("/acme/v1/responses", "POST").upstream.host == "eu.llm.example"


def test_instance_without_base_url_has_no_path_at_the_reverse_proxy() -> None:
    router = Router([provider("", hosts=frozenset({"*.llm.example"}))])

    assert router.reverse("/acme/v1/responses", "POST") is None
    assert router.reverse_prefixes == []
    assert router.forward("a.llm.example", "/v1/responses", "POST")


# Templates, and paths that must arrive as they were sent


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/models/{model}:{verb}", "/models/a:b:go", {"model": "a:b", "verb": "go"}),
        ("/models/{model}:{verb}", "/models/a%3Ago", {"model": "a", "verb": "go"}),
        ("/models/{model}:{verb}", "/models/a/b:go", None),
        ("/model/{model}/invoke", "/model/arn%3Aaws%2Fx/invoke", {"model": "arn:aws/x"}),
        ("/{+base}/v1/messages", "/v1/a/b/v1/messages", {"base": "v1/a/b"}),
        ("/{+base}/v1/messages", "/v1/messages", None),
    ],
)
def test_template_captures_values(template: str, path: str, values: Any) -> None:
    found = RouteTemplate(path=template, methods=frozenset({"POST"})).match(path)

    assert found == values


@pytest.mark.parametrize(
    ("template", "path", "changed"),
    [
        ("/{v}/models/{model}:{verb}", "/v1/models/a%2Eb%3Ago", "/v1/models/new@1%3Ago"),
        ("/{v}/models/{model}:{verb}", "/base/v1/models/a:go", "/base/v1/models/new@1:go"),
        ("/model/{model}/invoke", "/model/arn%3Aaws%2Fx/invoke", "/model/new@1/invoke"),
        ("/model/{model}/invoke", "/model/a/other", "/model/a/other"),
        ("/messages", "/v1/messages", "/v1/messages"),
    ],
)
def test_value_in_a_path_is_replaced_and_every_other_byte_kept(
    template: str, path: str, changed: str
) -> None:
    found = RouteTemplate(path=template, methods=frozenset({"POST"}))

    assert found.with_value(path, "model", "new@1") == changed


@pytest.mark.parametrize(("old", "new"), [("a%3A0", "b%3A0"), ("a:0", "b:0"), ("a", "b%3A0")])
def test_colon_of_a_new_value_is_written_as_in_the_old_one(old: str, new: str) -> None:
    found = RouteTemplate(path="/model/{model}/invoke", methods=frozenset({"POST"}))

    path = found.with_value(f"/model/{old}/invoke", "model", "b:0")
    assert path == f"/model/{new}/invoke"


@pytest.mark.parametrize("provider", DEFAULT_PROVIDERS, ids=lambda provider: provider.name)
def test_model_is_replaced_in_every_path_that_names_it(provider: Provider) -> None:
    for template in provider.provider_type.routes:
        if "{model}" in template.path:
            path = re.sub(r"\{\w+\}", "a%20b", template.path)
            expected = template.path.replace("{model}", "new")
            changed = template.with_value(path, "model", "new")
            assert changed == re.sub(r"\{\w+\}", "a%20b", expected)


def test_path_of_a_signed_request_is_not_changed() -> None:
    path = "//v1//chat/completions"

    assert ROUTER.forward("api.openai.com", path, "POST").path == "/v1/chat/completions"
    signed = ROUTER.forward("api.openai.com", path, "POST", is_signed=True)
    assert (signed.path, signed.upstream) == (None, None)


# Where nobody looks


@pytest.mark.parametrize(
    ("host", "port", "there"),
    [
        ("127.0.0.1", 11434, ["local"]),
        ("127.1", 11434, ["local"]),
        ("2130706433", 11434, ["local"]),
        ("127.0.0.1.", 11434, ["local"]),
        ("127.0.0.1", 443, []),
        ("Models.Example.", 443, ["named", "named-too"]),
        ("models.example", 8443, []),
        ("api.openai.com", 443, []),
        ("example.com", 443, []),
    ],
)
def test_instances_behind_a_tunnelled_address_are_found(host: str, port: int, there: Any) -> None:
    router: Any = Router(
        [
            OPENAI,
            provider("http://127.0.0.1:11434/v1", name="local"),
            provider("https://models.example/v1", name="named"),
            provider("https://models.example/v2", name="named-too"),
        ]
    )

    assert [found.name for found in router.tunnels_to(host, port)] == there


# Dot segments: the upstream might resolve them to a route that is not allowed


@pytest.mark.parametrize(
    "segment",
    [
        *("..", ".", "%2e%2e", "%2E.", ".%2e", "..%2f..", "..\\..", "%5c..%5C..", "a%2f..%2fb"),
        *("..;", "..;x=1", ".;", "%2e%2e%3b", "..%3Bx", "%252e%252e%252fx", "%25252e."),
        *("a%252f..%252fb", "..%253b", "%" + "25" * 20 + "2e%2e"),
    ],
)
def test_dot_segments_never_get_through_reverse_mode(segment: Any) -> None:
    for below in ("/openai/v1/models", "/openai/v1/responses", "/anthropic/v1/models"):
        assert ROUTER.reverse(f"{below}/{segment}", "GET") is None
        assert ROUTER.reverse(f"{below}/{segment}/v1/files", "GET") is None
        assert ROUTER.reverse(f"{below}/x/{segment}?q", "GET") is None


@pytest.mark.parametrize(
    "name",
    [
        *("gpt-5.1", "...", "a..b", ".hidden", "ft:gpt-4.1:acme::x", "a%2Fb", "100%25", "50%"),
        *("x;..", ";..", "a..;", "...;"),
    ],
)
def test_dots_within_a_name_get_through(name: str) -> None:
    assert ROUTER.reverse(f"/openai/v1/models/{name}", "GET").upstream.path == f"/v1/models/{name}"


PIECES = st.one_of(
    st.sampled_from(
        [
            *("anthropic", "openai", "acme", "v1", "api", "gateway"),
            *("messages", "count_tokens", "models", "event_logging", "chat", "completions"),
            *("responses", "conversations", "files", "admin"),
            *("/", "//", "..", ".", "\\", "%2e", "%2E%2e", "%2f", "%5c", "?", "#", ";", "%", "%00"),
        ]
    ),
    st.text(max_size=4),
)
PATHS = st.lists(PIECES, max_size=9).map(lambda pieces: "/" + "/".join(pieces)) | st.lists(
    PIECES, max_size=9
).map("".join)
ACME = provider("http://localhost:9090/gateway/v1", hosts=frozenset({"localhost"}))


@settings(max_examples=examples(300), deadline=None)
@given(
    path=PATHS,
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "TRACE"]),
    target=st.sampled_from(["", "api.anthropic.com", "api.openai.com", "localhost"]),
)
@example(path="/openai/v1/models/%2e%2e/files", method="GET", target="")
@example(path="/anthropic?/../v1/messages", method="HEAD", target="")
def test_reverse_mode_never_makes_an_upstream_path_outside_the_table(
    path: str, method: str, target: Any
) -> None:
    route: Any = Router([*DEFAULT_PROVIDERS, ACME]).reverse(path, method, target_host=target)

    if route is None:
        return
    instance = route.provider
    assert (route.upstream.scheme, route.upstream.host, route.upstream.port) == (
        instance.scheme,
        instance.host,
        instance.port,
    )
    bare = route.upstream.path.partition("?")[0]
    assert bare.startswith(instance.base_path)
    below = bare.removeprefix(instance.base_path)
    patterns = [
        pattern
        for pattern in PROVIDER_TYPES[instance.type].routes
        if pattern.match(below) is not None
    ]
    assert patterns or (method, bare) == ("HEAD", "/")
    assert method in patterns[0].methods if patterns else True
    for form in (below, unquote(below), unquote(unquote(below))):
        segments = form.replace("\\", "/").split("/")
        assert not {".", ".."} & {segment.partition(";")[0] for segment in segments}
    assert route.upstream.path.partition("?")[2] == path.partition("?")[2]


# Configured instances


def test_instance_may_be_named_freely() -> None:
    acme = provider("https://openrouter.ai/api/v1", name="my-router-2")

    route: Any = Router([acme]).reverse("/my-router-2/v1/chat/completions", "POST")

    assert route.api == CHAT
    assert route.upstream.path == "/api/v1/chat/completions"
    assert Router([acme]).reverse_prefixes == ["/my-router-2/v1"]


@pytest.mark.parametrize(
    ("base_url", "scheme", "host", "port", "base_path"),
    [
        ("https://api.groq.com/openai/v1", "https", "api.groq.com", 443, "/openai/v1"),
        ("https://api.groq.com/openai/v1/", "https", "api.groq.com", 443, "/openai/v1"),
        ("http://localhost:11434/v1", "http", "localhost", 11434, "/v1"),
        ("http://LocalHost", "http", "localhost", 80, ""),
        ("https://[::1]:8443/a/b", "https", "::1", 8443, "/a/b"),
    ],
)
def test_base_url_may_have_a_path_and_a_port_and_be_http(
    base_url: str, scheme: str, host: str, port: int, base_path: Any
) -> None:
    route: Any = Router([provider(base_url)]).reverse("/acme/v1/responses?x", "POST")

    assert route.api == RESPONSES
    assert route.upstream == Upstream(
        scheme=scheme, host=host, port=port, path=f"{base_path}/responses?x"
    )


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/v1/chat/completions"])
def test_forward_mode_knows_routes_below_the_path_of_the_base_url_and_below_the_usual_one(
    path: str,
) -> None:
    groq = provider("https://api.groq.com/openai/v1", hosts=frozenset({"api.groq.com"}))

    route: Any = Router([groq]).forward("api.groq.com", path, "POST")

    assert (route.api, route.label, route.upstream) == (CHAT, "/v1/chat/completions", None)


def test_forward_mode_sends_an_instance_s_host_to_its_stand_in() -> None:
    stand_in = provider(
        "http://127.0.0.1:9999",
        name="anthropic",
        type="anthropic",
        hosts=frozenset({"api.anthropic.com"}),
    )

    bridged: Any = Router([stand_in]).forward("api.anthropic.com", "/v1/messages?beta=true", "POST")
    other: Any = Router([stand_in]).forward("api.anthropic.com", "/v1/agents", "GET")

    assert bridged.api == MESSAGES
    assert bridged.upstream == Upstream(
        scheme="http", host="127.0.0.1", port=9999, path="/v1/messages?beta=true"
    )
    assert (other.label, other.upstream.path) == ("other", "/v1/agents")


def test_every_label_is_of_the_table() -> None:
    labels = {
        ROUTER.forward(host, path, "GET").label
        for host, path in itertools.product(
            ["api.anthropic.com", "api.openai.com"],
            ["/v1/models/a", "/v1/models/b", "/secret/1", "/secret/2", "/v1/responses/x/y"],
        )
    }

    assert labels == {"/v1/models/*", "/v1/responses/*", "other"}
