"""The simulated car, driven in real time: its world goes on whether or not anybody commands it."""

import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.clock import Time
from deploy.realtime import realtime
from deploy.safety import Command
from deploy.vehicles import Frame, Truth, VehicleSpec
from sim.car import SUBSTEP_S
from sim.scenario import load_scenario
from sim.scene import draw_road, draw_scene
from sim.spec import CONTROL_PERIOD_S
from sim.vehicles import load_vehicle
from sim.world import World

MAX_STALL_S = 10.0  # of a longer pause no more is simulated: the car stands by then
START_S = 60.0  # to wait for the world, on a very busy machine


class SimulatedCar:
    """The city car on a procedural road, in a process of its own, see `deploy.vehicles.Vehicle`.

    As in a real car, what moves it is not what commands it: however the control loop dies, the commands expire and
    the car brakes; its process ends when nobody is left to ask it. Raises EOFError when that process has died.

    speed: how many times faster than real time the car's own time passes; all its moments are of `Time(speed)`.
    """

    def __init__(self, road_seed: int, length_m: float, speed: float = 1.0) -> None:
        context = get_context("spawn")  # a fork would share the threads and sockets of the control loop
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_live, args=(theirs, road_seed, length_m, speed), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_S):
            raise TimeoutError(f"the simulated car did not start within {START_S:.0f} s")
        self.spec: VehicleSpec = self._pipe.recv()

    def read(self) -> Frame:
        """What the camera sees and the car measures now; `truth` is what only the world knows."""
        return self._ask("read")

    def send(self, command: Command) -> NDArray[np.float32]:
        """Drive by `command` from now until it expires, then brake; returns the executed action, (2,)."""
        return self._ask("send", command)

    def put_back(self, distance_m: float) -> None:
        """Stand the car in the middle of its lane, so far along the route; nobody commands it then."""
        self._ask("put_back", distance_m)

    def picture(self) -> NDArray[np.uint8]:
        """The car from behind, beside what its camera saw last, (height, width, 3) RGB."""
        return self._ask("picture")

    def close(self) -> None:
        self._pipe.close()
        self._process.join()
        self._process.close()

    def _ask(self, verb: str, *arguments: Any) -> Any:
        self._pipe.send((verb, *arguments))
        return self._pipe.recv()


def _live(pipe: Connection, road_seed: int, length_m: float, speed: float) -> None:
    """The car's process: time passes, questions are answered, until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop, which then closes the car
    world = RealTimeWorld(road_seed, length_m, Time(speed).now)
    # The world knows no other programs: where that is permitted, they do not delay it.
    with closing(world) as car, realtime(), suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(car.spec)
        while True:
            if pipe.poll(CONTROL_PERIOD_S):
                verb, *arguments = pipe.recv()
                pipe.send(getattr(car, verb)(*arguments))
            else:
                car.live()


class RealTimeWorld:
    """A world that keeps up with a clock, braking from the moment the last command expired."""

    def __init__(self, road_seed: int, length_m: float, clock: Callable[[], float] = time.monotonic) -> None:
        vehicle = load_vehicle("city_car")
        scenario = load_scenario("paper", length_m=length_m)
        road = draw_road(scenario, vehicle, road_seed)
        self.spec = VehicleSpec(
            image_height=vehicle.camera.height_px,
            image_width=vehicle.camera.width_px,
            top_speed_mps=vehicle.top_speed_mps,
            max_steering_rad=vehicle.max_steering_rad,
            max_steering_rate_radps=vehicle.max_steering_rate_radps,
        )
        self._world = World(draw_scene(scenario, vehicle, road, np.random.default_rng(road_seed)))
        self._image = self._world.capture()
        self._clock = clock
        self._simulated_until_s = self._expires_at_s = clock()

    def read(self) -> Frame:
        """What the camera sees and the car measures now; `truth` is what only the world knows."""
        now_s = self._clock()
        self._catch_up(now_s)
        world = self._world
        self._image = world.capture()
        return Frame(self._image, world.speed_mps, world.steering_rad, now_s, self._truth())

    def send(self, command: Command) -> NDArray[np.float32]:
        """Drive by `command` from now until it expires, then brake; returns the executed action, (2,)."""
        self._catch_up(self._clock())
        self._expires_at_s = command.expires_at_s
        return self._world.command(np.array([command.steering, command.speed], np.float32))

    def put_back(self, distance_m: float) -> None:
        """Stand the car in the middle of its lane, so far along the route; nobody commands it then."""
        self._simulated_until_s = self._expires_at_s = self._clock()
        self._world.place(distance_m)

    def picture(self) -> NDArray[np.uint8]:
        """The car from behind, beside what its camera saw last, (height, width, 3) RGB."""
        return self._world.chase(self._image)

    def close(self) -> None:
        self._world.close()

    @property
    def speed_mps(self) -> float:
        """How fast the car is now."""
        return self._world.speed_mps

    def live(self) -> None:
        """Let the time pass that has passed."""
        self._catch_up(self._clock())

    def _catch_up(self, now_s: float) -> None:
        """Simulate up to now, braking from the moment the last command expired; part of a substep waits."""
        steps = int((now_s - self._simulated_until_s) / SUBSTEP_S)
        driven = min(max(int((self._expires_at_s - self._simulated_until_s) / SUBSTEP_S), 0), steps)
        self._simulated_until_s += steps * SUBSTEP_S
        self._world.advance(driven * SUBSTEP_S)
        if driven < steps:
            self._world.brake()
            self._world.advance(min((steps - driven) * SUBSTEP_S, MAX_STALL_S))

    def _truth(self) -> Truth:
        world = self._world
        x_m, y_m, yaw_rad = world.pose
        return Truth(
            x_m=x_m,
            y_m=y_m,
            yaw_rad=yaw_rad,
            distance_m=world.track.distance_m,
            lateral_offset_m=world.track.lateral_offset_m,
            disengagement=world.disengagement,
            finished=world.finished,
            edge_m=world.edge_m,
        )
