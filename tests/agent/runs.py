"""Folders as `lapwing train` leaves them, without the training."""

import tempfile
from functools import lru_cache
from pathlib import Path

import gymnasium
import numpy as np
import torch

from agent.checkpoint import PolicyFacts, make_actor, save_actor
from perception.encoders import save_encoder
from perception.encoders.vae import VAE, VAEConfig
from perception.graph import encoder_graph
from tests.agent.fakes import FACTS

EPISODES = """actor,car,episode,kind,steps,distance_m,reward,disengagement,finished,version,wall_s,updates
0,0,0,train,300,12.5,12.5,left lane,False,1,2.0,10
0,0,0,test,100,20.0,20.0,left lane,False,2,1.0,500
0,0,1,train,600,30.0,30.0,,True,3,4.0,900
"""


def write_encoder(path: Path) -> Path:
    """A VAE of full size that has learned nothing; beside it the same as ONNX."""
    torch.manual_seed(0)
    save_encoder(path, VAE(VAEConfig()))
    path.with_suffix(".onnx").write_bytes(_graph(path.read_bytes()))
    return path


@lru_cache
def _graph(weights: bytes) -> bytes:
    """The same as ONNX; it takes seconds to make."""
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "vae.safetensors").write_bytes(weights)
        return encoder_graph(path)


def write_run(folder: Path, facts: PolicyFacts = FACTS) -> Path:
    """An actor that drives straight on at about half speed, its encoder, and two episodes."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_actor(folder / "actor.safetensors", make_actor(facts), facts)
    write_encoder(folder / "vae.safetensors")
    (folder / "episodes.csv").write_text(EPISODES)
    return folder


def real_frames(count: int) -> np.ndarray:
    """Camera images from all over the road, (count, 64, 64, 3) uint8."""
    env = gymnasium.make("sim:LaneFollowing-v0", random_start=True)
    frames = np.stack([env.reset(seed=seed)[0]["image"] for seed in range(count)])
    env.close()
    return frames
