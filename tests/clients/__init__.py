"""Real client programs against the stand-in, through a real proxy: `scripts/test clients`.

Not part of the plain `scripts/test`: it installs programs, once, into a cache folder outside the
tree (`AIBRIDGE_CLIENTS_CACHE`), and takes minutes. A program that cannot be installed is skipped.

programs.py  the programs, their versions, how they are installed and run
conftest.py  fixtures
"""
