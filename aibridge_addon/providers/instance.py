"""Provider instances: the named hosts of provider types. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from aibridge_addon.providers.central_keys import CentralKey
from aibridge_addon.providers.known_hosts import preset_of_host, takes_include_usage
from aibridge_addon.providers.resend_rules import NO_RESENDS, ResendRules
from aibridge_addon.providers.types import PROVIDER_TYPES, ProviderType


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider instance: a configured name for a host of a provider type."""

    name: str
    type: str
    """Name of its type in `PROVIDER_TYPES`."""
    base_url: str
    """Empty if it is used in forward mode only, with the hosts that clients choose."""
    hosts: frozenset[str]
    """Hosts intercepted in forward mode, and patterns of them: see `hosts`."""
    api_key_env: str | None = None
    """The environment variable that holds the central key."""
    keys: tuple[CentralKey, ...] = ()
    """The pool of central keys, in place of `api_key_env`."""
    resend: ResendRules = NO_RESENDS
    circuit_breaker: bool = False
    """True if requests are stopped for a time after several failures in a row."""
    include_usage: bool | None = None
    """True if it accepts `stream_options.include_usage`, without which its Chat streams have no
    usage. None: decided by a table of hosts."""
    send_actor: bool = False
    """True if headers name the actor to it."""
    models: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Models by the names that requests use for them, such as the deployments of Azure."""
    anthropic_path: str | None = None
    """Path on its host below which it speaks Anthropic Messages too; None if it does not."""
    region: str | None = None
    """The region for which requests of the reverse proxy are signed."""
    profile: str | None = None
    """The profile of the AWS credentials that sign them. None: the default of the environment."""
    is_optional: bool = False
    """True if it needs no configuration and is probably not used."""
    price_as: str | None = None
    """The seller whose price list applies. None: decided by the host."""

    @property
    def central_keys(self) -> tuple[CentralKey, ...]:
        """The central keys: the pool, or a single key."""
        return self.keys or ((CentralKey(env=self.api_key_env),) if self.api_key_env else ())

    @property
    def provider_type(self) -> ProviderType:
        """Routes, credentials and error shape of its type."""
        return PROVIDER_TYPES[self.type]

    @property
    def can_sign(self) -> bool:
        """True if requests without a key can be signed with the operator's credentials."""
        return bool(self.region and self.provider_type.signing_service)

    @property
    def base_paths(self) -> tuple[str, ...]:
        """The path of the base URL, and further paths of its host that mean the same."""
        preset = preset_of_host(self.host)
        return (self.base_path, *(preset.other_paths if preset else ()))

    @property
    def as_anthropic(self) -> "Provider | None":
        """The instance as clients of Anthropic Messages see it; None if it does not speak that."""
        if self.anthropic_path is None or not self.base_url:
            return None
        base_url = urlsplit(self.base_url)._replace(path=self.anthropic_path).geturl()
        return replace(self, type="anthropic", base_url=base_url, anthropic_path=None)

    def model_of(self, name: str) -> str:
        """Return the model that a request names."""
        return self.models.get(name, name)

    def name_of(self, model: str) -> str:
        """Return the name by which a request asks for a model, such as the name of a deployment."""
        names = (name for name, found in self.models.items() if found == model)
        return model if model in self.models else next(names, model)

    @property
    def takes_include_usage(self) -> bool:
        """True if a request may set `stream_options.include_usage`."""
        if self.include_usage is None:
            return takes_include_usage(self.host)
        return self.include_usage

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.base_url).scheme

    @property
    def host(self) -> str:
        """The host of the base URL."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the base URL."""
        return urlsplit(self.base_url).port or (443 if self.scheme == "https" else 80)

    @property
    def base_path(self) -> str:
        """The path of the base URL, without a trailing slash."""
        return urlsplit(self.base_url).path.rstrip("/")

    @property
    def reverse_prefix(self) -> str:
        """The part of a reverse-proxy path before the route."""
        return f"/{self.name}{self.provider_type.prefix}"


def named(providers: Collection[Provider]) -> str:
    """Return the names of instances for people; of optional ones, their number."""
    names = [provider.name for provider in providers if not provider.is_optional]
    more = len(providers) - len(names)
    return ", ".join(names) + (f" and {more} more providers" if more else "")
