"""Attribution of two hundred concurrent clients with an access token each."""

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.store import open_store
from e2e.bodies import APIS, Api
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy
from e2e.test_tokens import BEARER, CENTRAL, HEADER, LOGIN, Place

CLIENTS = 200
QUESTIONS = 3
TIMEOUT_S = 110.0

_KINDS = tuple(
    (place, way, api, stream)
    for place, way, api, stream in itertools.product(
        (LOGIN, HEADER, BEARER), WAYS, APIS, (True, False)
    )
    if way in place.ways
)


@dataclass(frozen=True)
class Person:
    """The owner of an access token, with a kind of client."""

    name: str
    token: str
    place: Place
    way: Way
    api: Api
    stream: bool

    def question(self, number: int) -> str:
        """Return what this person says, which nobody else does."""
        return f"{self.name} asks {number}"

    async def ask(self, clients: Clients, trust: ssl.SSLContext) -> list[int]:
        """Ask every question on connections of one's own; return the statuses."""
        assert clients.proxy
        by_proxy = self.way.mode == "forward"
        login = self.place.login(self.token)
        async with httpx2.AsyncClient(
            verify=trust,
            http2=self.way.http2,
            http1=not self.way.http2,
            trust_env=False,
            timeout=TIMEOUT_S,
            proxy=httpx2.Proxy(clients.proxy.forward_url, auth=login) if by_proxy else None,
        ) as http:
            return [await self._ask(http, clients, number) for number in range(QUESTIONS)]

    async def _ask(self, http: httpx2.AsyncClient, clients: Clients, number: int) -> int:
        own_key = {} if self.place.as_key else self.api.headers
        answer = await http.post(
            clients.url(self.way, self.api.provider, self.api.path),
            content=self.api.request(self.question(number), stream=self.stream),
            headers=own_key | self.place.headers(self.api, self.token),
        )
        return answer.status_code


def make_people(proxy: Proxy) -> list[Person]:
    """Create the access tokens; assign the kinds of client in turn."""
    people = []
    for number, kind in zip(range(CLIENTS), itertools.cycle(_KINDS), strict=False):
        text, token = AccessToken.make(f"person-{number}")
        open_store(proxy.database).add_access_token(token)
        people.append(Person(token.initiator_id, text, *kind))
    return people


def test_records_of_two_hundred_concurrent_clients_name_the_owners_of_their_access_tokens(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(env=CENTRAL)
    clients, people = clients_of(proxy), make_people(proxy)

    async def ask_all() -> list[list[int]]:
        trust = clients.trust()
        return await asyncio.gather(*(person.ask(clients, trust) for person in people))

    statuses = asyncio.run(ask_all())

    assert Counter(itertools.chain(*statuses)) == {200: CLIENTS * QUESTIONS}
    records = proxy.records
    owners = {row["id"]: row["initiator_id"] for row in records.interceptions}
    said = Counter((owners[row["interception_id"]], row["prompt"]) for row in records.user_prompts)
    assert said == {
        (person.name, person.question(number)): 1
        for person in people
        for number in range(QUESTIONS)
    }
    used = Counter(owners[row["interception_id"]] for row in records.token_usages)
    assert used == {person.name: QUESTIONS for person in people}
