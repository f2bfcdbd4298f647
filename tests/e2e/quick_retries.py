"""The addon as a script for mitmdump, with short pauses between retries."""

from aibridge_addon.addon import AIBridge
from aibridge_addon.tools import upstream

upstream.FIRST_PAUSE_SECONDS = 0.01
addons = [AIBridge()]
