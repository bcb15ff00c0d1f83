"""The networks start near zero and give what their signatures promise."""

from collections import Counter

import pytest
import torch
from jaxtyping import TypeCheckError

from agent.networks import Actor, CategoricalCritic, Critic, Critics, Layout, LayoutError, mlp, widths
from agent.update import products_in


@pytest.fixture
def obs() -> torch.Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def last_layer(network: torch.nn.Module) -> torch.nn.Linear:
    return [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]


@pytest.mark.parametrize("network", [Actor(5, 2, (64, 64)), Critic(5, 2, (64, 64))], ids=["actor", "critic"])
def test_the_final_layer_starts_within_3e_3(network):
    weights = torch.cat([parameter.flatten() for parameter in last_layer(network).parameters()]).detach()
    assert weights.abs().max() <= 3e-3
    assert weights.abs().max() > 1.5e-3  # and is not all zero: of 65 uniform ones none has missed the upper half


def test_first_actions_and_values_are_near_zero(obs):
    actor, critic = Actor(5, 2, (64, 64)), Critic(5, 2, (64, 64))
    assert actor(obs).abs().max() < 0.2
    assert critic(obs, actor(obs)).abs().max() < 0.2


def test_shapes(obs):
    assert Actor(5, 2, (8,))(obs).shape == (7, 2)
    assert Critic(5, 2, (8, 8, 8))(obs, torch.zeros(7, 2)).shape == (7,)


def test_actions_are_squashed_and_values_are_not(obs):
    actor, critic = Actor(5, 2, (8,)), Critic(5, 2, (8,))
    for network in (actor, critic):
        torch.nn.init.constant_(last_layer(network).bias, 40.0)
    assert torch.all(actor(obs) == 1.0)
    assert torch.all(critic(obs, torch.zeros(7, 2)) > 39.0)


def test_the_action_is_the_tanh_of_the_preactivation(obs):
    actor = Actor(5, 2, (8,))
    assert torch.equal(actor(obs), torch.tanh(actor.preactivation(obs)))


def test_the_critic_listens_to_the_action(obs):
    critic = Critic(5, 2, (8,))
    assert not torch.equal(critic(obs, torch.zeros(7, 2)), critic(obs, torch.ones(7, 2)))


def test_batches_that_do_not_belong_together_are_refused(obs):
    critic = Critic(5, 2, (8,))
    with pytest.raises(TypeCheckError):
        critic(obs, torch.zeros(1, 2))
    with pytest.raises(TypeCheckError):
        critic(obs[0], torch.zeros(2))


def copied(critics: Critics, i: int) -> Critic:
    """Critic i of an ensemble as a network of its own."""
    critic = Critic(5, 2, (8, 8), norm="layer" if len(critics.scales) else "none")
    linear = [module for module in critic.modules() if isinstance(module, torch.nn.Linear)]
    for layer, weight, bias in zip(linear, critics.weights, critics.biases, strict=True):
        layer.weight.data.copy_(weight[i].T)
        layer.bias.data.copy_(bias[i, 0])
    norms = [module for module in critic.modules() if isinstance(module, torch.nn.LayerNorm)]
    for layer, scale, shift in zip(norms, critics.scales, critics.shifts, strict=True):
        layer.weight.data.copy_(scale[i, 0])
        layer.bias.data.copy_(shift[i, 0])
    return critic


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_an_ensemble_is_so_many_separate_critics(obs, norm):
    critics, action = Critics(3, 5, 2, (8, 8), norm), torch.rand(7, 2)
    for parameter in critics.parameters():
        parameter.data.uniform_(-1, 1)
    values = critics(obs, action)
    assert values.shape == (3, 7)
    for i in range(3):
        assert torch.allclose(values[i], copied(critics, i)(obs, action), atol=1e-5)
    assert torch.equal(critics.first(obs, action), values[0])


def test_the_members_of_an_ensemble_start_differently_and_as_separate_networks_would(obs):
    critics = Critics(50, 5, 2, (64, 64))
    values = critics(obs, torch.zeros(7, 2))
    assert values.abs().max() < 0.2
    assert len(values[:, 0].unique()) == 50
    bounds = [tensor.abs().max().item() for tensor in critics.weights]
    assert bounds == pytest.approx([7**-0.5, 64**-0.5, 3e-3], rel=0.01)  # nn.Linear: ±1/√inputs


def test_values_of_an_ensemble_are_not_squashed(obs):
    critics = Critics(2, 5, 2, (8,))
    torch.nn.init.constant_(critics.biases[-1], 40.0)
    assert critics(obs, torch.zeros(7, 2)).min() > 39


def test_the_first_critic_leaves_no_gradient_on_the_others(obs):
    critics = Critics(2, 5, 2, (8,))
    critics.first(obs, torch.zeros(7, 2)).sum().backward()
    assert critics.weights[0].grad[0].abs().max() > 0
    assert critics.weights[0].grad[1].abs().max() == 0


@pytest.mark.parametrize("critic", [Critic(5, 2, (64,), "none"), Critics(2, 5, 2, (64,))], ids=["one", "many"])
def test_large_values_are_not_rounded_where_products_are_in_bfloat16(critic, obs):
    biases = critic.biases[-1] if isinstance(critic, Critics) else last_layer(critic).bias
    torch.nn.init.constant_(biases, 601.0)  # in bfloat16 600 or 604
    with torch.no_grad(), products_in("bfloat16"):
        values = critic(obs, torch.zeros(7, 2))
    assert values.dtype == torch.float32
    assert (values - 601).abs().max() < 0.2
    assert len(values.unique()) > values.numel() / 2


def test_large_means_of_a_distribution_are_not_rounded_where_products_are_in_bfloat16():
    critic = CategoricalCritic(5, 2, (64,), torch.linspace(-1000, 1000, 101))  # 20 apart
    probabilities = torch.zeros(4, 101)
    for row, (lower, upper) in enumerate([(99, 100), (80, 81), (50, 51), (0, 1)]):
        probabilities[row, [lower, upper]] = torch.tensor([0.3, 0.7])
    with torch.no_grad(), products_in("bfloat16"):
        means = critic.mean(probabilities.log())
    assert means.dtype == torch.float32
    assert means.tolist() == pytest.approx([994, 614, 14, -986], abs=0.1)  # 980 + 0.7 · 20 = 994, …


def test_large_logits_are_not_rounded_where_products_are_in_bfloat16(obs):
    critic = CategoricalCritic(5, 2, (64,), torch.tensor([0.0, 1000.0]))
    torch.nn.init.zeros_(last_layer(critic).weight)
    last_layer(critic).bias.data.copy_(50 + torch.tensor([0.3, 0.7]).log())  # in bfloat16 48.75 and 49.75
    with torch.no_grad(), products_in("bfloat16"):
        means = critic.mean(critic(obs, torch.zeros(7, 2)))
    assert means.dtype == torch.float32
    assert means.tolist() == pytest.approx([700] * 7, abs=0.1)


def test_dropout_is_of_training_only(obs):
    critics, action = Critics(1, 5, 2, (64,), dropout=0.5), torch.zeros(7, 2)
    assert not torch.equal(critics(obs, action), critics(obs, action))
    critics.eval()
    assert torch.equal(critics(obs, action), critics(obs, action))


def constant(units: list[float], last: list[float], **more) -> Critics:
    """One critic whose hidden layer gives these units before dropout, and its value their sum weighed by `last`."""
    critics = Critics(1, 5, 2, (len(units),), **more)
    for parameter in (*critics.weights, *critics.biases):
        torch.nn.init.zeros_(parameter)
    critics.biases[0].data[0, 0] = torch.tensor(units)
    critics.weights[1].data[0, :, 0] = torch.tensor(last)
    return critics


def shares(critics: Critics, count: int = 4000) -> dict[float, float]:
    """How often each value is found, of so many observations."""
    torch.manual_seed(0)
    values = critics(torch.zeros(count, 5), torch.zeros(count, 2))[0].tolist()
    return {value: found / count for value, found in Counter(round(value, 2) for value in values).items()}


def test_dropout_is_of_its_rate_and_makes_up_for_what_is_lost():
    assert shares(constant([1.0], [1.0], dropout=0.2)) == pytest.approx({0.0: 0.2, 1.25: 0.8}, abs=0.03)


def test_units_are_dropped_before_they_are_normalised():
    """Of (1, 3) both stay: (−1, 1); the first: (1, −1); the second: (−1, 1); none: (0, 0); negative ones become 0."""
    found = shares(constant([1.0, 3.0], [1.0, 10.0], norm="layer", dropout=0.5))
    assert found == pytest.approx({0.0: 0.25, 1.0: 0.25, 10.0: 0.5}, abs=0.03)


def test_an_ensemble_refuses_batches_that_do_not_belong_together(obs):
    with pytest.raises(TypeCheckError):
        Critics(2, 5, 2, (8,))(obs, torch.zeros(1, 2))


def test_the_mean_of_a_categorical_critic_by_hand(obs):
    critic = CategoricalCritic(5, 2, (8,), torch.tensor([-1.0, 0.0, 3.0]))
    assert critic(obs, torch.zeros(7, 2)).shape == (7, 3)
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    assert critic.mean(logits).tolist() == pytest.approx([0.25])


def test_an_mlp_has_the_layers_it_was_asked_for():
    names = [type(module).__name__ for module in mlp([3], [4], 2, "batch", "elu")]
    assert names == ["Linear", "BatchNorm1d", "ELU", "Linear"]
    assert [type(module).__name__ for module in mlp([3], [4], 2, "none", "tanh")] == ["Linear", "Tanh", "Linear"]
    assert mlp([3], [400], 2, final_init=0.5)[-1].weight.abs().max() > 0.4


def reached(network: torch.nn.Module, columns: slice) -> list[int]:
    """Which hidden layers of a body the given columns of an observation of ones reach."""
    found, seen = [], {}
    linear = [module for module in network.body if isinstance(module, torch.nn.Linear)]
    for layer in linear:
        layer.register_forward_hook(lambda module, _, out: seen.__setitem__(module, out.detach()))
    obs, other = torch.ones(1, 5), torch.ones(1, 5)
    other[:, columns] = 7.0
    network(obs, torch.zeros(1, 2)) if isinstance(network, Critic) else network(obs)
    before = dict(seen)
    network(other, torch.zeros(1, 2)) if isinstance(network, Critic) else network(other)
    for i, layer in enumerate(linear):
        found += [i] if not torch.equal(before[layer], seen[layer]) else []
    return found


LATE = Layout(pieces=((2, 0), (3, 1)), action=2)  # of five numbers the last three enter at the second layer


@pytest.mark.parametrize("kind", [Actor, Critic])
def test_pieces_of_an_observation_enter_at_their_own_layer(kind):
    torch.manual_seed(0)
    network = kind(5, 2, (8, 8), layout=LATE)
    assert reached(network, slice(0, 2)) == [0, 1, 2]
    assert reached(network, slice(2, 5)) == [1, 2]


def test_where_all_enters_is_counted():
    assert LATE.sizes(5, 2) == [2, 3, 2]
    assert LATE.sizes(5) == [2, 3]
    assert Layout().sizes(5, 2) == [7]
    assert widths([2, 3, 2], [8, 9], 1) == [(2, 8), (11, 9), (11, 1)]
    assert Layout(action=2).sizes(5, 2) == [5, 0, 2]
    for entering, said in (([2, 3, 2], "expected at most 1"), ([0, 3], "nothing enters layer 0")):
        with pytest.raises(LayoutError, match=said):
            widths(entering, [8], 1)


def test_an_ensemble_of_critics_takes_late_inputs_as_separate_ones_do(obs):
    critics, action = Critics(2, 5, 2, (8, 8), layout=LATE), torch.rand(7, 2)
    for i in range(2):
        alone = Critic(5, 2, (8, 8), norm="none", layout=LATE)
        linear = [module for module in alone.modules() if isinstance(module, torch.nn.Linear)]
        for layer, weight, bias in zip(linear, critics.weights, critics.biases, strict=True):
            layer.weight.data.copy_(weight[i].T)
            layer.bias.data.copy_(bias[i, 0])
        assert torch.allclose(critics(obs, action)[i], alone(obs, action), atol=1e-6)


def test_a_categorical_critic_takes_late_inputs(obs):
    critic = CategoricalCritic(5, 2, (8, 8), torch.linspace(0, 1, 4), layout=LATE)
    assert critic(obs, torch.zeros(7, 2)).shape == (7, 4)


def test_a_batch_normalised_actor_sees_observations_of_any_scale_alike():
    actor, obs = Actor(5, 2, (8,), norm="batch"), torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(actor(obs), actor(100 + 30 * obs), atol=1e-3)


def test_a_batch_normalised_critic_normalises_the_state_and_not_the_action():
    critic, obs = Critic(5, 2, (8,), norm="batch"), torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    action = torch.rand(64, 2, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(critic(obs, action), critic(100 + 30 * obs, action), atol=1e-3)
    assert not torch.allclose(critic(obs, action), critic(obs, 30 * action), atol=1e-3)


@pytest.mark.parametrize(("layer", "normed"), [(0, 0), (1, 1), (2, 2)])
def test_batch_normalisation_is_of_the_state_and_of_the_layers_before_the_action_enters(layer, normed):
    critic = Critic(3, 2, (8, 8), norm="batch", layout=Layout(action=layer))
    assert isinstance(critic.state, torch.nn.BatchNorm1d)
    assert sum(isinstance(module, torch.nn.BatchNorm1d) for module in critic.body) == normed
    assert critic(torch.randn(4, 3), torch.randn(4, 2)).shape == (4,)
