"""Regions and profiles of provider instances in the config file."""

import pytest

from aibridge_addon.config.file import ProviderTable


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
