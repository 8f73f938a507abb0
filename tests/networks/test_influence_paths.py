"""Influence paths add up to the weights, and the strongest ones are found without looking at all."""

from itertools import combinations_with_replacement

import pytest
import torch

from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.influence_paths import influence_paths
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.networks.var_weights import read_weights

every_var = pytest.mark.parametrize(
    ("network_class", "config_class"), [(SAMoVAR, SAMoVARConfig), (FixedVAR, FixedVARConfig)]
)


def build(network_class, config_class, n_layers=3):
    torch.manual_seed(0)
    network = network_class(3, 2, 11, 4, config_class(d_model=8, n_heads=2, n_layers=n_layers)).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network, torch.randn(1, 11, 3, dtype=torch.float64)


@every_var
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_all_paths_add_up_to_the_weights_and_contributions(network_class, config_class, n_layers):
    network, past = build(network_class, config_class, n_layers)
    reading = read_weights(network, past)
    for target in range(2):
        paths = influence_paths(network, past, target, n_paths=None)
        # Paths of l layers: the tokens before the newest one, in order.
        n_paths = sum(len([*combinations_with_replacement(range(6), layer)]) for layer in range(1, n_layers + 1))
        assert len({(path.head, path.tokens) for path in paths}) == len(paths) == 2 * n_paths
        weights, contribution = (
            torch.zeros_like(reading.weights[target]),
            torch.zeros_like(reading.contribution[target]),
        )
        for path in paths:
            segment, kind = 2 - path.tokens[0] // 2, path.tokens[0] % 2
            weights[len(path.tokens) - 2, path.head, segment, kind] += path.weight
            contribution[segment, kind] += path.contribution
        torch.testing.assert_close(weights, reading.weights[target])
        torch.testing.assert_close(contribution, reading.contribution[target])


@every_var
@pytest.mark.parametrize("source", [None, [0, 1], [4, 5]])
def test_the_strongest_come_first(network_class, config_class, source):
    network, past = build(network_class, config_class)

    def size(path):
        return float(path.contribution.square().mean().sqrt())

    paths = influence_paths(network, past, 1, n_paths=None)
    expected = sorted((one for one in paths if source is None or one.tokens[0] in source), key=size, reverse=True)[:15]
    found = influence_paths(network, past, 1, n_paths=15, source=source)
    assert [(path.head, path.tokens) for path in found] == [(path.head, path.tokens) for path in expected]
    assert [size(path) for path in found] == pytest.approx([size(path) for path in expected])


def test_a_long_context_takes_no_longer_than_its_tables():
    torch.manual_seed(0)
    network = SAMoVAR(2, 1, 60, 1, SAMoVARConfig(d_model=8, n_heads=1, n_layers=4)).eval()
    paths = influence_paths(network, torch.randn(1, 60, 2), 0, n_paths=20)  # of 120^4 / 4! and more
    sizes = [float(path.contribution.abs().max()) for path in paths]
    assert len(paths) == 20
    assert sizes == sorted(sizes, reverse=True)
    assert all(path.tokens[-1] == 119 and list(path.tokens) == sorted(path.tokens) for path in paths)
