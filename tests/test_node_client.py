"""docs/protocol.md is enough to write a client in another language: the one in Node.js is answered."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import lapwing
from tests.deploy.policies import SPEC, echo_policy
from tests.deploy.serving import SOON_S, serving

FOLDER = Path(__file__).parents[1] / "examples" / "node-client"
NODE, NPM = shutil.which("node"), shutil.which("npm")


def test_a_client_in_node_is_answered_with_and_without_keys(tmp_path):
    if not NODE:
        pytest.skip("node is not installed")
    if not (FOLDER / "node_modules").exists():
        pytest.skip("the packages of examples/node-client are not installed; run npm install there")
    _assert_answered(FOLDER, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_client_in_node_is_answered_once_its_packages_are_installed(tmp_path):
    if not (NODE and NPM):
        pytest.skip("node and npm are not installed")
    folder = tmp_path / "client"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run([NPM, "install", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    _assert_answered(folder, tmp_path)


def _assert_answered(client: Path, folder: Path) -> None:
    policy = echo_policy(folder / "policy.onnx")
    with serving(policy) as server:
        _assert_actions(_said(client, "--server", server.address))
    lapwing.main(["keys", str(folder / "keys"), "--clients", "node"])
    keys = folder / "keys" / "clients" / "node"
    shutil.copy(folder / "keys" / "server" / "clients" / "node.key", keys / "public.key")
    with serving(policy, "tcp://127.0.0.1:0", "--keys", str(folder / "keys" / "server")) as server:
        _assert_actions(_said(client, "--server", server.address, "--keys", str(keys)))


def _said(client: Path, *options: str) -> list[dict]:
    """What the client prints."""
    command = [NODE, client / "client.js", "--frames", "4", "--rate-hz", "200", "--deadline-ms", "30000", *options]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SOON_S).stdout
    return [json.loads(line) for line in said.splitlines()]


def _assert_actions(said: list[dict]) -> None:
    """The policy answers by the first pixel and the first number of the state; the client's frames get lighter."""
    info, *answers = said
    assert info["type"] == "policyinfo"
    assert (info["spec"]["run"], info["spec"]["image_height"]) == (SPEC.run, SPEC.image_height)
    assert [(a["type"], a["seq"]) for a in answers] == [("action", seq) for seq in range(4)]
    assert [a["action"][0] for a in answers] == pytest.approx([0, 5 / 255, 10 / 255, 15 / 255], abs=1e-6)
    assert {a["action"][1] for a in answers} == {0.0}
    assert {(a["session"], a["policy_id"]) for a in answers} == {(info["session"], info["policy_id"])}
