"""A video is complete or not there, and never delays the drive."""

import av
import numpy as np
import pytest

from deploy.log.video import BACKLOG, Video

PICTURE = np.full((49, 65, 3), (200, 30, 30), np.uint8)  # odd on purpose


def test_every_tick_is_shown_at_its_time(tmp_path):
    video = Video(tmp_path / "drive.mp4", period_s=0.1)
    for tick in (1, 2, 5):
        video.add(tick, PICTURE)
    video.close()
    with av.open(str(tmp_path / "drive.mp4")) as film:
        stream = film.streams.video[0]
        frames = list(film.decode(stream))
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    times_s = [frame.time for frame in frames]
    assert np.diff(times_s) == pytest.approx([0.1, 0.3], abs=1e-3)
    picture = frames[0].to_ndarray(format="rgb24")
    assert picture.shape == (48, 64, 3)
    assert np.abs(picture.astype(int) - (200, 30, 30)).max() < 12


def test_the_file_has_its_name_only_when_it_is_complete(tmp_path):
    video = Video(tmp_path / "drive.mp4", period_s=0.1)
    video.add(1, PICTURE)
    assert not (tmp_path / "drive.mp4").exists()
    video.close()
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mp4"]


def test_without_a_picture_there_is_no_file(tmp_path):
    Video(tmp_path / "drive.mp4", period_s=0.1).close()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_many_is_dropped_and_counted(tmp_path):
    video = Video(tmp_path / "drive.mp4", period_s=0.1)
    large = np.zeros((1080, 1920, 3), np.uint8)
    offered = 20 * BACKLOG
    for tick in range(offered):
        video.add(tick, large)
    video.close()
    assert video.dropped > 0
    with av.open(str(tmp_path / "drive.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == offered - video.dropped


def test_an_encoder_that_fails_says_so_and_hangs_nobody(tmp_path):
    video = Video(tmp_path / "no such folder" / "drive.mp4", period_s=0.1)
    for tick in range(10 * BACKLOG):
        video.add(tick, PICTURE)
    with pytest.raises(FileNotFoundError):
        video.close()
