"""Marks of `aibridge run`: where they stand, and what is none."""

import base64

import pytest

from aibridge_addon.access.runs import mark_of_login, marked_login, new_mark, split_path

MARK = "aibridge-run-0123456789abcdef"


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize("token", ["", "aib_a_b"])
def test_mark_is_the_user_of_the_login(token):
    assert mark_of_login(basic(marked_login(MARK, token))) == MARK


@pytest.mark.parametrize("login", ["alice:x", f"{MARK}0:x", f"x{MARK}:x", "aibridge-run-:x"])
def test_other_users_are_no_marks(login):
    assert mark_of_login(basic(login)) is None
    assert mark_of_login("") is None


@pytest.mark.parametrize("rest", ["/anthropic/v1/messages?beta=true", "/", "//openai/v1/models"])
def test_mark_is_the_first_segment_of_a_path(rest):
    assert split_path(f"/{MARK}{rest}") == (MARK, rest)
    assert split_path(f"//{MARK}{rest}") == (MARK, rest)
    assert split_path(rest) == (None, rest)


@pytest.mark.parametrize("path", [f"/{MARK}", f"/x/{MARK}/anthropic", f"/{MARK}0/anthropic"])
def test_path_without_a_mark_stays(path):
    assert split_path(path) == (None, path)


def test_every_run_has_a_mark_of_its_own():
    assert new_mark() != new_mark()
    assert split_path(f"/{new_mark()}/")[1] == "/"
