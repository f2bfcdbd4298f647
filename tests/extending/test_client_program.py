"""A client program is added by one row, from outside the package."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
from pathlib import Path
from aibridge_addon.providers import clients

clients.register(clients.ClientProgram(
    name="Toy Agent",
    user_agents=("toy-agent/",),
    session_headers=("x-toy-session",),
    commands=("toy",),
    programs="toy|toy-agent",
    base_urls={"TOY_URL": "{openai}"},
    ca_variables=("TOY_CA",),
    keys=("TOY_KEY",),
))

import reference
from aibridge_addon.cli import client_setup, env, run
from aibridge_addon.providers.identity import recognise, session_of

headers = {"user-agent": "Toy-Agent/1.0".lower(), "x-toy-session": "s-1"}
toy = recognise(headers)
connection = client_setup.ConnectionSettings(
    forward_url="http://p:1", reverse_url="http://p:2",
    ca=Path("ca"), bundle=Path("bundle"), adding=Path("ca"), token="aib_x",
)
print(toy.name, session_of(toy, headers, None))
print(run._client_of("/usr/bin/toy-agent") is toy, "toy" in env.command.params[0].type.choices)
print(client_setup.variables(toy, connection, {})["TOY_CA"])
reverse = client_setup.variables(toy, connection, {}, reverse=True)
print(reverse["TOY_URL"], reverse["TOY_KEY"])
print("| Toy Agent |" in reference.clients(), "| Toy Agent |" in reference.client_setup())
"""


def test_registered_client_program_is_recognised_set_up_and_documented() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines() == [
        "Toy Agent s-1",
        "True True",
        "bundle",
        "http://p:2/openai/v1 aib_x",
        "True True",
    ], ended.stderr
