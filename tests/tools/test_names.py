"""Names: injected names are legal, unique and stable, for any names of tools."""

import re
import string
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.tools.names import (
    InjectionFilter,
    injected_name,
    injected_names,
    is_offered,
    is_server_name,
    server_names,
)

LEGAL = re.compile(r"bmcp_[A-Za-z0-9_-]{1,59}")

servers = st.lists(st.text("ab01", min_size=1, max_size=7), min_size=1, max_size=4).flatmap(
    lambda words: st.sampled_from("_-").map(lambda joint: joint.join(words))
)
tools = st.one_of(
    st.text(max_size=80),
    st.text("ab_-", max_size=4),  # many of these are alike once joined with a server's name
    st.text(string.ascii_letters, min_size=50, max_size=70),
)


def everybody() -> dict[str, str | None]:
    return {"actor": "alice", "client": "codex", "provider": "openai", "model": "gpt-5.5"}


# Injected names


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("github", "create_issue", "bmcp_github_create_issue"),
        ("my-server", "get-THING2", "bmcp_my-server_get-THING2"),
        ("s", "t" * 57, "bmcp_s_" + "t" * 57),
    ],
)
def test_legal_name_is_unchanged(server: str, tool: str, name: str) -> None:
    assert injected_name(server, tool) == name


@pytest.mark.parametrize(
    ("tool", "stem"),
    [
        ("files/read.all", "bmcp_s_files_read_all_"),
        ("wetter für Köln", "bmcp_s_wetter_f_r_K_ln_"),
        ("天気", "bmcp_s_tool_"),
        ("", "bmcp_s_tool_"),
        ("t" * 58, "bmcp_s_" + "t" * 48 + "_"),
    ],
)
def test_illegal_name_gets_a_hash(tool: str, stem: str) -> None:
    name = injected_name("s", tool)

    assert re.fullmatch(re.escape(stem) + "[0-9a-f]{8}", name)
    assert LEGAL.fullmatch(name)


def test_hash_of_a_name_is_stable() -> None:
    """Names are stored in the conversations of clients."""
    assert injected_name("files", "read.all") == "bmcp_files_read_all_6e11c2c4"


@given(st.sets(st.tuples(servers, tools), max_size=12), st.randoms())
def test_names_are_legal_unique_and_independent_of_the_order(
    pairs: list[tuple[str, str]], random: Random
) -> None:
    names = injected_names(pairs)

    assert names.keys() == pairs
    assert len(set(names.values())) == len(pairs)
    assert all(LEGAL.fullmatch(name) for name in names.values())
    shuffled = sorted(pairs)
    random.shuffle(shuffled)
    assert injected_names(shuffled) == names


def test_tools_of_two_servers_never_share_a_name() -> None:
    names = injected_names([("a", "b_c"), ("a_b", "c"), ("a", "d")])

    assert names["a", "d"] == "bmcp_a_d"
    assert names["a", "b_c"] != names["a_b", "c"]
    assert all(
        re.fullmatch("bmcp_a_b_c_[0-9a-f]{8}", names[key]) for key in list(names) if key[1] != "d"
    )


def test_tool_named_like_the_generated_name_of_another_gets_a_hash() -> None:
    made = injected_name("s", "a.b").removeprefix("bmcp_s_")
    names = injected_names([("s", "a.b"), ("s", made)])

    assert len(set(names.values())) == 2
    assert all(LEGAL.fullmatch(name) for name in names.values())


# Names of servers


def test_legal_server_names_stay_and_others_are_made_legal() -> None:
    assert server_names(["github", "my_server", "My Server", "Ünïcode!"]) == {
        "github": "github",
        "my_server": "my_server",
        "My Server": "my-server",
        "Ünïcode!": "n-code",
    }


def test_used_server_name_gets_a_hash() -> None:
    names = server_names(["github", "My Server", "my-server"], taken=["github"])

    assert names["my-server"] == "my-server"
    assert re.fullmatch("my-server-[0-9a-f]{8}", names["My Server"])
    assert re.fullmatch("github-[0-9a-f]{8}", names["github"])


@given(st.sets(st.text(max_size=50), max_size=10), st.sets(servers, max_size=3))
def test_server_names_are_legal_and_unique(written: set[str], taken: set[str]) -> None:
    names = server_names(written, taken)

    assert names.keys() == written
    assert len(set(names.values())) == len(written)
    assert all(is_server_name(name) for name in names.values())
    assert not set(names.values()) & taken


# Which tools, and for whom


@pytest.mark.parametrize(
    ("allow", "deny", "offered"),
    [
        (None, None, True),
        ("issue", None, True),
        ("^issue", None, False),
        (None, "create", False),
        ("create", "issue", False),  # deny wins
        ("create", "delete", True),
    ],
)
def test_filters_search_the_original_name_and_deny_wins(
    allow: re.Pattern[str] | None, deny: re.Pattern[str] | None, offered: bool
) -> None:
    patterns = [pattern and re.compile(pattern) for pattern in (allow, deny)]

    assert is_offered("create_issue", *patterns) is offered


def test_empty_filter_allows_all() -> None:
    assert InjectionFilter().allows(**everybody())
    assert InjectionFilter().allows(actor=None, client=None, provider=None, model=None)


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"actors": ("alice", "bob")}, True),
        ({"actors": ("bob",)}, False),
        ({"actors": ("ALICE",)}, False),
        ({"models": ("gpt-*",)}, True),
        ({"models": ("gpt-5.[0-4]",)}, False),
        ({"clients": ("codex",), "providers": ("anthropic",)}, False),
        ({"clients": ("c?dex",), "providers": ("openai",)}, True),
    ],
)
def test_each_list_that_is_not_empty_must_match(
    limits: dict[str, tuple[str, ...]], allowed: bool
) -> None:
    assert InjectionFilter(**limits).allows(**everybody()) is allowed


def test_name_with_brackets_matches_itself() -> None:
    limited = InjectionFilter(models=("opus[1m]",))

    assert limited.allows(**everybody() | {"model": "opus[1m]"})
    assert not limited.allows(**everybody() | {"model": None})
