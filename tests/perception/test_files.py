"""Files are whole or not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perception.files import FolderInUseError, alone_in, write_whole


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_whole(tmp_path / "a/b/file.bin", b"content")
    assert (tmp_path / "a/b/file.bin").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["file.bin"]


def test_an_interruption_leaves_the_old_content_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    write_whole(path, b"old")

    def interrupted(source: Path, target: Path) -> None:
        assert Path(source).read_bytes() == b"new"
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_for_one_process_until_it_leaves_or_dies(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stays = f"from perception.files import *\nwith alone_in(Path({str(folder)!r})): print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", stays], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()  # it is in
        with pytest.raises(FolderInUseError, match=f"{folder}: another process writes"), alone_in(folder):
            pass
        other.kill()
        other.wait()
    with alone_in(folder):
        assert list(folder.iterdir()) == []


def test_what_goes_wrong_inside_is_not_taken_for_another_process(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), alone_in(tmp_path):
        raise BlockingIOError
