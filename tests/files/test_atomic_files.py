"""Files and folders that appear complete or not at all."""

import os
import stat

import pytest

from samovar_forecast.files.atomic_files import new_folder, remove_left_over, replace_file, replaced_file


def _break_off_in(path):
    with replaced_file(path) as beside:
        beside.write_bytes(b"half")
        raise RuntimeError


def _break_off_in_new(path):
    with new_folder(path) as beside:
        (beside / "part").write_text("half")
        raise RuntimeError


def test_a_file_takes_its_place_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"old")
    with replaced_file(path) as beside:
        beside.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    with pytest.raises(RuntimeError):
        _break_off_in(path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
def test_permissions_and_links_stay(tmp_path, mode):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(mode)
    link.symlink_to(path)
    with replaced_file(link) as beside:
        assert stat.S_IMODE(beside.stat().st_mode) & ~stat.S_IWUSR == mode & ~stat.S_IWUSR
        beside.write_bytes(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, error in (
        (tmp_path, IsADirectoryError), (tmp_path / "pipe", OSError), (tmp_path / "no" / "file", FileNotFoundError)
    ):  # fmt: skip
        with pytest.raises(error):
            replace_file(path, b"")
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_takes_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "above" / "folder"
    with pytest.raises(RuntimeError):
        _break_off_in_new(path)
    assert list(path.parent.iterdir()) == []
    with new_folder(path) as beside:
        (beside / "part" / "deep").mkdir(parents=True)
        (beside / "part" / "deep" / "file").write_text("whole")
        assert not path.exists()
    assert (path / "part" / "deep" / "file").read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(FileExistsError, match="is there already"), new_folder(path):
        pytest.fail("entered")


def test_what_killed_writers_left_is_removed(tmp_path):
    path = tmp_path / "file"
    left = tmp_path / f".file.{'0a' * 16}.tmp"
    for one in (path, left, tmp_path / ".file.tmp"):
        one.touch()
    remove_left_over(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".file.tmp", "file"]
