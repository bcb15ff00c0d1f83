"""Imports race tracks: the CSV centrelines of F1TENTH and of the TUM racetrack database.

Each row of a file is x_m, y_m, w_tr_right_m, w_tr_left_m: a point of the centreline and how far the track
reaches to its right and left. What follows a # is a comment; the last point is followed by the first.
In here positions are complex numbers, x + iy, in the file's metres.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sim.road import STEP_M, Road

COLUMNS = "x_m, y_m, w_tr_right_m, w_tr_left_m"
LEAST_RADIUS_M = 3.5  # of a track's tightest bend, at full size
WIDTH_M = 6.0  # of an imported track at full size, where it is of median width
SMOOTHING = 0.25  # of the track's width is ℓ, see load_track …
MOST_SMOOTHING = 1 / 40  # … but not more of its lap
NEAREST_M, FARTHEST_M = 0.001, 1e7  # points of a file that are closer are one; none is farther from its origin
THINNEST_M = 0.01  # of a file: from the centreline to an edge
LARGEST_GAP = 3  # times the largest distance between two points may be the one from the last to the first
LONGEST_LAP_M = 30_000.0  # at full size
COARSEST = 128  # points stand for a lap while it is smoothed
SWEEPS = 52  # each halves the error of a spline
BLOCK = 32  # edges that share a bounding box


class TrackError(ValueError):
    """A track file that cannot be used; says which, what was found and what is expected."""

    exit_code = 2


class _Table(NamedTuple):
    """What a file says, (n,) each."""

    line: np.ndarray  # of the file, from 1
    xy_m: np.ndarray  # complex
    right_m: np.ndarray
    left_m: np.ndarray


def list_tracks(folder: Path) -> list[Path]:
    """Return the *.csv of a folder, sorted; TrackError if there is none."""
    tracks = sorted(Path(folder).glob("*.csv"))
    if not tracks:
        raise TrackError(f"{folder}: found no *.csv, expected a folder with at least one track")
    return tracks


def load_track(path: Path, unit_m: float, min_radius_m: float = LEAST_RADIUS_M, scale: float | None = None) -> Road:
    """Read a track and make a circuit of it, which begins at the origin with the file's first point.

    A periodic cubic spline through the points is smoothed and cut into steps of about STEP_M * unit_m.
    Smoothing minimises ∫|p − p₀|² + ℓ⁴|p″|² ds (Reinsch 1967) with ℓ a quarter of the track's width. So waves as
    long as the track is wide shrink to a seventh and such half as long to a hundredth, while a bend moves
    inwards by R(ℓ/R)⁴ only: 2 mm at R = 14 m on a track that is 6 m wide, 12 cm at R = 3.5 m.

    scale: road metres for each metre of the file. None: so many that the track's median width becomes
    WIDTH_M * unit_m, or more if its tightest bend would else be below min_radius_m * unit_m.
    Raises TrackError.
    """
    table = _read(path)
    width_m = float(np.median(table.right_m + table.left_m))
    rough, knots = _resample(table.xy_m, max(_steps(path, _length(table.xy_m) * WIDTH_M / width_m), COARSEST))
    smooth = _smoothed(rough, SMOOTHING * width_m)

    def fitting(line: np.ndarray) -> float:
        tightest_1pm = float(np.abs(_directions(line)[1]).max())
        return scale or unit_m * max(WIDTH_M / width_m, min_radius_m * tightest_1pm)

    centre, _ = _resample(smooth, _steps(path, _length(smooth) * fitting(smooth) / unit_m))
    growth = fitting(centre)  # measured once more, as finer steps may see a tighter bend
    xy = (centre - centre[0]) * growth
    yaw, curvature = _directions(centre)
    lap_m = _length(centre) * growth
    places = np.arange(len(xy)) / len(xy)
    return Road(
        seed=0,
        length_m=lap_m,
        closed=True,
        unit_m=unit_m,
        step_m=lap_m / len(xy),
        lead_m=0.0,
        xy_m=np.stack([np.real(xy), np.imag(xy)], axis=1),
        yaw_rad=yaw,
        curvature_1pm=curvature / growth,
        left_m=np.interp(places, knots, table.left_m, period=1.0) * growth,
        right_m=np.interp(places, knots, table.right_m, period=1.0) * growth,
    )


def _steps(path: Path, lap_m: float) -> int:
    """Into how many steps a lap, measured at full size, is cut."""
    if not lap_m <= LONGEST_LAP_M:
        raise TrackError(
            f"{path}: found a lap of {lap_m:.3g} m when scaled to a full-size car, expected up to {LONGEST_LAP_M:g} m"
        )
    return max(round(lap_m / STEP_M), 16)


def _read(path: Path) -> _Table:
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise TrackError(f"{path}: {error.strerror}, expected a track file with columns {COLUMNS}") from None
    except UnicodeDecodeError:
        raise TrackError(f"{path}: found bytes that are no text, expected columns {COLUMNS}") from None
    contents = [(i, line.partition("#")[0].strip()) for i, line in enumerate(text.split("\n"), start=1)]
    rows = np.array([(i, *_numbers(f"{path}, line {i}", content)) for i, content in contents if content])
    line, x, y, right, left = rows.reshape(-1, 5).T
    table = _Table(line.astype(int), x + 1j * y, right, left)
    if len(line) > 1 and abs(table.xy_m[-1] - table.xy_m[0]) < NEAREST_M:  # the first point stands at the end again
        table = _Table(*(column[:-1] for column in table))
    _check_shape(path, table)
    return table


def _numbers(place: str, content: str) -> list[float]:
    """The four numbers of a row; `place` is where it stands."""
    fields = content.split(",")
    if len(fields) != 4:
        raise TrackError(f"{place}: found {len(fields)} columns, expected 4: {COLUMNS}")
    values = []
    for field in fields:
        try:
            values.append(float(field))
        except ValueError:
            raise TrackError(f"{place}: found {field.strip()[:30]!r}, expected a number") from None
        if not abs(values[-1]) <= FARTHEST_M:
            raise TrackError(f"{place}: found {values[-1]:g}, expected a number within ±{FARTHEST_M:g}")
    if min(values[2:]) < THINNEST_M:
        raise TrackError(f"{place}: found a width of {min(values[2:]):g} m, expected at least {THINNEST_M:g} m")
    return values


def _check_shape(path: Path, table: _Table) -> None:
    """Raise TrackError if the points are no closed curve that keeps clear of itself."""
    if len(table.line) < 4:
        raise TrackError(f"{path}: found {len(table.line)} different points, expected at least 4")
    gaps = np.abs(_edges(table.xy_m))
    i = int(np.argmin(gaps))
    if gaps[i] < NEAREST_M:
        line, again = sorted(np.take(table.line, [i, i + 1], mode="wrap"))
        raise TrackError(f"{path}, line {again}: found the point of line {line} again, expected each point once")
    if gaps[-1] > LARGEST_GAP * gaps[:-1].max():
        raise TrackError(
            f"{path}: found {gaps[-1]:.3g} m from the last point to the first and up to {gaps[:-1].max():.3g} m "
            "between others, expected a closed loop"
        )
    crossing = _crossing(table.xy_m - table.xy_m.mean())
    if crossing:
        i, j = table.line[list(crossing)]
        raise TrackError(f"{path}: found that the track crosses itself after lines {i} and {j}, expected a simple loop")


def _crossing(xy: np.ndarray) -> tuple[int, int] | None:
    """Two edges of a polygon, (n,) complex, that meet without being neighbours, by their starts; None: there are none.

    Bounding boxes, first of whole blocks of edges and then of edges, leave few to be held against each other.
    """
    starts = np.stack([np.real(xy), np.imag(xy)], axis=1)
    low, high = np.minimum(starts, np.roll(starts, -1, axis=0)), np.maximum(starts, np.roll(starts, -1, axis=0))
    first = np.arange(0, len(xy), BLOCK)
    block_low, block_high = np.minimum.reduceat(low, first), np.maximum.reduceat(high, first)
    for k, start in enumerate(first):
        blocks = ((block_low <= block_high[k]) & (block_high >= block_low[k])).all(axis=1)
        others = np.flatnonzero(np.repeat(blocks, BLOCK)[: len(xy)])
        ours = np.arange(start, min(start + BLOCK, len(xy)))[:, None]
        boxes = ((low[ours] <= high[others]) & (high[ours] >= low[others])).all(axis=2)
        later = (others > ours + 1) & (others - ours < len(xy) - 1)
        pairs = np.argwhere(boxes & later)
        i, j = pairs[:, 0] + start, others[pairs[:, 1]]
        meet = np.flatnonzero(_straddles(xy, i, j) & _straddles(xy, j, i))
        if len(meet):
            return int(i[meet[0]]), int(j[meet[0]])
    return None


def _straddles(xy: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Whether edge j reaches from one side of the line through edge i to the other, or to the line."""
    after = np.roll(xy, -1)
    to_start, to_end = (np.conj(after[i] - xy[i]) * (end[j] - xy[i]) for end in (xy, after))
    return np.imag(to_start) * np.imag(to_end) <= 0


def _edges(xy: np.ndarray) -> np.ndarray:
    """From each point of a closed line to the next, (n,) complex."""
    return np.roll(xy, -1) - xy


def _length(xy: np.ndarray) -> float:
    return float(np.abs(_edges(xy)).sum())


def _resample(xy: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut the closed cubic spline through points, (n,) complex, into equal steps, from the first point.

    Returns (points (count,), where on the lap the given points lie (n,), in [0, 1)).
    """
    parts = max(-(-4 * count // len(xy)), 8)  # of an edge, each taken for straight when lengths are measured
    fine = _spline(xy, np.arange(len(xy) * parts) / parts)
    along = np.concatenate([[0.0], np.cumsum(np.abs(_edges(fine)))])
    wanted = np.interp(np.arange(count) * (along[-1] / count), along, np.arange(len(along)) / parts)
    return _spline(xy, wanted), along[:-1:parts] / along[-1]


def _spline(xy: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Evaluate the periodic cubic spline through points at `at`, counted in points; (n,) and (m,) to (m,) complex.

    Its knots are the chords' lengths. The second derivatives solve a cyclic tridiagonal system whose diagonal
    outweighs the rest two to one, so that Jacobi's iteration halves the error with each sweep.
    """
    edge, ahead = _edges(xy), np.abs(_edges(xy))
    behind = np.roll(ahead, 1)
    bend = 6 * (edge / ahead - np.roll(edge / ahead, 1))
    second = np.zeros_like(xy)
    for _ in range(SWEEPS):
        second = (bend - behind * np.roll(second, 1) - ahead * np.roll(second, -1)) / (2 * (behind + ahead))
    i = at.astype(int) % len(xy)
    after, part = (i + 1) % len(xy), at - at.astype(int)
    bow = ((1 - part) ** 3 - (1 - part)) * second[i] + (part**3 - part) * second[after]
    return (1 - part) * xy[i] + part * xy[after] + bow * ahead[i] ** 2 / 6


def _smoothed(xy: np.ndarray, length_m: float) -> np.ndarray:
    """Minimise ∫|p − p₀|² + length⁴|p″|² ds over a closed line of equal steps: each wave shrinks by itself."""
    step_m = _length(xy) / len(xy)
    length_m = min(length_m, MOST_SMOOTHING * step_m * len(xy))
    wave_1pm = 2 * np.pi * np.fft.fftfreq(len(xy), step_m)
    return np.fft.ifft(np.fft.fft(xy) / (1 + (length_m * wave_1pm) ** 4))


def _directions(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unwrapped headings and curvatures of a smooth closed line of equal steps, (n,) each, by Fourier's derivatives."""
    wave = 2j * np.pi * np.fft.fftfreq(len(xy))
    spectrum = np.fft.fft(xy)
    ahead, bend = np.fft.ifft(wave * spectrum), np.fft.ifft(wave**2 * spectrum)
    return np.unwrap(np.angle(ahead)), np.imag(np.conj(ahead) * bend) / np.abs(ahead) ** 3
