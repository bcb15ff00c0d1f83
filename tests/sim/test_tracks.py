"""An imported track is the file's, scaled to the car and smooth; a malformed file is a clear error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.road import Road
from sim.tracks import TrackError, list_tracks, load_track

HEADER = "# x_m, y_m, w_tr_right_m, w_tr_left_m\n"
SQUARE = "0,0,1,1\n10,0,1,1\n10,10,1,1\n0,10,1,1\n"


def circle(radius_m: float, count: int = 200) -> np.ndarray:
    """Points on a circle, driven to the left, complex."""
    return radius_m * np.exp(2j * np.pi * np.arange(count) / count)


def table(xy: np.ndarray, right_m: float | np.ndarray = 3.0, left_m: float | np.ndarray = 3.0) -> np.ndarray:
    """The rows of a file, (n, 4)."""
    return np.stack(np.broadcast_arrays(np.real(xy), np.imag(xy), right_m, left_m), axis=1)


def text(rows: np.ndarray, separator: str = ", ") -> str:
    return "".join(separator.join(repr(float(value)) for value in row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracks")


def load(folder: Path, content: str, unit_m: float = 1.0, **options: float) -> Road:
    path = folder / "track.csv"
    path.write_text(content, encoding="utf-8")
    return load_track(path, unit_m, **options)


@pytest.mark.parametrize("unit_m", [1.0, 0.1])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_circle_is_a_circle(folder, unit_m, turn):
    xy = circle(10.0) if turn == 1 else circle(10.0).conj()
    road = load(folder, HEADER + text(table(xy, right_m=0.5, left_m=1.5)), unit_m)
    radius_m = 30.0 * unit_m  # 2 m become 6 m
    assert road.curvature_1pm == pytest.approx(turn / radius_m, rel=1e-3)
    assert road.length_m == pytest.approx(2 * np.pi * radius_m, rel=1e-3)
    assert road.step_m == pytest.approx(0.25 * unit_m, rel=0.01)
    assert road.step_m * len(road.xy_m) == pytest.approx(road.length_m)
    assert road.right_m == pytest.approx(1.5 * unit_m)
    assert road.left_m == pytest.approx(4.5 * unit_m)
    assert np.abs(road.xy_m @ [1, 1j] + radius_m) == pytest.approx(radius_m, rel=1e-3)
    assert road.xy_m[0].tolist() == [0, 0]
    assert (road.closed, road.unit_m, road.lead_m, road.lanes) == (True, unit_m, 0.0, 1)


def test_eight_points_of_a_circle_make_nearly_one(folder):
    road = load(folder, text(table(circle(30.0, 8))))
    assert 1 / road.curvature_1pm == pytest.approx(30.0, rel=0.06)


def test_a_track_too_tight_for_the_car_is_made_larger(folder):
    road = load(folder, text(table(circle(4.0), 3.0, 3.0)), 0.1, min_radius_m=10.0)
    assert np.abs(road.curvature_1pm).max() == pytest.approx(1 / 1.0, rel=1e-3)
    assert np.median(road.left_m) == pytest.approx(0.75, rel=0.01)  # 3 m become 7.5 m, at a tenth


def test_a_given_scale_is_kept(folder):
    road = load(folder, text(table(circle(10.0), 2.0, 2.0)), 1.0, scale=0.5)
    assert road.length_m == pytest.approx(2 * np.pi * 5, rel=1e-3)
    assert road.left_m == pytest.approx(1.0)


def peanut(count: int) -> np.ndarray:
    """A smooth loop that bends both ways, 40 m to 80 m from its middle, complex."""
    angle = 2 * np.pi * np.arange(count) / count
    return 60 * (1 + np.cos(2 * angle) / 3) * np.exp(1j * angle)


def test_it_runs_through_the_files_points_with_their_widths(folder):
    angle = 2 * np.pi * np.arange(150) / 150
    right_m, left_m = 3 + np.sin(angle), 3 - np.cos(angle) / 2
    road = load(folder, text(table(peanut(150), right_m, left_m)), scale=1.0)
    points = road.xy_m @ [1, 1j] + peanut(150)[0]
    gaps_m = np.abs(points[:, None] - peanut(150))
    nearest = gaps_m.argmin(axis=0)
    assert gaps_m.min(axis=0).max() < 0.14  # half a step and a little smoothing
    assert road.right_m[nearest] == pytest.approx(right_m, abs=0.02)
    assert road.left_m[nearest] == pytest.approx(left_m, abs=0.02)


def test_curvature_and_heading_are_those_of_its_points_also_across_the_seam(folder):
    road = load(folder, text(table(peanut(150))))
    chords = np.diff(np.append(road.xy_m @ [1, 1j], 0))
    turn = np.angle(chords / np.roll(chords, 1))
    assert np.abs(chords) == pytest.approx(road.step_m, rel=1e-3)
    assert turn / road.step_m == pytest.approx(road.curvature_1pm, abs=1e-3)
    assert road.curvature_1pm.min() < 0 < road.curvature_1pm.max()
    middle = np.angle(chords * np.roll(chords, 1)) / 2  # twice the heading, so up to half a turn
    assert np.sin(middle - road.yaw_rad) == pytest.approx(0, abs=1e-3)
    assert road.yaw_rad[-1] - road.yaw_rad[0] + turn[0] == pytest.approx(2 * np.pi, abs=0.02)


def test_the_datas_jitter_gives_no_absurd_curvature(folder):
    jitter_m = np.random.default_rng(0).normal(0, 0.04, (800, 2)) @ [1, 1j]  # of points half a metre apart
    track = circle(60.0, 800) + jitter_m
    chords = np.roll(track, -1) - track
    assert np.abs(np.angle(chords / np.roll(chords, 1)) / 0.5).max() > 0.5
    assert load(folder, text(table(track)), scale=1.0).curvature_1pm == pytest.approx(1 / 60, abs=0.02)


def test_waves_as_long_as_the_track_is_wide_shrink_to_a_seventh(folder):
    radius_m, wave_m, waves = 60.0, 0.05, 63
    angle = 2 * np.pi * np.arange(waves * 16) / (waves * 16)
    road = load(folder, text(table((radius_m + wave_m * np.cos(waves * angle)) * np.exp(1j * angle))), scale=1.0)
    wave_1pm = waves / radius_m
    shrunk_1pm = wave_m * wave_1pm**2 / (1 + (6 / 4 * wave_1pm) ** 4)
    assert np.ptp(road.curvature_1pm) / 2 == pytest.approx(shrunk_1pm, rel=0.03)
    assert np.mean(road.curvature_1pm) == pytest.approx(1 / radius_m, rel=0.01)


rows = st.lists(st.tuples(st.floats(0.8, 1.2), st.floats(1, 3), st.floats(1, 3)), min_size=4, max_size=30)
comments = st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))


@given(rows=rows, size_m=st.floats(5, 60), comment=comments)
def test_a_table_is_read_however_it_is_written(folder, rows, size_m, comment):
    reach, right_m, left_m = np.array(rows).T
    plain = table(size_m * reach * circle(1.0, len(rows)), right_m, left_m)
    commented = text(plain, separator=" ,\t").replace("\n", f"  # {comment}\r\n\n")
    closed = "\ufeff" + HEADER + text(np.concatenate([plain, plain[:1]]))
    road, *others = (load(folder, content) for content in (text(plain), f"#{comment}\n{commented}", closed))
    for other in others:
        assert other.xy_m.tobytes() == road.xy_m.tobytes()
        assert other.left_m.tobytes() == road.left_m.tobytes()
    assert np.abs(road.curvature_1pm).max() <= 1 / 3.5 + 1e-9


numbers = st.one_of(
    st.floats().map(repr),
    st.floats(-50, 50).map(repr),
    st.integers(-9, 9).map(str),
    st.sampled_from(["nan", "inf", "-1", "0", "", "x", "1e400", "1_0", "٣", "1e-300", "#"]),
)
lines = st.one_of(st.text(max_size=20), st.lists(numbers, min_size=3, max_size=5).map(",".join))
good_rows = st.lists(st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(0.01, 50)] * 2), min_size=4, max_size=12)


@given(content=st.one_of(st.text(), st.lists(lines).map("\n".join), good_rows.map(np.array).map(text)))
def test_any_text_is_a_track_or_a_track_error(folder, content):
    path = folder / "any.csv"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        road = load_track(path, 1.0)
    except TrackError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert "\n" not in message
    else:
        assert np.isfinite(road.xy_m).all()
        assert np.isfinite(road.curvature_1pm).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SQUARE + "0,5,x,1\n", "track.csv, line 5: found 'x', expected a number"),
        (HEADER + SQUARE + "0,nan,1,1\n", "track.csv, line 6: found nan, expected a number within ±1e\\+07"),
        (SQUARE + "0,5,inf,1\n", "line 5: found inf, expected"),
        (SQUARE + "0,5,1\n", "line 5: found 3 columns, expected 4: x_m, y_m, w_tr_right_m, w_tr_left_m"),
        (SQUARE + "0,5,1,1,1\n", "line 5: found 5 columns, expected 4"),
        (SQUARE + "0,5,1,0\n", "line 5: found a width of 0 m, expected at least 0.01 m"),
        (SQUARE + "0,5,-2,1\n", "line 5: found a width of -2 m"),
        ("", "found 0 different points, expected at least 4"),
        ("0,0,1,1\n9,0,1,1\n5,5,1,1\n0,0,1,1\n", "found 3 different points"),
        (HEADER + SQUARE + "0,10,1,1\n0,5,1,1\n", "line 6: found the point of line 5 again"),
        (SQUARE + "0,0,1,1\n0,0,1,1\n", "line 5: found the point of line 1 again, expected each point once"),
        ("0,0,1,1\n9,9,1,1\n9,0,1,1\n0,9,1,1\n", "crosses itself after lines 1 and 3, expected a simple loop"),
        ("0,0,1,1\n3,0,1,1\n6,0,1,1\n6,4,1,1\n6,8,1,1\n6,12,1,1\n", "found 13.4 m .* expected a closed loop"),
        (
            SQUARE.replace(",1,", ",0.01,").replace(",1\n", ",.01\n").replace("10", "99999"),
            "found a lap of 1.2e\\+08 m",
        ),
    ],
)
def test_a_malformed_file_is_an_error_that_says_what_is_wrong_where(folder, content, message):
    with pytest.raises(TrackError, match=message) as caught:
        load(folder, content)
    assert caught.value.exit_code == 2


def test_files_that_are_missing_or_no_text_are_errors(folder):
    with pytest.raises(TrackError, match=r"nowhere\.csv: No such file or directory"):
        load_track(folder / "nowhere.csv", 1.0)
    with pytest.raises(TrackError, match="Is a directory"):
        load_track(folder, 1.0)
    (folder / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(TrackError, match=r"picture\.csv: found bytes that are no text"):
        load_track(folder / "picture.csv", 1.0)


@pytest.mark.parametrize("count", [100, 2001])
def test_a_crossing_is_found_wherever_it_is(folder, count):
    angle = 2 * np.pi * (np.arange(count) + 0.3) / count
    eight = 50 * np.cos(angle) + 25j * np.sin(2 * angle)
    with pytest.raises(TrackError, match="crosses itself") as caught:
        load(folder, text(table(eight)))
    found = [int(word) for word in str(caught.value).replace(",", "").split() if word.isdigit()]
    assert found == pytest.approx([count / 4, count * 3 / 4], abs=1)  # where cos is 0


def test_a_crossing_is_told_from_a_narrow_miss(folder):
    there = np.arange(0, 100.0, 0.5)
    hairpin = np.concatenate([there, 100 + 1j, there[::-1] + 2j, -1 + 1j], axis=None)
    assert load(folder, text(table(hairpin, 0.5, 0.5))).length_m > 100


def test_the_tracks_of_a_folder_are_listed_in_order(tmp_path):
    for name in ("spa.csv", "monza.csv", "readme.md"):
        (tmp_path / name).touch()
    assert list_tracks(tmp_path) == [tmp_path / "monza.csv", tmp_path / "spa.csv"]


def test_a_folder_without_tracks_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TrackError, match=r"found no \*.csv"):
            list_tracks(folder)
