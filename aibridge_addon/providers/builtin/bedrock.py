"""Amazon Bedrock: InvokeModel, Converse, and the APIs of OpenAI and Anthropic (Bedrock Mantle).

Claude Platform on AWS is Anthropic's own API behind hosts of AWS.

Each region has hosts of its own, which requests keep: they may be signed.
"""

from collections.abc import Iterable

from aibridge_addon.formats import bedrock_converse, bedrock_invoke
from aibridge_addon.providers.builtin.anthropic import MESSAGES_ROUTES
from aibridge_addon.providers.builtin.anthropic import TYPE as ANTHROPIC
from aibridge_addon.providers.builtin.openai import ROUTES
from aibridge_addon.providers.instance import Provider
from aibridge_addon.providers.types import POST, READ, ProviderType, RouteTemplate, below

_INVOKE, _CONVERSE = bedrock_invoke.FORMAT.name, bedrock_converse.FORMAT.name

TYPE = ProviderType(
    name="bedrock",
    error_format=_INVOKE,
    credential_headers=("x-amz-security-token",),
    key_probe="/openai/v1/models",
    signing_service="bedrock",
    regional_url="https://bedrock-runtime.{region}.amazonaws.com",
    routes=(
        RouteTemplate(path="/model/{model}/invoke", methods=POST, api=_INVOKE),
        RouteTemplate(path="/model/{model}/invoke-with-response-stream", methods=POST, api=_INVOKE),
        RouteTemplate(path="/model/{model}/converse", methods=POST, api=_CONVERSE),
        RouteTemplate(path="/model/{model}/converse-stream", methods=POST, api=_CONVERSE),
        RouteTemplate(path="/model/{model}/count-tokens", methods=POST, counts_for=_CONVERSE),
        RouteTemplate(path="/inference-profiles", methods=READ),  # Claude Code, at its start
        RouteTemplate(path="/inference-profiles/*", methods=READ),
        *below("/openai/v1", ROUTES),
        *below("/v1", ROUTES),
        *below("/anthropic", MESSAGES_ROUTES),
    ),
)

_SERVICES = ("bedrock-runtime", "bedrock-runtime-fips", "bedrock-mantle")
_DOMAINS = ("amazonaws.com", "api.aws")
_SOVEREIGN_DOMAINS = (
    *("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    *("amazonaws.eu", "api.amazonwebservices.eu"),
    *("c2s.ic.gov", "api.aws.ic.gov", "sc2s.sgov.gov", "api.aws.scloud"),
    *("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
"""Domains of the partitions with price lists of their own: of IPv4, and dual-stack."""


def _hosts(domains: Iterable[str]) -> frozenset[str]:
    """Return the hosts of all regions, and those of VPC endpoints."""
    return frozenset(
        f"{host}.{domain}"
        for domain in domains
        for name in _SERVICES
        for host in (f"{name}.*", f"*.{name}.*.vpce")
    )


INSTANCES = (
    Provider(
        name="bedrock",
        type=TYPE.name,
        base_url="",
        hosts=_hosts(_DOMAINS),
        api_key_env="AWS_BEARER_TOKEN_BEDROCK",
        price_as="aws",
        is_optional=True,
    ),
    Provider(  # without known prices
        name="bedrock-sovereign",
        type=TYPE.name,
        base_url="",
        hosts=_hosts(_SOVEREIGN_DOMAINS),
        api_key_env="AWS_BEARER_TOKEN_BEDROCK",
        is_optional=True,
    ),
    Provider(
        name="anthropic-aws",
        type=ANTHROPIC.name,
        base_url="",
        hosts=frozenset({"aws-external-anthropic.*.api.aws"}),
        price_as="anthropic",
        is_optional=True,
    ),
)
