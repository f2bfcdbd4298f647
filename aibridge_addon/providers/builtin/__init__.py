"""Provider types of the package, one module each: a type, and the instances that need no
configuration.

Importing this package registers the types. A further type is a module here and a row in `_MODULES`.
"""

from aibridge_addon.providers.builtin import (
    anthropic,
    azure,
    bedrock,
    code_assist,
    compatible,
    copilot,
    gemini,
    ollama,
    openai,
    vertex,
)
from aibridge_addon.providers.types import register

# In reverse mode, each route has the methods that its clients use and no more, bridged routes too:
# by TRACE a provider would send the central key back, and DELETE of a model is for good. That other
# methods pass on a bridged path is for forward mode, where the key is the client's own.
_MODULES = (anthropic, openai, azure, copilot, bedrock, gemini, code_assist, vertex, ollama)

for _module in _MODULES:
    register(_module.TYPE)

DEFAULT_PROVIDERS = (
    *(instance for module in _MODULES for instance in module.INSTANCES),
    *compatible.INSTANCES,
)
"""Provider instances that need no configuration."""


def default_hosts(type_name: str) -> frozenset[str]:
    """Return the hosts of the default instances of a provider type."""
    instances = (instance for instance in DEFAULT_PROVIDERS if instance.type == type_name)
    return frozenset(host for instance in instances for host in instance.hosts)
