"""A proxy that runs as `mitmdump -s` is found by the commands, like `aibridge proxy`."""

from pathlib import Path

import httpx2
from e2e.proxy import SCRIPT
from forked import MITMDUMP, start
from ports import free_port

from cli.command import WAIT_S, Home, Process, wait_until

LATE_ADDON = Path(__file__).with_name("late_addon.py")


def start_mitmdump(home: Home, script: Path = SCRIPT, **more: str) -> Process:
    """Start mitmdump with a script and more options."""
    options = {
        "confdir": home.confdir,
        "aibridge_config": home.config,
        "aibridge_db": home.database,
        **more,
    }
    command = ["-s", str(script)]
    command += ["--mode", "regular@127.0.0.1:0", "--mode", "reverse:http://127.0.0.1:1@127.1:0"]
    command += [f"--set={name}={value}" for name, value in options.items()]
    env = {"LATE_SCRIPT": str(SCRIPT), "LATE_CONFIG": str(home.config)}
    process = Process(start(MITMDUMP, command, env=home.env | env, cwd=home.path))
    home.processes.append(process)
    return process


def wait_until_announced(home: Home) -> None:
    """Wait until other processes can find the proxy."""
    wait_until((home.data / "proxy.json").exists, "it is not announced")


def test_mitmdump_with_the_addon_is_found_until_its_end(home: Home) -> None:
    process = start_mitmdump(home)
    wait_until_announced(home)
    where = home.proxy()
    assert where.pid == process.pid
    printed = home.invoke("env")
    assert where.forward_url
    assert where.forward_url in printed.output, printed.output
    reverse = home.invoke("env", "--reverse")
    assert f"{where.reverse_url}/anthropic" in reverse.output
    examined = home.invoke("doctor")
    assert f"process {process.pid} on {where.forward_url} and {where.reverse_url}" in (
        examined.output
    )
    home.config.write_text(home.config.read_text().replace("api.anthropic.com", "other.example"))
    wait_until(lambda: "other.example" in home.proxy().hosts, "the change is not announced")
    process.stop()
    assert not (home.data / "proxy.json").exists()
    assert "no proxy is running" in home.invoke("env").stderr


def test_announcement_of_a_killed_mitmdump_is_recognised_as_stale(home: Home) -> None:
    process = start_mitmdump(home)
    wait_until_announced(home)
    process.kill()
    assert home.proxy().pid == process.pid, "it could not clean up"
    assert "no proxy is running" in home.invoke("env").stderr
    assert f"process {process.pid} is gone" in home.invoke("doctor").output


def test_addon_that_starts_late_is_ready_and_found(home: Home) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    process = start_mitmdump(
        home,
        LATE_ADDON,
        aibridge_config=str(home.path / "missing.toml"),
        aibridge_metrics_listen=metrics,
    )
    proxy = "http://" + process.wait_for("HTTP.S. proxy listening").rpartition(" ")[2].rstrip(".")
    with httpx2.Client(proxy=proxy, trust_env=False, timeout=WAIT_S) as client:
        client.get("http://operator.test/load")
        process.wait_for("missing.toml")
        client.get("http://operator.test/mend")
    process.wait_for("aibridge: recording")
    wait_until_announced(home)
    ready = httpx2.get(f"http://{metrics}/readyz", trust_env=False, timeout=WAIT_S)
    assert ready.status_code == 200, ready.text


def test_addon_that_a_running_mitmproxy_loads_is_ready_and_found(home: Home) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    process = start_mitmdump(home, LATE_ADDON, aibridge_metrics_listen=metrics)
    proxy = "http://" + process.wait_for("HTTP.S. proxy listening").rpartition(" ")[2].rstrip(".")
    httpx2.get("http://operator.test/load", proxy=proxy, trust_env=False, timeout=WAIT_S)
    wait_until_announced(home)
    ready = httpx2.get(f"http://{metrics}/readyz", trust_env=False, timeout=WAIT_S)
    assert ready.status_code == 200, ready.text
