"""Prometheus is told what the control loop does, on loopback alone."""

import socket
import urllib.request

import msgspec
import pytest

from deploy.driving.faults import Fault
from deploy.metrics import LoopMetrics, MetricsError, exposed
from tests.deploy.entries import entry


def told(metrics: LoopMetrics) -> dict[str, float]:
    """What Prometheus reads over HTTP."""
    with exposed(metrics.registry, 0) as url, urllib.request.urlopen(url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_a_control_loop_is_told_by_states_faults_and_times():
    metrics = LoopMetrics()
    silent = entry(3, action=None, round_trip_ms=None, inference_ms=None, lateness_ms=12.0, safety="degraded")
    for seen in (
        entry(0),
        entry(1, round_trip_ms=3.0),
        silent,
        with_fault(silent, Fault("foreign", "serving another")),
    ):
        metrics.saw(seen)
    said = told(metrics)
    assert said["lapwing_drive_ticks_total"] == 4
    assert said["lapwing_drive_missed_deadlines_total"] == 2
    assert said['lapwing_drive_faults_total{kind="foreign"}'] == 1
    assert said['lapwing_drive_state{lapwing_drive_state="degraded"}'] == 1
    assert said['lapwing_drive_state{lapwing_drive_state="driving"}'] == 0
    assert said["lapwing_drive_speed_mps"] == 2.0
    assert said["lapwing_drive_round_trip_seconds_sum"] == pytest.approx(0.004)
    assert said['lapwing_drive_round_trip_seconds_bucket{le="0.002"}'] == 1
    assert said["lapwing_drive_inference_seconds_count"] == 2
    assert said['lapwing_drive_lateness_seconds_bucket{le="0.01"}'] == 2
    assert said["lapwing_drive_lateness_seconds_count"] == 4


def with_fault(seen, fault):
    return msgspec.structs.replace(seen, inputs=msgspec.structs.replace(seen.inputs, fault=fault))


def test_a_port_that_cannot_be_had_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for wanted in (port, 70_000):
            with pytest.raises(MetricsError, match=f"metrics port {wanted} cannot be used"), exposed(None, wanted):
                pass


def test_only_this_machine_is_told():
    with exposed(LoopMetrics().registry, 0) as url:
        assert url.startswith("http://127.0.0.1:")
