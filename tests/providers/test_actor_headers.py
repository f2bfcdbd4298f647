"""Headers that name the actor upstream."""

from aibridge_addon.providers.actor_headers import with_actor
from aibridge_addon.providers.identity import Actor


def named(actor: Actor, *fields: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    return dict(with_actor(fields, actor))


def test_actor_and_plain_metadata_are_named() -> None:
    metadata = {"team": "search", "level": 3, "list": ["x"], "bad name": "y", "a\r\nb": "z"}
    assert named(Actor(id="alice", metadata=metadata), (b"accept", b"*/*")) == {
        b"accept": b"*/*",
        b"X-AI-Bridge-Actor-ID": b"alice",
        b"X-AI-Bridge-Actor-Metadata-team": b"search",
        b"X-AI-Bridge-Actor-Metadata-level": b"3",
    }


def test_client_cannot_name_another_actor() -> None:
    spoofed = (
        (b"x-ai-bridge-actor-id", b"mallory"),
        (b"X-AI-BRIDGE-ACTOR-METADATA-TEAM", b"admins"),
        (b"x_ai_bridge_actor_id", b"mallory"),
    )
    assert named(Actor(id="alice"), *spoofed) == {b"X-AI-Bridge-Actor-ID": b"alice"}


def test_value_that_no_header_can_hold_is_percent_encoded() -> None:
    found = named(Actor(id="Žofie\r\nx: y 100%", metadata={"team": "Büro"}))
    assert found[b"X-AI-Bridge-Actor-ID"] == b"%C5%BDofie%0D%0Ax: y 100%25"
    assert found[b"X-AI-Bridge-Actor-Metadata-team"] == b"B%C3%BCro"
