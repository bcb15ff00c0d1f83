"""A minute of the soak, and that its books would show what they are there to show."""

import random
from pathlib import Path

import pytest
from rich.console import Console

import benchmarks.soak
from agent.snapshot import CHECKPOINTS, Snapshot, load_newest
from benchmarks.soak import LEARNER, Audit, Config, audit, growth, learned, settings, soak


@pytest.fixture
def books(tmp_path) -> Path:
    """Of one actor's life, number 7, that sent four messages of ten transitions; two of them it knows to be saved."""
    (tmp_path / "7").write_text("0 10\n1 10\nsaved 2\n2 10\n3 10\n")
    return tmp_path


def by(books: Path, *took: int, before: str = "", after: str = "") -> Audit:
    """What the books come to when the learner took these messages before its checkpoint at step 5."""
    lines = "".join(f"took 7 {number}\n" for number in took)
    (books / LEARNER).write_text(f"begins 0 0\n{before}{lines}saves 5 0\n{after}")
    return audit(books, Snapshot(5, {}, {}, {}))


def test_all_that_was_acknowledged_is_there_once(books):
    assert by(books, 0, 1, 2) == Audit(acknowledged=20, lost=0, doubled=0, never_arrived=0)


def test_what_was_acknowledged_and_is_missing_is_lost(books):
    assert by(books, 0).lost == 10


def test_what_is_there_twice_is_told_though_another_is_missing(books):
    assert by(books, 0, 0, 1, 3) == Audit(acknowledged=20, lost=0, doubled=10, never_arrived=10)


def test_what_a_lost_learner_took_after_its_checkpoint_does_not_count(books):
    again = by(books, 1, before="took 7 0\nsaves 2 0\ntook 7 1\nresumes 2 0\n")
    assert again == Audit(acknowledged=20, lost=0, doubled=0, never_arrived=0)
    assert by(books, 0, 1, after="took 7 1\n").doubled == 0


def test_a_learner_that_begins_anew_has_nothing(books):
    (books / LEARNER).write_text("begins 0 0\ntook 7 0\nbegins 0 0\ntook 7 1\nsaves 3 0\n")
    assert learned(books / LEARNER, 3) == {(7, 1): 1}


def test_growth_is_from_the_second_quarter_to_the_last():
    assert growth([10.0, 100.0, 102.0, 104.0]) == pytest.approx(0.04)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_minute_of_kills_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.soak, "RUNS", tmp_path)
    monkeypatch.setattr(benchmarks.asynchrony, "RUNS", tmp_path)
    benchmarks.soak.prepare(benchmarks.soak.RUNS)
    config = Config(minutes=1.0, every_s=6.0, out=tmp_path / "soak")
    asked = settings(config, 0, "disturbed")
    log = soak(asked, config, random.Random(2), Console(quiet=True))
    assert sum(log.killed.values()) + sum(log.frozen.values()) >= 5
    assert log.killed["the learner"] >= 1
    found = audit(asked.out / "books", load_newest(asked.out / CHECKPOINTS, pytest.fail))
    assert found.acknowledged > 1000
    assert (found.lost, found.doubled, found.never_arrived) == (0, 0, 0)
