"""The weights read out of the network are exactly what the network computes."""

import pytest
import torch

from samovar_forecast.layers.instance_norm import normalise_instance
from samovar_forecast.layers.tokens import split_segments
from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.samovar import SAMoVAR, SAMoVARConfig
from samovar_forecast.networks.var_weights import read_weights

every_var = pytest.mark.parametrize(
    ("network_class", "config_class"), [(SAMoVAR, SAMoVARConfig), (FixedVAR, FixedVARConfig)]
)


def build(network_class, config_class, scale, **chosen):
    torch.manual_seed(0)
    chosen = {"d_model": 16, "n_heads": 2, "n_layers": 3, "dropout": 0.0} | chosen
    network = network_class(4, 3, 30, 6, config_class(**chosen)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


@every_var
@pytest.mark.parametrize("scale", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("missing", [False, True])
def test_parts_add_up_to_the_networks_own_output(network_class, config_class, scale, missing):
    network, past = build(network_class, config_class, scale), torch.randn(1, 30, 4) * 3 + 2
    if missing:
        past[:, :10, 1], past[:, 26:, 3] = torch.nan, torch.nan
    reading = read_weights(network, past)

    own_token = {}
    network.output_norm.register_forward_pre_hook(lambda _, inputs: own_token.update(token=inputs[0][0, :, -1]))
    forecast = network(past)[0, ..., 0].T
    error = (reading.forecast_token - own_token["token"]).norm() / own_token["token"].norm()
    assert error <= 1e-5
    rebuilt = reading.baseline + reading.own + reading.contribution.sum((1, 2))
    assert (rebuilt - forecast).norm() / forecast.norm() <= 1e-5


@every_var
def test_weights_equal_the_sum_over_influence_paths(network_class, config_class):
    """B^1 = A^1 and B^l_{t,j} = sum_{i=j..t} A^l_{t,i} B^{l-1}_{i,j} with A^l_{t,i} = v_i q_t^T, times S^T."""
    network, past = build(network_class, config_class, 0.3).double(), torch.randn(1, 30, 4, dtype=torch.float64)
    reading = read_weights(network, past)
    z, _ = normalise_instance(past, 6, 3, 1)
    tokens = network.transform_tokens(network.embed(split_segments(z, 6)))
    queries, values = network.weights(tokens)
    n_tokens = network.n_tokens
    for target in range(3):
        for head in range(2):
            paths = None
            for layer in range(3):
                q, v = queries[layer][0, target, head], values[layer][0, target, head]
                step = {(t, i): torch.outer(v[i], q[t]) for t in range(n_tokens) for i in range(t + 1)}
                if paths is None:
                    paths = step
                else:
                    paths = {
                        (t, j): sum(step[t, i] @ paths[i, j] for i in range(j, t + 1))
                        for t in range(n_tokens)
                        for j in range(t + 1)
                    }
                for j in range(n_tokens):
                    expected = (network.output_map.matrix()[head].T @ paths[n_tokens - 1, j]).T  # in, out
                    lag, kind = network.n_segments - 1 - j // 2, j % 2
                    torch.testing.assert_close(reading.weights[target, layer, head, lag, kind], expected)


@every_var
def test_the_weights_of_some_targets_are_those_of_the_whole(network_class, config_class):
    network, past = build(network_class, config_class, 0.3), torch.randn(1, 30, 4)
    whole, part = read_weights(network, past), read_weights(network, past, [2, 0])
    for name, value in part._asdict().items():
        torch.testing.assert_close(value, getattr(whole, name)[[2, 0]], msg=lambda text, at=name: f"{at}: {text}")
