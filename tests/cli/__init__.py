"""The `aibridge` command: real processes where it matters, else click's runner in this one.

command.py   the command as a process, with a home of its own
conftest.py  fixtures
"""
