"""`lapwing serve` as a process: killed and restarted, given another policy under way, locked, watched."""

from pathlib import Path
from statistics import median

import msgspec
import pytest
import zmq

import lapwing
from deploy.client import PolicyClient, ServerError
from deploy.keys import ClientKeys
from deploy.wire import Action, Hello, pack
from tests.deploy.policies import SPEC, constant_policy, echo_policy
from tests.deploy.serving import SOON_S, Server, flooding, scraped, serving, well_behaved
from tests.deploy.test_client import ask


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-50])
    return path


class Drive:
    """A car that asks on and on, and must be answered every time."""

    def __init__(self, car: PolicyClient) -> None:
        self._car, self._seq = car, 0

    def ask(self) -> Action:
        self._seq += 1
        action = ask(self._car, self._seq)
        assert action is not None, self._car.fault
        return action

    def ask_until_it_says(self, server: Server, text: str) -> str:
        """The line, and no question is left open."""
        while True:
            self.ask()
            while not server.lines.empty():
                if text in (line := server.lines.get()):
                    return line


def test_a_fit_policy_takes_over_under_way_without_a_missed_answer_and_an_unfit_one_does_not(tmp_path):
    path = constant_policy(tmp_path / "policy.onnx", 0.25, 0.0)
    candidates = [
        (constant_policy(tmp_path / "good.onnx", -0.5, 0.0), "reloaded: policy", -0.5),
        (constant_policy(tmp_path / "nan.onnx", float("nan"), 0.0), "answers [nan, 0.0]", -0.5),
        (echo_policy(tmp_path / "misfit.onnx", msgspec.structs.replace(SPEC, period_s=0.05)), "period_s", -0.5),
        (cut(constant_policy(tmp_path / "cut.onnx", 1.0, 0.0)), "not an ONNX file", -0.5),
        (constant_policy(tmp_path / "again.onnx", 0.75, 0.0), "reloaded: policy", 0.75),
    ]
    with (
        serving(path, f"ipc://{tmp_path}/s", "--metrics-port", "0") as server,
        zmq.Context() as context,
        PolicyClient(context, server.address) as car,
    ):
        first, drive = car.hello(SOON_S), Drive(car)
        assert drive.ask().action[0] == 0.25
        for candidate, said, steering in candidates:
            candidate.rename(path)
            drive.ask_until_it_says(server, said)
            drive.ask()  # on its way when the other one took over
            assert drive.ask().action[0] == steering
        assert not car.dropped
        assert car.agreed.session == first.session
        assert car.agreed.policy_id != first.policy_id
        told = scraped(server.metrics_url)
        assert told['lapwing_server_messages_total{kind="policyinfo"}'] == 3  # hello, and two that took over
        assert told['lapwing_server_messages_total{kind="action"}'] == told["lapwing_server_inference_seconds_count"]
        assert told['lapwing_server_reloads_total{fate="accepted"}'] == 2
        assert told['lapwing_server_reloads_total{fate="refused"}'] == 3
        (policy,) = [name for name in told if name.startswith("lapwing_server_policy_info")]
        assert f'policy_id="{car.agreed.policy_id}"' in policy
        assert "served" in server.end()


def test_a_server_that_was_killed_and_restarted_is_driven_by_again_by_itself(tmp_path):
    policy, address = echo_policy(tmp_path / "policy.onnx"), f"ipc://{tmp_path}/s"
    with zmq.Context() as context, PolicyClient(context, address) as car:
        with serving(policy, address) as server:
            first = car.hello(SOON_S)
            assert ask(car, 1)
            server.process.kill()
        assert ask(car, 2, within_s=0.03) is None
        with serving(policy, address) as server:
            answers = []
            while not any(answers[-2:]):
                answers.append(ask(car, 3 + len(answers), within_s=0.2))
                assert answers[-1] or car.fault.passing
        assert answers[-1].session != first.session
        assert answers[-1].policy_id == first.policy_id


def persistent(context: zmq.Context, address: str, keys: ClientKeys | None) -> zmq.Socket:
    """A client's socket that keeps a message for when it is let in."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    if keys:
        socket.curve_serverkey, socket.curve_publickey = keys.server, keys.own.public
        socket.curve_secretkey = keys.own.secret
    socket.connect(address)
    return socket


def test_only_a_client_whose_key_is_listed_gets_any_reply(tmp_path):
    for clients in ("car", "thief"):
        lapwing.main(["keys", str(tmp_path / clients), "--clients", clients])
    known = ClientKeys.load(tmp_path / "car" / "clients" / "car")
    thief = ClientKeys(ClientKeys.load(tmp_path / "thief" / "clients" / "thief").own, known.server)
    with (
        serving(echo_policy(tmp_path / "p.onnx"), "tcp://127.0.0.1:0", "--keys", f"{tmp_path}/car/server") as server,
        zmq.Context() as context,
    ):
        for keys in (thief, None):
            with persistent(context, server.address, keys) as other, PolicyClient(context, server.address, keys) as car:
                other.send_multipart(pack(Hello()))
                with pytest.raises(ServerError):
                    car.hello(0.5)
                assert not other.poll(0)
        with PolicyClient(context, server.address, known) as car:
            assert car.hello(SOON_S).spec == SPEC
            assert ask(car).seq == 1
        assert "refused: none" in server.end()  # of the others it has not heard a word


def test_listening_to_other_machines_takes_keys_or_the_word_insecure(tmp_path, capsys):
    policy = str(echo_policy(tmp_path / "p.onnx"))
    assert lapwing.main(["serve", "--policy", policy, "--bind", "tcp://0.0.0.0:0"]) == 2
    assert "only tcp://127.0.0.1:PORT is allowed without keys" in capsys.readouterr().err
    assert lapwing.main(["serve", "--policy", policy, "--keys", str(tmp_path / "none")]) == 2
    assert "secret.key is missing; expected a folder as `lapwing keys` writes it" in capsys.readouterr().err
    with serving(Path(policy), "tcp://0.0.0.0:0", "--insecure") as server:
        assert "WARNING: tcp://0.0.0.0:0 has no keys" in server.said_before


@pytest.mark.slow
def test_beside_a_client_that_floods_a_car_is_answered_rightly_and_at_most_twice_as_late(tmp_path):
    alone, beside = [], []
    with serving(echo_policy(tmp_path / "p.onnx")) as server, well_behaved(server.address) as car:
        car.over(200)
        for _ in range(5):
            alone.append(car.over(500))
            with flooding(server.address):
                beside.append(car.over(500))
        assert "ignored" in server.end()
    assert all(figures.right == 500 for figures in (*alone, *beside))
    assert median(f.p99_s for f in beside) <= 2 * median(f.p99_s for f in alone)


@pytest.mark.slow
def test_a_client_that_floods_and_is_killed_leaves_the_server_as_it_was(tmp_path):
    with serving(echo_policy(tmp_path / "p.onnx")) as server, well_behaved(server.address) as car:
        for _ in range(10):
            with flooding(server.address):
                car.over(20)
        figures = car.over(200)  # longer than a heartbeat
        assert (figures.right, figures.wrong, figures.silent) == (200, 0, 0)
        assert "ignored" in server.end()
