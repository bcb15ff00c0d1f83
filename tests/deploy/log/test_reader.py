"""A drive log that is missing, cut or damaged says so; one of a drive that was cut short ends with a whole tick."""

import shutil

import numpy as np
import pytest
from mcap.writer import Writer

from deploy.log.entries import LogError
from deploy.log.reader import read_facts, read_log, read_ticks
from tests.deploy.entries import FACTS, entry, image, write_log

ENTRIES = [entry(tick) for tick in range(1, 6)]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("drive"), ENTRIES)


def test_ticks_images_and_facts_are_what_was_written(log):
    assert read_log(log) == ENTRIES
    assert read_facts(log) == FACTS
    for tick in read_ticks(log):
        np.testing.assert_array_equal(tick.image, image(tick.entry.tick))


def test_a_missing_log_is_an_error_with_a_hint_where_the_drive_was_cut_short(log, tmp_path):
    with pytest.raises(LogError, match=r"No such file or directory$"):
        read_log(tmp_path / "drive.mcap")
    shutil.copy(log, tmp_path / "drive.mcap.part")
    with pytest.raises(LogError, match=r"cut short, drive\.mcap\.part has it"):
        read_facts(tmp_path / "drive.mcap")


def test_a_log_cut_anywhere_is_damaged_and_the_same_file_of_a_crash_has_its_whole_ticks(log, tmp_path):
    whole = log.read_bytes()
    rest = np.random.default_rng(0).integers(0, len(whole), 100).tolist()
    found = set()
    for size in [0, 1, 8, 9, len(whole) - 1, *rest]:
        cut = tmp_path / "drive.mcap"
        cut.write_bytes(whole[:size])
        with pytest.raises(LogError, match="damaged"):
            read_log(cut)
        crashed = cut.rename(tmp_path / "drive.mcap.part")
        read = read_log(crashed)
        assert read == ENTRIES[: len(read)]
        found.add(len(read))
    assert found == {0, 1, 2, 3, 4, 5}


def test_a_changed_byte_of_a_tick_is_damage(log, tmp_path):
    whole = bytearray(log.read_bytes())
    whole[whole.index(b'"tick":3')] ^= 1
    (tmp_path / "drive.mcap").write_bytes(whole)
    with pytest.raises(LogError, match="damaged: crc"):
        read_log(tmp_path / "drive.mcap")


@pytest.mark.parametrize("content", [b"", b"no log", b"\x89MCAP0\r\n" + b"\xff" * 50])
def test_what_is_no_log_is_damaged(tmp_path, content):
    path = tmp_path / "drive.mcap"
    path.write_bytes(content)
    with pytest.raises(LogError, match="damaged"):
        read_log(path)


def test_a_log_of_something_else_is_named(tmp_path):
    path = tmp_path / "other.mcap"
    writer = Writer(str(path))
    writer.start()
    writer.finish()
    assert read_log(path) == []
    with pytest.raises(LogError, match="no metadata record 'lapwing'"):
        read_facts(path)
