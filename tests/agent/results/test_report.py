"""The report is one page that needs nothing beside it, and says which file of the run is missing."""

import base64
import re
import struct
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from agent.results.evaluate import Row, Training
from agent.results.report import ReportConfig, plot_learning, plot_round_trips, report
from deploy.log.entries import Entry
from deploy.vehicles import Truth
from tests.agent.runs import write_run
from tests.deploy.entries import entry as plain
from tests.deploy.entries import write_log

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
ROWS = [
    Row("Random policy", 12.0, 4, 1.0),
    Row("DDPG, <VAE>", 12.0, 0, 2.0, Training(episodes=7, distance_m=123.4, driving_min=5.6)),
]


def entry(tick: int, truth: bool = True, answered: bool = True) -> Entry:
    """A car on a straight at 1 m/s, 10 Hz, that sees the policy answer within tick + 1 ms."""
    metres = tick / 10
    return plain(
        tick,
        speed_mps=1.0,
        action=(0.0, 0.0) if answered else None,
        round_trip_ms=tick + 1.0 if answered else None,
        inference_ms=0.5 if answered else None,
        truth=Truth(metres, 0.0, 0.0, metres, 0.0, None, tick == 20) if truth else None,
    )


def write_all(folder: Path, entries: list[Entry]) -> Path:
    write_run(folder / "train")
    (folder / "vae").mkdir()
    (folder / "vae/reconstructions.png").write_bytes(PNG)
    (folder / "table1.json").write_bytes(msgspec.json.encode(ROWS))
    write_log(folder / "drive", entries)
    return folder


def page(folder: Path) -> str:
    return report(ReportConfig(folder), Console(quiet=True)).read_text()


def test_it_holds_everything_and_loads_nothing(tmp_path):
    text = page(write_all(tmp_path / "demo", [entry(tick) for tick in range(21)]))
    pictures = [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', text)]
    assert len(pictures) == 4
    assert PNG in pictures
    for picture in pictures:
        assert picture.startswith(b"\x89PNG")
        assert min(struct.unpack(">II", picture[16:24])) >= 1  # width and height
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert list((tmp_path / "demo").glob("*.part")) == []


def test_it_tells_the_drive_in_figures(tmp_path):
    text = page(write_all(tmp_path / "demo", [entry(tick) for tick in range(21)]))
    for figure in ("2.0 m", "3.6 km/h", "the whole route", "11.0 ms median"):  # of 1, 2, … 21 ms
        assert figure in text


def test_the_table_has_this_run_and_the_papers_and_is_escaped(tmp_path):
    text = page(write_all(tmp_path / "demo", [entry(tick) for tick in range(21)]))
    assert "<td>DDPG, &lt;VAE&gt;</td><td>7</td><td>123.4</td><td>5.6</td><td>–</td><td>0</td>" in text
    assert "<td>Random policy</td><td>–</td><td>–</td><td>–</td><td>3.0</td><td>4</td>" in text
    assert text.count("paper: ") == 4


def test_the_video_is_linked_where_there_is_one(tmp_path):
    folder = write_all(tmp_path / "demo", [entry(tick) for tick in range(21)])
    assert "<video" not in page(folder)
    (folder / "drive/drive.mp4").write_bytes(b"film")
    assert 'src="drive/drive.mp4"' in page(folder)


def test_a_drive_of_a_real_car_has_no_map_but_a_report(tmp_path):
    text = page(write_all(tmp_path / "demo", [entry(tick, truth=False) for tick in range(21)]))
    assert "Table I" in text


def test_a_drive_without_a_single_answer_is_reported_too(tmp_path):
    text = page(write_all(tmp_path / "demo", [entry(tick, answered=False) for tick in range(21)]))
    assert "21 of 21 deadlines missed" in text


@pytest.mark.parametrize(
    "name",
    ["train/actor.safetensors", "train/episodes.csv", "table1.json", "drive/drive.mcap", "vae/reconstructions.png"],
)
def test_what_is_missing_is_named(tmp_path, name):
    folder = write_all(tmp_path / "demo", [entry(0)])
    (folder / name).unlink()
    with pytest.raises(Exception, match=re.escape(name)) as caught:
        page(folder)
    assert caught.value.exit_code == 2
    assert not (folder / "report.html").exists()


def test_the_learning_curve_shows_each_kind_of_episode():
    episodes = [{"kind": "train", "distance_m": "3.5"}, {"kind": "test", "distance_m": "4.5"}] * 2
    train, test, route = plot_learning(episodes, length_m=250.0).axes[0].lines
    assert list(train.get_ydata()) == [3.5, 3.5]
    assert list(test.get_ydata()) == [4.5, 4.5]
    assert list(test.get_xdata()) == [1, 2]
    assert list(route.get_ydata()) == [250.0, 250.0]


def test_the_histogram_counts_every_answer():
    entries = [*map(entry, range(30)), entry(30, answered=False)]
    assert sum(bar.get_height() for bar in plot_round_trips(entries).axes[0].patches) == 30
