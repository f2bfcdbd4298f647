"""Marks of `aibridge run` in proxy logins and paths."""

import base64

import pytest

from aibridge_addon.access.runs import mark_of_login, marked_login, new_mark, split_path

MARK = "aibridge-run-0123456789abcdef"


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize("token", ["", "aib_a_b"])
def test_run_mark_is_the_user_name_of_the_proxy_login(token: str) -> None:
    assert mark_of_login(basic(marked_login(MARK, token))) == MARK


@pytest.mark.parametrize("login", ["alice:x", f"{MARK}0:x", f"x{MARK}:x", "aibridge-run-:x"])
def test_other_user_names_are_not_run_marks(login: str) -> None:
    assert mark_of_login(basic(login)) is None
    assert mark_of_login("") is None


@pytest.mark.parametrize("rest", ["/anthropic/v1/messages?beta=true", "/", "//openai/v1/models"])
def test_run_mark_is_the_first_path_segment(rest: str) -> None:
    assert split_path(f"/{MARK}{rest}") == (MARK, rest)
    assert split_path(f"//{MARK}{rest}") == (MARK, rest)
    assert split_path(rest) == (None, rest)


@pytest.mark.parametrize("path", [f"/{MARK}", f"/x/{MARK}/anthropic", f"/{MARK}0/anthropic"])
def test_path_without_a_run_mark_is_unchanged(path: str) -> None:
    assert split_path(path) == (None, path)


def test_run_marks_are_unique() -> None:
    assert new_mark() != new_mark()
    assert split_path(f"/{new_mark()}/")[1] == "/"
