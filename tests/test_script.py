"""The addon as a script: what mitmproxy shows if its environment lacks a dependency."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "aibridge_addon" / "__init__.py"
MITMDUMP_WITHOUT = """\
import sys
sys.modules["uuid_utils"] = None
from mitmproxy.tools.main import mitmdump
mitmdump(sys.argv[1:])
"""


def test_missing_dependency_is_reported_once_with_a_remedy(tmp_path: Path) -> None:
    options = ["-s", str(SCRIPT), "--listen-port", "0", "--set", f"confdir={tmp_path}"]
    ended = subprocess.run(
        [sys.executable, "-c", MITMDUMP_WITHOUT, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    remedy = f"lacks uuid_utils. Install the addon there, as by `{sys.executable} -m pip install"
    assert ended.stdout.count(remedy) == 1
    assert "Traceback" not in ended.stdout + ended.stderr
