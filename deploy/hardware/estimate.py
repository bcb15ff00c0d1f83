"""What a car that measures neither speed nor steering is taken to do, from what its motors were told."""

from math import exp

from deploy.ackermann import Car


class Estimate:
    """Speed follows its set-point as a first-order lag, dv/dt = (v_set − v) / τ; the wheels turn at their full rate.

    It knows nothing of slopes, carpets and flat batteries: measure `lag_s` on the floor that the car drives on.
    """

    def __init__(self, car: Car, lag_s: float) -> None:
        self._car, self._lag_s = car, lag_s
        self._speed_mps = self._steering_rad = self._wanted_mps = self._wanted_rad = 0.0
        self._at_s = self._expires_at_s = 0.0  # monotonic; it stands until it is told otherwise

    def told(self, steering: float, speed: float, now_s: float, expires_at_s: float) -> None:
        """The motors received this action, (-1, 1) each, now, and stand still from `expires_at_s` on."""
        self._speed_mps, self._steering_rad = self.at(now_s)
        self._wanted_mps = (speed + 1) / 2 * self._car.top_speed_mps
        self._wanted_rad = steering * self._car.max_steering_rad
        self._at_s, self._expires_at_s = now_s, max(expires_at_s, now_s)

    def at(self, now_s: float) -> tuple[float, float]:
        """Speed in m/s and steering in rad (left positive) at a moment not before the motors were told last."""
        driven_s = max(min(now_s, self._expires_at_s) - self._at_s, 0.0)
        stood_s = max(now_s - max(self._expires_at_s, self._at_s), 0.0)
        speed_mps = self._towards(self._wanted_mps, self._speed_mps, driven_s)
        return self._towards(0.0, speed_mps, stood_s), self._turned(now_s)

    def _towards(self, target_mps: float, speed_mps: float, elapsed_s: float) -> float:
        """The lag's step response after so long."""
        return target_mps + (speed_mps - target_mps) * exp(-elapsed_s / self._lag_s)

    def _turned(self, now_s: float) -> float:
        reach_rad = self._car.max_steering_rate_radps * max(now_s - self._at_s, 0.0)
        return min(max(self._wanted_rad, self._steering_rad - reach_rad), self._steering_rad + reach_rad)
