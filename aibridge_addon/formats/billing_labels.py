"""Labels that change the price of a call: service tier, speed and region. Sans-io."""

from collections.abc import Mapping

import msgspec

from aibridge_addon.facts import REQUESTED, ResponseFacts, Usage
from aibridge_addon.formats.usage import Extra
from aibridge_addon.raw_json import member, text

_GEO = "inference_geo"
_MEMBERS = ("service_tier", "speed", _GEO)
_WEB_SEARCH = "web_search"
_LABELS = (*_MEMBERS, _WEB_SEARCH)
_MOST = 64
"""Characters of a label."""


def requested_labels(members: dict[str, msgspec.Raw]) -> dict[str, str]:
    """Read the labels that a request asks for, given its members."""
    return {name: label[:_MOST] for name in _MEMBERS if (label := text(member(members, name)))}


def location_label(location: str | None) -> dict[str, str]:
    """Return the region of Vertex AI that a path names, unless its price is the usual one."""
    if not location or location == "global":
        return {}
    return {_GEO: location if "-" in location else f"{location} (multi-region)"}


def moved_labels(labels: Mapping[str, str], location: str) -> dict[str, str]:
    """Return the labels of a request that was sent to another location of Vertex AI."""
    others = {name: label for name, label in labels.items() if name != _GEO}
    return {**others, **location_label(location)}


def chat_search_label(members: dict[str, msgspec.Raw], model: str | None) -> dict[str, str]:
    """Return the label of a Chat request whose model searches the web, billed per search.

    OpenAI's search models always do. Chat responses of OpenAI state no number of searches.
    """
    searches = "web_search_options" in members or (model and "-search-" in model)
    return {_WEB_SEARCH: "requested"} if searches else {}


def with_assumed_labels(
    usage: Usage, response: ResponseFacts, requested: Mapping[str, str]
) -> Extra:
    """Return the `extra` of a usage, with labels that it does not report, marked as such.

    A call that the provider made by itself has the labels of its response, and any call otherwise
    the requested labels.
    """
    of_response = response.usage.extra if usage.call and response.usage else {}
    assumed = {**requested, **of_response}
    missing = (name for name in _LABELS if name in assumed and name not in usage.extra)
    return {**usage.extra, **{REQUESTED + name: assumed[name] for name in missing}}
