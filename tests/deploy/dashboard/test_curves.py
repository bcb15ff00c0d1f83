"""Learning curves, out of the tables of a run's folder."""

import os

import pytest

from deploy.dashboard.curves import Curves, RunError, read_curves

LANE = """actor,car,episode,kind,steps,distance_m,reward,disengagement,finished,version,wall_s,updates
0,0,0,train,300,12.5,12.5,left lane,False,1,2.0,10
0,0,0,test,100,20.0,20.0,left lane,False,2,1.0,500
0,0,1,train,600,30.0,30.0,,True,3,4.0,900
0,0,1,test,600,250.0,250.0,,True,3,4.0,1900
"""


def test_metres_stand_over_the_number_of_training_episodes(tmp_path):
    (tmp_path / "episodes.csv").write_text(LANE)
    (tmp_path / "config.json").write_text('{"length_m": 250.0, "roads": "fixed"}')
    curves = read_curves(tmp_path)
    assert curves["train"] == [(1, 12.5), (2, 30.0)]
    assert curves["test"] == [(1, 20.0), (2, 250.0)]
    assert curves["goal"] == 250.0
    assert curves["summary"] == "episodes: 2, updates: 1,900, best test: 250.0 m"


def test_returns_stand_over_steps_where_there_is_no_lane(tmp_path):
    (tmp_path / "episodes.csv").write_text("step,episode,total,length,terminated,updates\n200,0,-900.5,200,False,0\n")
    (tmp_path / "evaluations.csv").write_text(
        "step,episodes,mean,std,length,updates,seconds\n1000,10,-300.0,5.0,200,900,3.0\n2000,10,-150.0,5.0,200,1900,6.0\n"
    )
    curves = read_curves(tmp_path)
    assert (curves["train"], curves["test"]) == ([(200, -900.5)], [(1000, -300.0), (2000, -150.0)])
    assert curves["summary"] == "episodes: 1, best evaluation: -150.0"


def test_a_row_that_is_being_written_is_not_read_yet(tmp_path):
    (tmp_path / "episodes.csv").write_text(LANE + "0,0,2,train,6")
    assert len(read_curves(tmp_path)["train"]) == 2


def test_a_long_curve_is_thinned(tmp_path):
    head, row = LANE.splitlines()[0], LANE.splitlines()[1]
    (tmp_path / "episodes.csv").write_text("\n".join([head, *[row] * 2500]))
    points = read_curves(tmp_path)["train"]
    assert (len(points), points[0], points[1]) == (834, (1, 12.5), (4, 12.5))


def test_it_is_read_again_when_it_has_changed_and_only_then(tmp_path):
    curves, table = Curves(tmp_path), tmp_path / "episodes.csv"
    assert "cannot be read" in (curves.changed() or {})["summary"]
    assert curves.changed() is None
    table.write_text(LANE)
    assert len((curves.changed() or {})["train"]) == 2
    assert curves.changed() is None
    table.write_text("no,table\nof,ours\n")
    os.utime(table, ns=(1, 1))
    assert "cannot be read" in (curves.changed() or {})["summary"]


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no folder of a training run") as error:
        read_curves(tmp_path)
    assert error.value.exit_code == 2
