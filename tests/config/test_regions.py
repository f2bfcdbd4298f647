"""Regions and profiles of provider instances in the config file."""

from pathlib import Path

import pytest

from aibridge_addon.config.file import ConfigFileError, ProviderTable, read_config_file
from aibridge_addon.providers.routing import Router


def table(**keys: str) -> ProviderTable:
    return ProviderTable.model_validate({"name": "bedrock", "type": "bedrock", **keys})


def test_region_sets_address_and_hosts_of_a_provider_that_signs() -> None:
    found = table(region="eu-west-1", profile="work").provider()
    assert found.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert "bedrock-runtime.*.amazonaws.com" in found.hosts
    assert (found.region, found.profile, found.can_sign) == ("eu-west-1", "work", True)


def test_base_url_beside_a_region_wins() -> None:
    found = table(region="eu-west-1", base_url="https://vpce.example.com").provider()
    assert found.base_url == "https://vpce.example.com"
    assert found.can_sign


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"type": "openai", "region": "eu-west-1"}, "region is not for the type 'openai'"),
        ({"profile": "work"}, "profile needs"),
        ({"region": "eu west"}, "region"),
    ],
)
def test_wrong_region_or_profile_is_reported(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table(**keys)


TWO_REGIONS = """
[[providers]]
name = "bedrock"
type = "bedrock"
region = "us-east-1"

[[providers]]
name = "bedrock-eu"
type = "bedrock"
region = "eu-west-1"
"""


def test_second_instance_with_a_region_has_the_host_of_its_region_only(tmp_path: Path) -> None:
    path = tmp_path / "aibridge.toml"
    path.write_text(TWO_REGIONS)
    router = Router(read_config_file(str(path)).provider_instances(("*",)))
    names = {
        host: route.provider.name
        for host in ("us-east-1", "eu-west-1", "ap-south-1")
        if (
            route := router.forward(
                f"bedrock-runtime.{host}.amazonaws.com", "/model/m/converse", "POST"
            )
        )
    }
    assert names == {"us-east-1": "bedrock", "eu-west-1": "bedrock-eu", "ap-south-1": "bedrock"}


@pytest.mark.parametrize("hosts", ["", 'hosts = ["bedrock-runtime.eu-west-1.amazonaws.com"]'])
def test_instances_with_the_same_region_are_reported(tmp_path: Path, hosts: str) -> None:
    path = tmp_path / "aibridge.toml"
    third = TWO_REGIONS[TWO_REGIONS.rindex("[[") :].replace("bedrock-eu", "again")
    path.write_text(TWO_REGIONS + third + hosts)
    with pytest.raises(ConfigFileError, match="give each host to one instance"):
        read_config_file(str(path))


def test_instances_whose_hosts_are_given_keep_them(tmp_path: Path) -> None:
    path = tmp_path / "aibridge.toml"
    path.write_text(TWO_REGIONS + "hosts = []")
    assert read_config_file(str(path)).providers[1].hosts == []
