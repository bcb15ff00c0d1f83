"""A Ray cluster, joined or started on this machine."""

import os
import socket

from agent.launchers.attempt import LaunchError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere; read on import
try:
    import ray
    from ray import exceptions as ray_errors
except ImportError as error:
    raise LaunchError("--launcher ray: Ray is not installed; expected pip install 'lapwing[cluster]'") from error

__all__ = ["join", "ray", "ray_errors"]  # Ray from here, where its absence is explained

PATIENCE_S = 10.0  # until somebody answers at an address


def join(cpus: int, address: str | None) -> None:
    """Join the cluster there; without an address, start one of that many CPUs on this machine.

    Raises LaunchError where there is none. `ray.shutdown()` leaves it, and ends what was started here.
    """
    own = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        _insist_on_somebody(address)
        ray.init(address or "local", log_to_driver=False, configure_logging=False, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise LaunchError(f"--address {address}: no Ray cluster there ({error})") from error


def _insist_on_somebody(address: str | None) -> None:
    """Raise OSError where nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition("/")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), PATIENCE_S).close()
