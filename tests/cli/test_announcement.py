"""A proxy that runs as `mitmdump -s` is found by the commands, like `aibridge proxy`."""

from e2e.proxy import SCRIPT
from forked import MITMDUMP, start

from cli.command import Home, Process, wait_until


def start_mitmdump(home: Home) -> Process:
    """Start mitmdump with the addon; return once it has announced itself."""
    options = {
        "confdir": home.confdir,
        "aibridge_config": home.config,
        "aibridge_db": home.database,
    }
    command = ["-s", str(SCRIPT)]
    command += ["--mode", "regular@127.0.0.1:0", "--mode", "reverse:http://127.0.0.1:1@127.1:0"]
    command += [f"--set={name}={value}" for name, value in options.items()]
    process = Process(start(MITMDUMP, command, env=home.env, cwd=home.path))
    home.processes.append(process)
    wait_until((home.data / "proxy.json").exists, "it is not announced")
    return process


def test_mitmdump_with_the_addon_is_found_until_its_end(home: Home) -> None:
    process = start_mitmdump(home)
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
    process.kill()
    assert home.proxy().pid == process.pid, "it could not clean up"
    assert "no proxy is running" in home.invoke("env").stderr
    assert f"process {process.pid} is gone" in home.invoke("doctor").output
