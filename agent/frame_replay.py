"""Experience replay of camera frames, each stored once and encoded when it is sampled."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from agent.replay import Batch, Sample


class FrameReplay:
    """A ring of the last `capacity` moments (frame and state vector), uniform over the transitions between them.

    A frame is stored once, though it ends one transition and begins the next. It becomes a latent only when it is
    sampled, by `encode`: (n, *frame_shape) uint8 -> (n, z) float32, so that no latent is older than the encoder.
    """

    def __init__(
        self,
        capacity: int,
        frame_shape: tuple[int, ...],
        state_size: int,
        action_size: int,
        encode: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> None:
        self.capacity, self.encode, self.generator = capacity, encode, generator
        self.inserted = 0  # moments
        self._widths = [state_size, action_size, 1, 1]
        self._frames = torch.zeros(capacity, *frame_shape, dtype=torch.uint8)
        self._rows = torch.zeros(capacity, sum(self._widths))  # state, and the action, reward, discount that follow it
        self._leads = torch.zeros(capacity, dtype=torch.bool)  # to the moment in the next slot

    def __len__(self) -> int:
        return int(self._leads.sum())

    def add(
        self,
        frames: UInt8[Tensor, "moments ..."],
        states: Float[Tensor, "moments state"],
        action: Float[Tensor, "steps action"],
        reward: Float[Tensor, " steps"],
        discount: Float[Tensor, " steps"],
    ) -> None:
        """Insert a piece of an episode, n steps and the n + 1 moments that they lead through; the oldest make room.

        Raises ValueError when the piece is longer than the ring or its moments are not one more than its steps.
        """
        moments, steps = len(frames), len(reward)
        if not moments == len(states) == steps + 1 or moments > self.capacity:
            raise ValueError(
                f"{moments} frames and {len(states)} states of {steps} steps; expected one more than steps, "
                f"and at most {self.capacity}"
            )
        slots = (self.inserted + torch.arange(moments)) % self.capacity
        steps_taken = torch.cat([action, reward[:, None], discount[:, None]], dim=1)
        self._frames[slots] = frames
        self._rows[slots] = torch.cat([states, torch.nn.functional.pad(steps_taken, (0, 0, 0, 1))], dim=1)
        self._leads[slots] = torch.arange(moments) < steps
        self.inserted += moments

    def sample(self, size: int) -> Sample:
        """Draw `size` transitions with replacement, obs = (latent, state). Raises ValueError when there are none."""
        rows = self._draw(size)
        both = torch.cat([rows, (rows + 1) % self.capacity])
        with torch.no_grad():
            latents = self.encode(self._frames.index_select(0, both))
        state, action, reward, discount = self._rows.index_select(0, both).split(self._widths, dim=1)
        obs = torch.cat([latents, state], dim=1)
        batch = Batch(obs[:size], action[:size], reward[:size, 0], discount[:size, 0], obs[size:])
        return Sample(batch, rows, torch.ones(size))

    def _draw(self, size: int) -> Int[Tensor, " size"]:
        """Draw among all moments, and anew for each that leads nowhere."""
        if not self._leads.any():
            raise ValueError("the replay is empty; add transitions before the first sample")
        rows = torch.zeros(size, dtype=torch.int64)
        missing = torch.ones(size, dtype=torch.bool)
        while missing.any():
            held = min(self.inserted, self.capacity)
            rows[missing] = torch.randint(held, (int(missing.sum()),), generator=self.generator)
            missing = ~self._leads[rows]
        return rows

    def reprioritise(self, rows: Int[Tensor, " batch"], priorities: Float[Tensor, " batch"]) -> None:
        """Nothing to a uniform replay."""

    def state(self) -> dict[str, Tensor]:
        """Everything that `restore` needs to go on bit by bit; shares memory, so save it before the next `add`."""
        held = min(self.inserted, self.capacity)
        return {
            "frames": self._frames[:held],
            "rows": self._rows[:held],
            "leads": self._leads[:held],
            "inserted": torch.tensor(self.inserted),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises ValueError when its moments are of another shape or number."""
        inserted = int(state["inserted"])
        held = min(inserted, self.capacity)
        stores = {"frames": self._frames, "rows": self._rows, "leads": self._leads}
        for name, store in stores.items():
            if state[name].shape != store[:held].shape:
                found = tuple(state[name].shape)
                raise ValueError(f"{name} of the saved replay are {found}; expected {tuple(store[:held].shape)}")
        for name, store in stores.items():
            store[:held] = state[name]
        self._leads[held:] = False
        self.generator.set_state(state["generator"])
        self.inserted = inserted
