"""Adam against torch's own and by hand, inside a graph and outside; the precision that products are in."""

import pytest
import torch
from torch import nn

from agent.update import Adam, descend, products_in


def networks(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(seed)
    return nn.Linear(4, 3), nn.Linear(3, 1)


def loss_of(one: nn.Module, two: nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return two(one(x).tanh()).square().mean()


@pytest.mark.parametrize("in_graph", [False, True], ids=["fused kernel", "equations"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_it_moves_weights_as_torchs_adam_does(monkeypatch, in_graph, l2):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: in_graph)
    ours, theirs = networks(), networks()
    adam = Adam(*ours, lr=0.01, l2=l2)
    reference = torch.optim.Adam([*theirs[0].parameters(), *theirs[1].parameters()], lr=0.01, weight_decay=l2)
    for step in range(30):
        descend(adam, loss_of(*ours, step))
        reference.zero_grad()
        loss_of(*theirs, step).backward()
        reference.step()
    for network, expected in zip(ours, theirs, strict=True):
        for weight, wanted in zip(network.parameters(), expected.parameters(), strict=True):
            assert torch.allclose(weight, wanted, atol=1e-5)


@pytest.mark.parametrize("weights_in", [torch.contiguous_format, torch.channels_last])
def test_convolutions_move_as_torchs_adam_moves_them(weights_in):
    """Whatever order their gradients have in memory: of pictures with channels last it is another than the weights'."""
    torch.manual_seed(0)
    ours, theirs = (nn.Conv2d(3, 4, 3, stride=2).to(memory_format=weights_in) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    adam, reference = Adam(ours, lr=0.01), torch.optim.Adam(theirs.parameters(), lr=0.01)
    for _ in range(3):
        image = torch.rand(2, 8, 8, 3).permute(0, 3, 1, 2)
        descend(adam, ours(image).square().sum())
        reference.zero_grad()
        theirs(image).square().sum().backward()
        reference.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)


def test_the_first_step_is_the_step_size_by_hand():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    descend(Adam(network, lr=0.25), 3.0 * network.weight.sum())  # m̂ = 3, √v̂ = 3
    assert network.weight.item() == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("in_graph", [False, True], ids=["fused kernel", "equations"])
def test_annealed_steps_are_that_share_of_the_full_ones(monkeypatch, in_graph):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: in_graph)
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    adam = Adam(network, lr=0.25)
    for share in (0.5, 0.2, 0.0):  # of the full size, whatever came before
        adam.anneal(share)
        descend(adam, 3.0 * network.weight.sum())
    assert network.weight.item() == pytest.approx(1 - 0.125 - 0.05, abs=1e-5)


def test_kernel_and_equations_continue_each_other(monkeypatch):
    """A run may be compiled at times: both keep the same state."""
    alternating, plain = networks(), networks()
    one, other = Adam(*alternating, lr=0.01), Adam(*plain, lr=0.01)
    for step in range(20):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda step=step: step % 2 == 0)
        descend(one, loss_of(*alternating, step))
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: False)
        descend(other, loss_of(*plain, step))
    for key, tensor in one.state_dict().items():
        assert torch.allclose(tensor, other.state_dict()[key], atol=1e-5), key
    assert one.steps.item() == 20
    assert one.decay.tolist() == pytest.approx([0.9**20, 0.999**20], rel=1e-5)


def test_only_its_own_weights_move_and_no_gradient_is_left_on_them():
    one, two = networks()
    before = two.weight.detach().clone()
    descend(Adam(one, lr=0.1), loss_of(one, two, 0))
    assert torch.equal(two.weight, before)
    assert one.weight.grad is None


def test_a_state_of_another_network_is_refused():
    with pytest.raises((KeyError, RuntimeError)):
        Adam(nn.Linear(2, 2), lr=0.1).load_state_dict(Adam(nn.Linear(3, 3), lr=0.1).state_dict())


def test_products_are_in_the_precision_asked_for_and_weights_are_not():
    network, x = nn.Linear(4, 3), torch.randn(2, 4)
    with products_in("bfloat16"):
        assert network(x).dtype == torch.bfloat16
    with products_in("float32"):
        assert network(x).dtype == torch.float32
    assert network.weight.dtype == torch.float32


def test_weights_that_change_in_the_midst_are_seen_in_bfloat16():
    network, x = nn.Linear(1, 1, bias=False), torch.ones(1, 1)
    with products_in("bfloat16"):
        network(x)
        nn.init.constant_(network.weight, 2.0)
        assert network(x).item() == 2.0
