"""Where compiled kernels are kept, and that nobody else's are loaded."""

import os
from pathlib import Path

import pytest

from virnucpro_assets.inference.device_process import kernel_cache


def test_processes_share_a_folder_that_only_their_user_can_write_to(tmp_path: Path) -> None:
    folder = kernel_cache(tmp_path)
    assert (folder, kernel_cache(tmp_path)) == (tmp_path / f"virnucpro-kernels-{os.getuid()}", folder)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("what", ["open to others", "of another user", "a link", "a dangling link", "a file"])
def test_what_another_user_may_have_put_there_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    place = tmp_path / f"virnucpro-kernels-{os.getuid()}"
    match what:
        case "open to others":
            place.mkdir()
            place.chmod(0o777)
        case "of another user":
            place.mkdir(mode=0o700)
            os.chown(place, 12345, -1) if os.getuid() == 0 else monkeypatch.setattr(
                os, "getuid", lambda: 12345
            )
            place = tmp_path / f"virnucpro-kernels-{os.getuid()}"
            place.mkdir(exist_ok=True)
        case "a link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            place.symlink_to(tmp_path / "elsewhere")
        case "a dangling link":
            place.symlink_to(tmp_path / "nowhere")
        case _:
            place.touch()
    first, second = kernel_cache(tmp_path), kernel_cache(tmp_path)
    assert place not in {first, second}
    assert first != second
    assert first.stat().st_mode & 0o777 == 0o700
