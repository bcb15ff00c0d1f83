"""What a run depends on comes back bit by bit; of damaged snapshots the one before is used."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import agent.snapshot
from agent.snapshot import Snapshot, SnapshotError, insist_on_same, load_newest, save_snapshot, snapshots


def make(step: int) -> Snapshot:
    generator = torch.Generator().manual_seed(step)
    return Snapshot(
        step,
        {"actor.weight": torch.randn(3, 4, generator=generator).T, "updates": torch.tensor(step)},
        {"rows": torch.randn(5, 2, generator=generator), "generator": generator.get_state()},
        {"episodes": 7, "explorer": {"rng": np.random.default_rng(step).bit_generator.state}},
    )


def assert_same(one: Snapshot, other: Snapshot) -> None:
    assert (one.step, one.facts) == (other.step, other.facts)
    for ours, theirs in ((one.tensors, other.tensors), (one.replay, other.replay)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours)


def silent(_: str) -> None:
    raise AssertionError("nothing is damaged")


def test_a_snapshot_comes_back_bit_by_bit(tmp_path):
    save_snapshot(tmp_path, make(150))
    assert_same(load_newest(tmp_path, silent), make(150))


def test_generators_go_on_where_they_were(tmp_path):
    save_snapshot(tmp_path, make(3))
    facts = load_newest(tmp_path, silent).facts
    rng = np.random.default_rng()
    rng.bit_generator.state = facts["explorer"]["rng"]
    assert rng.random() == np.random.default_rng(3).random()


def test_the_last_two_are_kept(tmp_path):
    for step in (5, 10, 100, 20_000):
        save_snapshot(tmp_path, make(step))
    assert [path.name for path in snapshots(tmp_path)] == ["step-000020000", "step-000000100"]
    assert load_newest(tmp_path, silent).step == 20_000


def test_saving_the_same_step_again_replaces_it(tmp_path):
    save_snapshot(tmp_path, make(5)._replace(facts={"episodes": 1}))
    save_snapshot(tmp_path, make(5))
    assert_same(load_newest(tmp_path, silent), make(5))


FILES = ("learner.safetensors", "replay-rows.npy", "replay-generator.npy", "run.json", "SHA256SUMS")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "empty"])
def test_a_damaged_one_is_found_and_the_one_before_it_used(tmp_path, name, harm):
    save_snapshot(tmp_path, make(1))
    save_snapshot(tmp_path, make(2))
    file = tmp_path / "step-000000002" / name
    content = file.read_bytes()
    if harm == "remove":
        file.unlink()
    else:
        flipped = content[:9] + bytes([content[9] ^ 1]) + content[10:]
        file.write_bytes({"flip": flipped, "cut": content[:-1], "empty": b""}[harm])
    warnings: list[str] = []
    if (name, harm) == ("SHA256SUMS", "cut"):  # only its last line feed is lost
        assert load_newest(tmp_path, warnings.append).step == 2
        return
    assert_same(load_newest(tmp_path, warnings.append), make(1))
    assert len(warnings) == 1
    assert "step-000000002" in warnings[0]


@given(st.data())
def test_no_single_byte_can_change_unnoticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("snapshots")
    save_snapshot(folder, make(1))
    file = folder / "step-000000001" / data.draw(st.sampled_from(FILES[:-1]))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(SnapshotError):
        load_newest(folder, lambda _: None)


def test_none_that_is_sound_is_an_error(tmp_path):
    with pytest.raises(SnapshotError, match="no sound checkpoint") as caught:
        load_newest(tmp_path / "nothing", silent)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("moment", ["_sum", "save_file"])
def test_a_save_that_is_cut_short_leaves_what_was_there(tmp_path, monkeypatch, moment):
    save_snapshot(tmp_path, make(1))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(agent.snapshot, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_snapshot(tmp_path, make(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_folder_half_written_by_a_killed_process_is_passed_over(tmp_path):
    save_snapshot(tmp_path, make(1))
    (tmp_path / "step-000000002.part").mkdir()
    assert load_newest(tmp_path, silent).step == 1
    save_snapshot(tmp_path, make(2))
    assert load_newest(tmp_path, silent).step == 2


def test_the_files_are_what_common_tools_read(tmp_path):
    save_snapshot(tmp_path, make(4))
    folder = tmp_path / "step-000000004"
    assert np.array_equal(np.load(folder / "replay-rows.npy", allow_pickle=False), make(4).replay["rows"].numpy())
    assert json.loads((folder / "run.json").read_text())["episodes"] == 7
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert checked.returncode == 0


def test_of_settings_that_differ_the_first_is_named_in_the_configs_order(tmp_path):
    names = [f"{letter}{number}" for number in (2, 0, 1) for letter in "zkamq"]
    written = tmp_path / "config.json"
    written.write_text(json.dumps(dict.fromkeys(sorted(names), 1)))
    now = json.dumps(dict.fromkeys(names, 2)).encode()
    with pytest.raises(SnapshotError, match="z2 was 1, now it is 2"):
        insist_on_same(written, now, set())
    with pytest.raises(SnapshotError, match="k2 was 1, now it is 2"):
        insist_on_same(written, now, {"z2"})
    insist_on_same(written, now, set(names))


def test_a_snapshot_is_not_lost_when_its_successor_does_not_come(tmp_path, monkeypatch):
    save_snapshot(tmp_path, make(5))

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == "step-000000005.part":
            raise KeyboardInterrupt
        return rename(path, target)

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_snapshot(tmp_path, make(5)._replace(facts={"episodes": 1}))
    assert_same(load_newest(tmp_path, silent), make(5))


def test_what_a_killed_process_left_is_put_back_or_removed(tmp_path):
    save_snapshot(tmp_path, make(5))
    (tmp_path / "step-000000005").rename(tmp_path / "step-000000005.before.part")
    (tmp_path / "step-000000009.part").mkdir()
    assert_same(load_newest(tmp_path, silent), make(5))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000005"]


def test_checksums_that_a_power_cut_emptied_are_damaged(tmp_path):
    save_snapshot(tmp_path, make(5))
    save_snapshot(tmp_path, make(6))
    sums = tmp_path / "step-000000006" / "SHA256SUMS"
    sums.write_bytes(bytes(sums.stat().st_size))
    told: list[str] = []
    assert load_newest(tmp_path, told.append).step == 5
    assert len(told) == 1


@pytest.mark.parametrize("text", ['{"seed": ', "[]", ""])
def test_settings_that_are_damaged_are_said_in_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SnapshotError, match=r"config\.json: damaged"):
        insist_on_same(tmp_path / "config.json", b"{}", set())
