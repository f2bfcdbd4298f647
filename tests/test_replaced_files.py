"""Files that are replaced atomically."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from aibridge_addon.replaced_files import replace_file


def test_file_is_replaced_with_its_mode_in_a_folder_that_is_created(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    replace_file(path, b"first")
    assert path.stat().st_mode & 0o777 == 0o600
    replace_file(path, b"second", mode=0o644)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_leaves_the_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace_file(path, b"first")
    make, full = tempfile.mkstemp, os.open("/dev/full", os.O_WRONLY)

    def make_on_full_disk(**where: Any) -> tuple[int, str]:
        descriptor, name = make(**where)
        os.close(descriptor)
        return full, name

    monkeypatch.setattr(tempfile, "mkstemp", make_on_full_disk)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
