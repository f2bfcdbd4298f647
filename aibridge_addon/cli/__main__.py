"""`python -m aibridge_addon.cli` is `aibridge`."""

from aibridge_addon.cli import main

main(prog_name="aibridge")
