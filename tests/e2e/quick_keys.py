"""The addon as a script for mitmdump, with short pauses and early checks of refused keys."""

from aibridge_addon.access.keys import key_state, send_plan
from aibridge_addon.addon import AIBridge
from aibridge_addon.exchange import key_checks
from aibridge_addon.tools import upstream

upstream.FIRST_PAUSE_SECONDS = send_plan.FIRST_PAUSE_SECONDS = 0.01
send_plan.FREE_RETRIES = 1000
key_state.FIRST_SECONDS["credential"] = 1.5
key_checks.LOOK_SECONDS = 0.05
addons = [AIBridge()]
