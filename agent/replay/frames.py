"""Experience replay of camera frames, each stored once and encoded when it is sampled."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from agent.replay.uniform import Batch, Replay, Sample
from agent.settings import SettingsError


def as_numbers(frames: UInt8[Tensor, "n ..."]) -> Float[Tensor, "n pixels"]:
    """Frames as they are, for networks that see for themselves."""
    return frames.flatten(1).float()


def inner_size(obs_size: int, image: tuple[int, int, int] | None) -> int:
    """Numbers of an observation as `FrameReplay.inner` holds it: of its image, if there is one, only the place."""
    return obs_size if image is None else obs_size - math.prod(image) + 1


class FrameReplay:
    """Transitions whose observations begin with a frame: its bytes 0 … 255 as numbers, then the state.

    Frames lie in a ring of their own, `inner` holds where: it is an empty replay of any kind for observations of one
    number, the frame's place, and the state. A frame is stored once, though it ends one transition and begins another.
    When it makes room for a new one, the transitions that need it are forgotten; so there are at most as many frames
    as transitions that `inner` has room for.

    A frame becomes a latent only when it is sampled, by `encode`: (n, *frame_shape) uint8 -> (n, z) float32, so that no
    latent is older than the encoder.

    recent: among how many of the latest frames a frame is looked for before it is stored; twice the steps of a return.
    """

    def __init__(
        self,
        inner: Replay,
        frame_shape: tuple[int, ...],
        encode: Callable[[Tensor], Tensor] = as_numbers,
        recent: int = 2,
    ) -> None:
        if inner.capacity >= 1 << 24:
            raise SettingsError(f"replay_capacity is {inner.capacity}; expected less than 2²⁴, which float32 can count")
        self.inner, self.encode, self.recent = inner, encode, recent
        self.stored = 0  # frames so far
        self._frames = torch.zeros(inner.capacity, *frame_shape, dtype=torch.uint8)  # memory comes as it is written to
        self._pixels = self._frames[0].numel()
        self._users = torch.full((inner.capacity,), -1)  # the latest transition that needs the frame in that place

    @property
    def obs_size(self) -> int:
        """Numbers of an observation, those of its frame included."""
        return self._pixels + self.inner.obs_size - 1

    @property
    def action_size(self) -> int:
        """Numbers of an action."""
        return self.inner.action_size

    def __len__(self) -> int:
        return len(self.inner)

    def add(self, batch: Batch) -> None:
        """Insert transitions; the oldest make room."""
        for i in range(len(batch.reward)):
            one = Batch(*(column[i : i + 1] for column in batch))
            number, places = self.inner.inserted, []
            for obs in (one.obs, one.next_obs):
                places.append(self._place(obs[0, : self._pixels].to(torch.uint8)))
                self._users[places[-1]] = number
            obs, next_obs = (
                torch.cat([torch.tensor([[float(place)]]), seen[:, self._pixels :]], dim=1)
                for place, seen in zip(places, (one.obs, one.next_obs), strict=True)
            )
            self.inner.add(one._replace(obs=obs, next_obs=next_obs))

    def _place(self, frame: Tensor) -> int:
        """Where the frame lies, stored now if it is not among the latest."""
        frame = frame.view_as(self._frames[0])
        capacity = len(self._frames)
        for number in range(self.stored - 1, max(self.stored - 1 - self.recent, -1), -1):
            if torch.equal(self._frames[number % capacity], frame):
                return number % capacity
        place = self.stored % capacity
        self.inner.forget(int(self._users[place]) + 1)
        self._frames[place] = frame
        self.stored += 1
        return place

    def sample(self, size: int) -> Sample:
        """Draw `size` transitions with replacement, obs = (latent, state). Raises ValueError when there are none."""
        found = self.inner.sample(size)
        obs, next_obs = found.batch.obs, found.batch.next_obs
        places = torch.cat([obs[:, 0], next_obs[:, 0]]).long()
        with torch.no_grad():
            latents = self.encode(self._frames.index_select(0, places))
        obs = torch.cat([latents[:size], obs[:, 1:]], dim=1)
        next_obs = torch.cat([latents[size:], next_obs[:, 1:]], dim=1)
        return found._replace(batch=found.batch._replace(obs=obs, next_obs=next_obs))

    def latest(self, count: int) -> UInt8[Tensor, "n ..."]:
        """The newest frames, at most so many, oldest first."""
        held = min(count, self.stored, len(self._frames))
        return self._frames[torch.arange(self.stored - held, self.stored) % len(self._frames)]

    def reprioritise(self, rows: Tensor, priorities: Tensor) -> None:
        """As `inner` does."""
        self.inner.reprioritise(rows, priorities)

    def anneal(self, progress: float) -> None:
        """As `inner` does."""
        self.inner.anneal(progress)

    def state(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on bit by bit; shares memory, so save it before the next `add`."""
        held = min(self.stored, len(self._frames))
        own = {"frames": self._frames[:held], "users": self._users[:held], "stored": torch.tensor(self.stored)}
        return self.inner.state() | own

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises ValueError when its transitions or frames are of another shape or number."""
        stored = int(state["stored"])
        held = min(stored, len(self._frames))
        if state["frames"].shape != self._frames[:held].shape:
            found, expected = tuple(state["frames"].shape), tuple(self._frames[:held].shape)
            raise ValueError(f"frames of the saved replay are {found}; expected {expected}")
        self.inner.restore(state)
        self._frames[:held], self._users[:held] = state["frames"], state["users"]
        self._users[held:] = -1
        self.stored = stored
