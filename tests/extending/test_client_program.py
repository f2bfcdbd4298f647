"""A client program is added by one row, from outside the package."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli.command import Home
from cli.conftest import confdir, home  # noqa: F401 fixtures
from e2e.conftest import authority, provider, standin  # noqa: F401 fixtures

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]

SCRIPT = """
from pathlib import Path
import toy_client

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
print(run._client_of("/usr/bin/toy-agent") is toy, env._known_client(None, None, "toy"))
print(client_setup.variables(toy, connection, {})["TOY_CA"])
reverse = client_setup.variables(toy, connection, {}, reverse=True)
print(reverse["TOY_URL"], reverse["TOY_KEY"])
print("| Toy Agent |" in reference.clients(), "| Toy Agent |" in reference.client_setup())
"""


def test_registered_client_program_is_recognised_set_up_and_documented() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": f"{ROOT / 'scripts'}:{FOLDER}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines() == [
        "Toy Agent s-1",
        "True toy",
        "bundle",
        "http://p:2/openai/v1 aib_x",
        "True True",
    ], ended.stderr


@pytest.mark.e2e
def test_env_and_run_know_the_client_program_of_a_plugin_of_the_running_proxy(
    home: Home,  # noqa: F811
) -> None:
    plugin = {"PYTHONPATH": str(FOLDER)}
    agent = home.path / "toy-agent"
    agent.write_text('#!/bin/sh\necho "$TOY_URL $TOY_CA"\n')
    agent.chmod(0o755)
    home.start_proxy("--set", "aibridge_plugins=toy_client", env=plugin)
    url = f"{home.proxy().reverse_url}/openai/v1"
    bundle = home.data / "ca-bundle.pem"

    assert f"export TOY_URL={url}\n" in home.run("env", "toy", "--reverse", env=plugin).stdout
    assert f"export TOY_CA={bundle}\n" in home.run("env", "toy", env=plugin).stdout
    ran = home.run("run", "-q", "--reverse", "--", str(agent), env=plugin)
    assert ran.stdout.startswith(home.proxy().reverse_url or "?"), ran.stderr
    assert ran.stdout.strip().endswith("/openai/v1")
    missing = home.run("env", "toy")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "there is no module 'toy_client'" in missing.stderr
