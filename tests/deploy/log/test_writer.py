"""A drive log has every tick up to a crash, never delays the drive, and says so when it cannot be written."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from mcap.reader import make_reader

import deploy.log.writer
from deploy.log.entries import LogError
from deploy.log.messages import schemas
from deploy.log.reader import read_log, read_ticks
from deploy.log.writer import DriveLog
from tests.deploy.entries import FACTS, STARTED_AT_NS, entry, image, write_log

ROOT = Path(__file__).parents[3]
ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from deploy.log.writer import DriveLog
from tests.deploy.entries import FACTS, entry, image
log = DriveLog(Path(sys.argv[1]), FACTS)
for tick in count(1):
    log.write(entry(tick), image(tick))
    while log._queue.qsize():
        pass
    print(tick, flush=True)
"""
DISK_BYTES = 100_000


@pytest.fixture
def _small_disk() -> Iterator[None]:
    """No file gets larger than so many bytes; then writing is an error, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_it_stands_under_its_name_only_when_closed(tmp_path):
    folder = tmp_path / "a" / "b"
    with DriveLog(folder, FACTS) as log:
        log.write(entry(1), image(1))
        assert not log.path.exists()
        assert log.trouble is None
    assert [path.name for path in folder.iterdir()] == ["drive.mcap"]
    assert read_log(log.path) == [entry(1)]


def test_others_find_every_topic_and_moment_by_the_index(tmp_path):
    path = write_log(tmp_path, [entry(tick) for tick in range(1, 11)])
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        found = [
            (channel.topic, message.sequence, message.log_time)
            for _, channel, message in reader.iter_messages(
                topics=["/tick"], starting_at=STARTED_AT_NS + 300_000_000, ending_before=STARTED_AT_NS + 500_000_000
            )
        ]
        (metadata,) = reader.iter_metadata()
        assert reader.get_header().library == "lapwing 0.0.test"
    assert found == [("/tick", tick, STARTED_AT_NS + tick * 100_000_000) for tick in (3, 4)]
    assert {channel.topic for channel in summary.channels.values()} == schemas().keys()
    assert summary.statistics.chunk_count == 10
    assert metadata.metadata["policy_id"] == '"abc"'


def test_after_kill_9_every_tick_that_was_written_is_there(tmp_path):
    command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        said = [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
    ticks = list(read_ticks(tmp_path / "drive.mcap.part"))
    assert [tick.entry for tick in ticks] == [entry(n + 1) for n in range(len(ticks))]
    assert len(ticks) >= said[-1] - 1  # the last of them had only left the queue
    assert (ticks[-1].image == image(len(ticks))).all()


@pytest.mark.usefixtures("_small_disk")
def test_a_full_disk_is_trouble_no_exception_and_what_was_written_stays(tmp_path):
    log, tick = DriveLog(tmp_path, FACTS), 0
    while not log.lost:
        tick += 1
        log.write(entry(tick), image(tick))
        _await(lambda: log.lost or log._queue.empty())
    assert log.trouble.kind == "log"
    assert "File too large" in log.trouble.detail
    log.write(entry(tick + 1), image(tick + 1))
    with pytest.raises(LogError, match=r"drive\.mcap\.part ends before the drive: .*File too large") as caught:
        log.close()
    assert caught.value.exit_code == 2
    assert (tmp_path / "drive.mcap.part").stat().st_size == DISK_BYTES
    read = read_log(tmp_path / "drive.mcap.part")
    assert read == [entry(n + 1) for n in range(len(read))]
    assert len(read) in (6, 7)  # noise of 12.3 KB a tick, after the schemas


def test_a_disk_that_is_full_from_the_start(tmp_path):
    (tmp_path / "drive.mcap.part").symlink_to("/dev/full")
    log = DriveLog(tmp_path, FACTS)
    log.write(entry(1), image(1))
    _await(lambda: log.lost)
    assert "No space left" in log.trouble.detail
    with pytest.raises(LogError, match="No space left"):
        log.close()


def test_a_slow_disk_is_trouble_after_a_second_and_over_when_it_has_caught_up(tmp_path, monkeypatch):
    disk = Event()
    monkeypatch.setattr(deploy.log.writer, "messages", lambda *_: [] if disk.wait() else None)
    with DriveLog(tmp_path, FACTS) as log:
        for tick in range(1, 12):  # one is being written, ten wait
            log.write(entry(tick), image(tick))
        _await(lambda: log._queue.qsize() == 10)
        assert log.trouble is None
        log.write(entry(12), image(12))
        assert log.trouble.kind == "log"
        assert "1.1 s behind" in log.trouble.detail
        disk.set()
        _await(lambda: log.trouble is None)


def test_a_log_that_has_lost_a_tick_has_none_after_it(tmp_path, monkeypatch):
    disk = Event()
    told = deploy.log.writer.messages
    monkeypatch.setattr(deploy.log.writer, "messages", lambda *rest: told(*rest) if disk.wait() else None)
    log = DriveLog(tmp_path, FACTS)
    for tick in range(1, 200):
        log.write(entry(tick), image(tick))
    assert log.lost
    disk.set()
    _await(lambda: log._queue.qsize() == 0)
    assert log.trouble.kind == "log"
    log.write(entry(200), image(200))
    with pytest.raises(LogError, match=r"drive\.mcap ends before the drive: the disk was too slow"):
        log.close()
    assert [read.tick for read in read_log(log.path)] == [*range(1, len(read_log(log.path)) + 1)]
    assert 100 <= len(read_log(log.path)) <= 102


def _await(condition) -> None:
    while not condition():
        pass


def test_an_image_that_the_camera_writes_over_is_kept(tmp_path):
    seen = image(1)
    with DriveLog(tmp_path, FACTS) as log:
        log.write(entry(1), seen)
        seen[:] = 0
    (tick,) = read_ticks(log.path)
    assert (tick.image == image(1)).all()
