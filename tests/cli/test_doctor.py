"""`aibridge doctor`: the command with its options, its table and its exit code."""

import pytest
from click.testing import Result
from standin import Authority

from cli.command import Home


def run_doctor(home: Home, *words: str, **options: object) -> Result:
    """Run the doctor in this process; fail if it raises."""
    result = home.invoke("doctor", *words, **options)  # type: ignore[arg-type]
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_doctor_succeeds_for_a_working_installation(shared: Home, authority: Authority) -> None:
    trusted = f"ssl_verify_upstream_trusted_ca={authority.path}"
    result = run_doctor(shared, "--set", trusted)
    assert result.exit_code == 0, result.output
    assert "No problems found" in result.output
    for part in (f"process {shared.proxy().pid}", "mitmproxy", str(shared.database), "anthropic"):
        assert part in result.output


def test_doctor_fails_and_skips_remote_checks_if_the_config_file_is_wrong(home: Home) -> None:
    home.config.write_text("[[providers]]\nnonsense = 1\n")
    words = ("--config", str(home.config), "--db", str(home.path / "x"), "--set", "confdir=x")
    result = run_doctor(home, *words)
    assert result.exit_code == 1
    assert "nonsense is not known" in result.output
    assert " problem" in result.output
    assert "api.anthropic.com, port" not in result.output


def test_doctor_sends_keys_only_on_request_and_never_prints_them(
    shared: Home, authority: Authority
) -> None:
    trusted = ("--set", f"ssl_verify_upstream_trusted_ca={authority.path}")
    env = {"ANTHROPIC_API_KEY": "sk-ant-very-secret-0123456789", "OPENAI_API_KEY": "sk-secret-2"}
    result = run_doctor(shared, *trusted, "--keys", env=env)
    assert "key of anthropic" in result.output
    assert "ANTHROPIC_API_KEY: 5 models" in result.output
    assert result.exit_code == 0, result.output
    assert "secret" not in result.output
    assert "key of" not in run_doctor(shared, *trusted, env=env).output


def test_doctor_does_not_break_paths_on_a_narrow_terminal(shared: Home) -> None:
    result = run_doctor(shared, env={"COLUMNS": "40"})
    for path in (shared.database, shared.proxy().ca):
        assert any(str(path) in line for line in result.output.splitlines()), result.output
    about = next(line for line in result.output.splitlines() if "HTTPS_PROXY" in line)
    assert len(about.rstrip()) <= 60  # text is wrapped beside the longest name


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("aibridge_max_body_mb=5", "did you mean aibridge_max_body_mib?"),
        ("http2=true", "does not check this option"),
        ("aibridge_max_body_mib=many", "'many' is not int"),
    ],
)
def test_doctor_refuses_options_that_it_does_not_check(
    home: Home, option: str, message: str
) -> None:
    result = run_doctor(home, "--set", option)
    assert result.exit_code == 2
    assert message in result.stderr
