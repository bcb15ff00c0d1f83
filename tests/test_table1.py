"""Table I: finished runs are kept and read back, and the figures are those worked out by hand."""

import math
from dataclasses import replace

import pytest

import benchmarks.table1
from benchmarks.table1 import Country, Fixed, keep, kept, per_25_km, summary, table


def learned(seed: int, episodes: int, *, succeeded: bool = True, disengagements: int = 0) -> Fixed:
    return Fixed("DDPG, VAE", seed, succeeded, episodes, 10.0 * episodes, 0.5, 9.0, disengagements, 250.0, 0.02)


def country(disengagements: int, passes: int = 5) -> Country:
    return Country(0, passes, True, 40, 3.5, disengagements, 12_500.0, 0.04)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks.table1, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmarks.table1, "PROBE", tmp_path / "probe.json")
    return tmp_path


def test_finished_runs_are_kept_one_after_another():
    for run in (learned(0, 3), learned(1, 5)):
        keep("fixed", run)
    assert kept("fixed", Fixed) == [learned(0, 3), learned(1, 5)]
    assert kept("country", Country) == []


def test_the_table_tells_medians_and_the_most_beside_the_paper():
    runs = [learned(0, 2), learned(1, 3), learned(2, 7, succeeded=False, disengagements=3)]
    text = table(runs, [country(1)])
    assert "| DDPG, VAE | 3 | 2 | 3 (7) | 30 | 0.5 | 250.0 | 0.020 |" in text  # 750 m / 3 disengagements
    assert "| *paper: DDPG, VAE* | 1 | 1 | 11 | 195.5 | 15 | – | |" in text
    assert "| TD3, VAE, seed 0 | 5 | yes | 40 | 3.5 | 2 | 0.040 |" in text  # 1 in 12.5 km


def test_a_vae_that_learns_online_has_a_row_of_its_own():
    runs = [learned(0, 2), *(replace(learned(seed, 4 + seed), row="DDPG, VAE learned online") for seed in range(3))]
    assert "| DDPG, VAE learned online | 3 | 3 | 5 (6) | 50 | 0.5 | none in 750 m | 0.020 |" in table(runs, [])
    assert summary(runs, [])["fixed_online_episodes_median"] == 5


def test_a_seed_that_failed_counts_as_endless():
    found = summary([learned(0, 2), learned(1, 3), learned(2, 35, succeeded=False)], [])
    assert (found["fixed_vae_episodes_median"], found["fixed_vae_episodes_max"]) == (3, math.inf)
    assert found["fixed_vae_succeeded"] == 2
    assert found["fixed_online_episodes_median"] is None
    assert found["country_disengagements_per_25km"] is None


def test_disengagements_are_told_for_25_km(results):
    assert per_25_km(country(3)) == 6
    (results / "probe.json").write_text('{"lateral_offset_m": 0.9, "heading_error_rad": 0.8, "curvature_5m_1pm": 0.7}')
    found = summary([learned(0, 1)], [country(0), country(1), country(3), country(2, 20), country(1, 20)])
    assert found["country_disengagements_per_25km"] == 2  # the median of those that learned sooner
    assert found["country_surely_disengagements_per_25km_max"] == 4  # the worst of the others
    assert [found[f"probe_r2_{name}"] for name in ("offset", "heading", "curvature")] == [0.9, 0.8, 0.7]
