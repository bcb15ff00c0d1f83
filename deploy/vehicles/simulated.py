"""The simulated car, driven in real time: its world goes on whether or not anybody commands it."""

import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.clock import Time
from deploy.driving.safety import Command
from deploy.realtime import WATCHDOG, realtime
from deploy.vehicles import Frame, Truth, VehicleSpec
from sim.car import SUBSTEP_S
from sim.scenario import load_scenario
from sim.scene import draw_road, draw_scene
from sim.spec import CONTROL_PERIOD_S
from sim.vehicles import load_vehicle
from sim.world import World

MAX_STALL_S = 10.0  # of a longer pause no more is simulated: the car stands by then
MAP_POINTS = 200  # of an edge of the lane, at least
START_S = 60.0  # to wait for the world, on a very busy machine
ANSWER_S = 30.0  # to wait for an answer: of a world that was stopped there comes none
FAREWELL_S = 3.0  # for its process to end by itself


class SimulatedCar:
    """The city car on a procedural road, in a process of its own, see `deploy.vehicles.Vehicle`.

    As in a real car, what moves it is not what commands it: however the control loop dies, the commands expire and
    the car brakes; its process ends when nobody is left to ask it. Raises EOFError when that process has died,
    TimeoutError when it says nothing.

    speed: how many times faster than real time the car's own time passes; all its moments are of `Time(speed)`.
    sensor_delay_s, actuator_delay_s: see `RealTimeWorld`; in the car's own time.
    """

    def __init__(
        self,
        road_seed: int,
        length_m: float,
        speed: float = 1.0,
        sensor_delay_s: float = 0.0,
        actuator_delay_s: float = 0.0,
    ) -> None:
        context = get_context("spawn")  # a fork would share the threads and sockets of the control loop
        self._pipe, theirs = context.Pipe()
        world = (road_seed, length_m, speed, sensor_delay_s, actuator_delay_s)
        self._process = context.Process(target=_live, args=(theirs, *world), daemon=True)
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

    def lane(self) -> list[NDArray[np.float64]]:
        """The edges of its lane from above, each (points, 2) in m."""
        return self._ask("lane")

    def close(self) -> None:
        self._pipe.close()
        self._process.join(FAREWELL_S)
        self._process.kill()
        self._process.join()
        self._process.close()

    def _ask(self, verb: str, *arguments: Any) -> Any:
        self._pipe.send((verb, *arguments))
        if not self._pipe.poll(ANSWER_S):
            raise TimeoutError(f"the simulated car did not answer within {ANSWER_S:.0f} s")
        return self._pipe.recv()


def _live(
    pipe: Connection, road_seed: int, length_m: float, speed: float, sensor_delay_s: float, actuator_delay_s: float
) -> None:
    """The car's process: time passes, questions are answered, until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop, which then closes the car
    world = RealTimeWorld(road_seed, length_m, Time(speed).now, sensor_delay_s, actuator_delay_s)
    # The world knows no other programs: where that is permitted, they do not delay it.
    with closing(world) as car, realtime(WATCHDOG), suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(car.spec)
        while True:
            if pipe.poll(CONTROL_PERIOD_S):
                verb, *arguments = pipe.recv()
                pipe.send(getattr(car, verb)(*arguments))
            else:
                car.live()


class RealTimeWorld:
    """A world that keeps up with a clock, braking from the moment the last command expired.

    sensor_delay_s: until a frame arrives, of a camera that takes one every `SUBSTEP_S` then; it is stamped with the
    moment when it was taken, and image, measurements and truth are of that moment. actuator_delay_s: until a command
    acts, and likewise until its expiry does.
    """

    def __init__(
        self,
        road_seed: int,
        length_m: float,
        clock: Callable[[], float] = time.monotonic,
        sensor_delay_s: float = 0.0,
        actuator_delay_s: float = 0.0,
    ) -> None:
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
        self._sensor_delay_s, self._actuator_delay_s = sensor_delay_s, actuator_delay_s
        self._begin()

    def read(self) -> Frame:
        """What the camera saw and the car measured as this frame was taken; `truth` is what only the world knows."""
        now_s = self._clock()
        self._catch_up(now_s)
        frame = self._frames[0] if self._sensor_delay_s else self._frame(now_s)
        self._image = frame.image
        return frame

    def send(self, command: Command) -> NDArray[np.float32]:
        """Drive by `command` until it expires, then brake; returns the action that is executed now, (2,)."""
        now_s = self._clock()
        self._commands.append((now_s + self._actuator_delay_s, command))
        self._catch_up(now_s)
        return self._world.executed

    def put_back(self, distance_m: float) -> None:
        """Stand the car in the middle of its lane, so far along the route; nobody commands it then."""
        self._world.place(distance_m)
        self._begin()

    def picture(self) -> NDArray[np.uint8]:
        """The car from behind, beside what its camera saw last, (height, width, 3) RGB."""
        return self._world.chase(self._image)

    def lane(self) -> list[NDArray[np.float64]]:
        """The edges of the lane from above, each (points, 2) in m."""
        road = self._world.road
        edges = [road.offset_line(left_m) for left_m in (-road.right_m, road.left_m)]
        return [edge[:: max(len(edge) // MAP_POINTS, 1)] for edge in edges]

    def close(self) -> None:
        self._world.close()

    @property
    def speed_mps(self) -> float:
        """How fast the car is now."""
        return self._world.speed_mps

    def live(self) -> None:
        """Let the time pass that has passed."""
        self._catch_up(self._clock())

    def _begin(self) -> None:
        """From now on, with no command and no frame on its way."""
        self._simulated_until_s = self._expires_at_s = self._clock()
        self._commands: deque[tuple[float, Command]] = deque()  # on their way, each with when it acts
        self._frames = deque([self._frame(self._simulated_until_s)])  # the first has arrived, later ones have not

    def _catch_up(self, now_s: float) -> None:
        """Let time pass up to now, obeying each command from the moment it acts."""
        while self._commands and self._commands[0][0] <= now_s:
            acts_at_s, command = self._commands.popleft()
            self._pass(acts_at_s)
            self._expires_at_s = command.expires_at_s + self._actuator_delay_s
            self._world.command(np.array([command.steering, command.speed], np.float32))
        self._pass(now_s)

    def _pass(self, until_s: float) -> None:
        """Simulate up to then, braking from the moment the last command expired; part of a substep waits."""
        steps = int((until_s - self._simulated_until_s) / SUBSTEP_S)
        driven = min(max(int((self._expires_at_s - self._simulated_until_s) / SUBSTEP_S), 0), steps)
        self._advance(driven)
        if driven < steps:
            self._world.brake()
            stalled = max(steps - driven - round(MAX_STALL_S / SUBSTEP_S), 0)
            self._simulated_until_s += stalled * SUBSTEP_S
            self._advance(steps - driven - stalled)

    def _advance(self, steps: int) -> None:
        """Simulate so many substeps; with a camera whose frames come late, one after the other."""
        if not self._sensor_delay_s:
            self._world.advance(steps * SUBSTEP_S)
            self._simulated_until_s += steps * SUBSTEP_S
            return
        for _ in range(steps):
            self._world.advance(SUBSTEP_S)
            self._simulated_until_s += SUBSTEP_S
            self._film()

    def _film(self) -> None:
        """Take a frame, and forget those that had arrived before the newest that has."""
        self._frames.append(self._frame(self._simulated_until_s))
        arrived_s = self._simulated_until_s - self._sensor_delay_s
        while self._frames[1].captured_at_s <= arrived_s:
            self._frames.popleft()

    def _frame(self, captured_at_s: float) -> Frame:
        world = self._world
        return Frame(world.capture(), world.speed_mps, world.steering_rad, captured_at_s, self._truth())

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
