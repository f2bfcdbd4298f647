"""Claude Code at Amazon Bedrock, Vertex AI and Azure, in forward mode and by base URL."""

from collections.abc import Iterator

import pytest
from e2e.central import ADD, ToolServer
from e2e.proxies import RunProxy
from e2e.proxy import Proxy, config_toml
from e2e.records import Records
from e2e.tables import provider_toml
from standin import Server

from clients.asking import claude
from clients.conftest import MakeDesk, vertex_toml
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])
REGION = "us-east-1"
RESOURCE = "our-resource"
BUDGET = """
[[budgets]]
name = "day"
actors = ["spender"]
tokens = 1
credentials = ["byok", "centralized", "subscription"]
timezone = "UTC"
"""


@pytest.fixture(scope="module")
def cloud_proxy(run_proxy: RunProxy, standin: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    """A proxy with the stand-in in the place of both clouds, which signs and offers tools."""
    at_aws = [f"{name}.{REGION}.amazonaws.com" for name in ("bedrock-runtime", "bedrock")]
    config = "".join(
        (
            config_toml(standin.origin),
            provider_toml(standin.origin, "bedrock", *at_aws, region=REGION, price_as="aws"),
            vertex_toml(standin.origin),
            provider_toml(standin.origin, "azure", f"{RESOURCE}.services.ai.azure.com"),
            BUDGET,
        )
    )
    keys = {"AWS_ACCESS_KEY_ID": "AKIAOPERATOROPERATOR", "AWS_SECRET_ACCESS_KEY": "secret"}
    calc = {"calc": {"url": tool_server.url, "allow": "^add$"}}
    with run_proxy(standin.origin, config=config, servers=calc, env=keys) as shared:
        yield shared


@pytest.fixture
def cloud_desk(cloud_proxy: Proxy, make_desk: MakeDesk) -> Desk:
    return make_desk(cloud_proxy)


def bedrock_variables(desk: Desk, mode: Mode) -> dict[str, str]:
    variables = {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": REGION}
    if mode == "forward":
        keys = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
        return variables | keys
    return variables | {
        "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
        "ANTHROPIC_BEDROCK_BASE_URL": f"{desk.proxy.reverse_url}/bedrock",
    }


def vertex_variables(desk: Desk, mode: Mode) -> dict[str, str]:
    variables = {
        "CLAUDE_CODE_USE_VERTEX": "1",
        "CLOUD_ML_REGION": "global",
        "ANTHROPIC_VERTEX_PROJECT_ID": "p",
        "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1",
        "ANTHROPIC_AUTH_TOKEN": "ya29.token-of-google",
    }
    if mode == "forward":
        return variables
    return variables | {"ANTHROPIC_VERTEX_BASE_URL": f"{desk.proxy.reverse_url}/vertex/v1"}


def foundry_variables(desk: Desk, mode: Mode) -> dict[str, str]:
    url = f"https://{RESOURCE}.services.ai.azure.com/anthropic"
    if mode == "reverse":
        url = f"{desk.proxy.reverse_url}/azure/anthropic"
    return {
        "CLAUDE_CODE_USE_FOUNDRY": "1",
        "ANTHROPIC_FOUNDRY_BASE_URL": url,
        "ANTHROPIC_FOUNDRY_API_KEY": "key-of-azure-0123456789",
    }


def turns(records: Records) -> list[dict[str, object]]:
    return [row for row in records.interceptions if row["request_kind"] == "turn"]


@each_mode
def test_claude_code_on_bedrock_is_recorded(cloud_desk: Desk, mode: Mode) -> None:
    env = bedrock_variables(cloud_desk, mode)
    with cloud_desk.proxy.recording() as records:
        ran, output = claude(cloud_desk, "-p", "hello there TOKENS:11,7,5,3", mode=mode, env=env)
    assert ran.code == 0
    assert output["result"] == "Hello from the stand-in."
    [row] = turns(records)
    assert (row["provider"], row["api"], row["streaming"]) == ("bedrock", "bedrock_invoke", 1)
    assert (row["status"], row["client"]) == ("completed", "Claude Code")
    assert row["client_session_id"] == output["session_id"]
    kind = "byok" if mode == "forward" else "centralized"
    assert row["credential_kind"] == kind
    assert records.prompts == ["hello there TOKENS:11,7,5,3"]
    [usage] = [u for u in records.token_usages if u["interception_id"] == row["id"]]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    # Probes of its start are recorded, and are no prompts.
    assert {r["request_kind"] for r in records.interceptions} <= {"turn", "side"}


@each_mode
@pytest.mark.parametrize("cloud", ["bedrock", "vertex", "azure"])
def test_claude_code_in_a_cloud_shows_a_spent_budget_and_soon_stops(
    cloud_desk: Desk, mode: Mode, cloud: str
) -> None:
    variables = {
        "bedrock": bedrock_variables,
        "vertex": vertex_variables,
        "azure": foundry_variables,
    }[cloud](cloud_desk, mode)
    env = variables | {"ANTHROPIC_CUSTOM_HEADERS": "X-AIBridge-Actor: spender"}
    with cloud_desk.proxy.recording() as records:
        _, output = claude(cloud_desk, "-p", "hello", mode=mode, env=env)
    assert "this request may cost more than all of budget 'day'" in output["result"]
    sent = [row["error_type"] for row in turns(records)]
    assert set(sent) == {"budget_exceeded"}
    # It takes any 400 of Bedrock and Vertex AI for a doubt about the shape of its messages.
    assert len(sent) <= (1 if cloud == "azure" else 3)


def test_claude_code_on_bedrock_gets_results_of_a_central_tool(cloud_desk: Desk) -> None:
    typed = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment'
    env = bedrock_variables(cloud_desk, "reverse")
    with cloud_desk.proxy.recording() as records:
        ran, output = claude(cloud_desk, "-p", typed, mode="reverse", env=env)
    assert ran.code == 0
    assert output["result"].endswith("The tool returned: 42")
    [call] = records.tool_usages
    assert (call["tool"], call["injected"]) == ("add", 1)


def assert_is_recorded(desk: Desk, mode: Mode, env: dict[str, str], provider: str) -> None:
    """Ask something through a cloud with Anthropic's format; assert that the record is complete."""
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", "hello there TOKENS:11,7,5,3", mode=mode, env=env)
    assert ran.code == 0
    assert output["result"] == "Hello from the stand-in."
    [row] = turns(records)
    assert (row["provider"], row["api"]) == (provider, "anthropic_messages")
    assert (row["status"], row["client_session_id"]) == ("completed", output["session_id"])
    assert records.prompts == ["hello there TOKENS:11,7,5,3"]
    [usage] = [u for u in records.token_usages if u["interception_id"] == row["id"]]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)


@each_mode
def test_claude_code_on_vertex_is_recorded(cloud_desk: Desk, mode: Mode) -> None:
    assert_is_recorded(cloud_desk, mode, vertex_variables(cloud_desk, mode), "vertex")


@each_mode
def test_claude_code_in_azure_foundry_is_recorded(cloud_desk: Desk, mode: Mode) -> None:
    assert_is_recorded(cloud_desk, mode, foundry_variables(cloud_desk, mode), "azure")
