"""Real client programs against the stand-in, through a real proxy: `scripts/test clients`.

Not part of the plain `scripts/test`: it installs programs, once, into a cache folder outside the
tree (`AIBRIDGE_CLIENTS_CACHE`), and takes minutes. A program that cannot be installed is skipped,
and named with the reason; the plain suite has tests for that
(`tests/providers/test_client_programs.py`).

programs.py  the programs, their versions, how they are installed
places.py    where they are run: with variables that lead to a proxy, or by `aibridge run`
asking.py    how each is asked something
gemini.py    the same for Gemini CLI, with each of its logins
terminal.py  a program in a terminal
conftest.py  fixtures
"""
