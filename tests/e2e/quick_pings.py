"""The addon as a script for mitmdump, with pings after a short time."""

from aibridge_addon.addon import AIBridge
from aibridge_addon.tools import waiting

waiting.PING_SECONDS = 0.02
addons = [AIBridge()]
