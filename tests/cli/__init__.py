"""Tests of the `aibridge` command, as a process where that matters, else in this process.

command.py   the command as a process, with a home of its own
conftest.py  fixtures
"""
