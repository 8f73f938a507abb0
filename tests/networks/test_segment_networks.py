"""What SAMoVAR, LinTrans and FixedVAR have in common, and SAMoVAR against its formula."""

import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.fixedvar import FixedVAR, FixedVARConfig
from samovar_forecast.networks.lintrans import LinTrans, LinTransConfig
from samovar_forecast.networks.samovar import InvertibleMap, SAMoVAR, SAMoVARConfig
from samovar_forecast.training.devices import compiled as compile_for

NETWORKS = [(SAMoVAR, SAMoVARConfig), (LinTrans, LinTransConfig), (FixedVAR, FixedVARConfig)]
every_network = pytest.mark.parametrize(("network_class", "config_class"), NETWORKS, ids=lambda x: x.__name__)


def build(network_class, config_class, n_series=3, n_targets=3, context_length=40, horizon=8, n_outputs=1, **chosen):
    chosen = {"d_model": 16, "n_heads": 2, "n_layers": 2, "dropout": 0.0} | chosen
    torch.manual_seed(0)
    network = network_class(n_series, n_targets, context_length, horizon, config_class(**chosen), n_outputs).double()
    with torch.no_grad():  # away from the tiny initial values, where every network is almost the same
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def window(n_series=3, length=40, batch=2):
    return torch.randn(batch, length, n_series, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@every_network
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("segment_length", [None, 3, 8, 50])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_shapes(network_class, config_class, n_outputs, segment_length, n_targets):
    network = build(
        network_class, config_class, n_targets=n_targets, n_outputs=n_outputs, segment_length=segment_length
    )
    result = network.training_forecast(window())
    assert result.forecast.shape == (2, 8, n_targets, n_outputs)
    torch.testing.assert_close(network(window()), result.forecast)
    if segment_length == 50:
        assert result.own_forecast is None  # one segment has no successor
    else:
        assert result.own_forecast.shape == (*result.own_target.shape, n_outputs)


@every_network
def test_next_segment_forecasts_are_causal(network_class, config_class):
    network = build(network_class, config_class)
    segments = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    changed = segments.clone()
    changed[:, :, 3:] += 1
    before, after = network.following_steps(segments), network.following_steps(changed)
    torch.testing.assert_close(before[:, :, :3], after[:, :, :3])
    assert not torch.allclose(before[:, :, 3:], after[:, :, 3:])


@every_network
@pytest.mark.parametrize("segment_length", [None, 3, 5, 8, 12])
def test_own_targets_are_the_steps_after_each_segment(network_class, config_class, segment_length):
    """Value by value, NaN where a step lies after the context or was not observed; the mask says the same."""
    network = build(network_class, config_class, segment_length=segment_length)
    past = window()
    past[0, 17, 1] = torch.nan
    length = segment_length or 8
    target = network.training_forecast(past).own_target  # (batch, segment, step, target)
    n_segments = -(-40 // length)
    assert target.shape == (2, n_segments - 1, 8, 3)
    for window_number, series in [(0, 0), (0, 1), (1, 2)]:
        values = past[window_number, :, series]
        shown = values[~values.isnan()]
        z = (values - shown[-length:].mean()) / (shown.std() + 1e-8)
        for n in range(1, n_segments):  # the last segment ends where the context does
            first = 40 - (n_segments - n) * length
            expected = F.pad(z[first:], (0, 8), value=torch.nan)[:8]
            torch.testing.assert_close(target[window_number, n - 1, :, series], expected, equal_nan=True)
    torch.testing.assert_close(network.observed_own_targets(past), ~target.isnan())


@every_network
def test_univariate_series_do_not_see_each_other(network_class, config_class):
    network = build(network_class, config_class, univariate=True)
    past = window()
    changed = past.clone()
    changed[:, :, 0] = torch.randn(2, 40, dtype=torch.float64)
    torch.testing.assert_close(network(past)[:, :, 1:], network(changed)[:, :, 1:])
    mixed = build(network_class, config_class)
    assert not torch.allclose(mixed(past)[:, :, 1:], mixed(changed)[:, :, 1:])


@every_network
def test_forecast_follows_shift_and_scale(network_class, config_class):
    network, past = build(network_class, config_class), window()
    torch.testing.assert_close(network(1000 * past + 5), 1000 * network(past) + 5, rtol=1e-6, atol=1e-4)


@every_network
@pytest.mark.parametrize("segment_length", [4, 12])
def test_every_token_forecasts_the_whole_horizon(network_class, config_class, segment_length):
    """The forecast is what the newest token gives; the other tokens' are the network's own objective."""
    network = build(network_class, config_class, segment_length=segment_length, context_length=48)
    past = window(length=48)
    level, scale = past[:, -segment_length:].mean(1, keepdim=True), past.std(1, keepdim=True) + 1e-8
    segments = ((past - level) / scale).transpose(1, 2).unflatten(-1, (-1, segment_length))
    following = network.following_steps(segments)[..., 0]  # (batch, target, segment, step)
    torch.testing.assert_close(network(past).squeeze(-1), following[:, :, -1].transpose(1, 2) * scale + level)
    own = network.training_forecast(past).own_forecast.squeeze(-1)  # (batch, segment, step, target)
    torch.testing.assert_close(own, following[:, :, :-1].permute(0, 2, 3, 1))


@every_network
def test_every_parameter_learns(network_class, config_class):
    network = build(network_class, config_class)
    result = network.training_forecast(window())
    (result.forecast.square().mean() + F.mse_loss(result.own_forecast.squeeze(-1), result.own_target)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@every_network
@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"n_heads": 3}, "n_heads must divide d_model"), ({"dropout": 1.0}, "dropout"), ({"n_layers": 0}, "n_layers"),
     ({"segment_length": 0}, "segment_length"), ({"d_model": -8}, "d_model"),
     ({"series_at_once": 0}, "series_at_once")],
)  # fmt: skip
def test_bad_hyperparameters_are_named(network_class, config_class, wrong, named):
    with pytest.raises(ValueError, match=named):
        build(network_class, config_class, **wrong)


@every_network
@pytest.mark.parametrize("series_at_once", [1, 2, 9])
def test_parts_that_are_computed_again_have_the_same_values_and_gradients(network_class, config_class, series_at_once):
    plain = build(network_class, config_class, n_series=6, n_targets=5, segment_length=3)
    again = build(network_class, config_class, 6, 5, segment_length=3, series_at_once=series_at_once)
    (expected, wanted), (result, found) = (
        forecast_and_gradients(network, window(6), compiled=False) for network in (plain, again)
    )
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(again.eval()(window(6)), plain.eval()(window(6)))


# The three share the code that computes again, and a compiler takes long: one of them is compiled.
@pytest.mark.parametrize(
    ("network_class", "config_class", "compiled"),
    [*((*network, False) for network in NETWORKS), (*NETWORKS[0], True)],
)
def test_what_is_computed_again_drops_the_same(network_class, config_class, compiled):
    torch._dynamo.reset()
    at_once = build(network_class, config_class, dropout=0.5, segment_length=3)
    again = build(network_class, config_class, dropout=0.5, segment_length=3, series_at_once=3)
    (expected, wanted), (result, found) = (
        forecast_and_gradients(network, window(), compiled and network is again) for network in (at_once, again)
    )
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(found, wanted)


@every_network
def test_dropout_of_several_parts_has_the_gradient_of_its_forecast(network_class, config_class):
    network = build(network_class, config_class, dropout=0.5, series_at_once=1).train()
    past = window().requires_grad_()

    def forecast(values):
        torch.manual_seed(5)
        return network.training_forecast(values).forecast.square().sum()

    (gradient,) = torch.autograd.grad(forecast(past), past)
    direction, step = torch.randn_like(past), 1e-6
    difference = (forecast(past + step * direction) - forecast(past - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-5)


@every_network
def test_parts_that_are_computed_again_are_not_kept(network_class, config_class):
    def bytes_kept(**chosen):
        network = build(network_class, config_class, 32, 32, context_length=64, **chosen).train()
        kept = {parameter.untyped_storage().data_ptr(): 0 for parameter in network.parameters()}

        def weigh(tensor):
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            result = network.training_forecast(window(32, length=64))
        del result
        return sum(kept.values())

    assert bytes_kept(series_at_once=2) < 0.35 * bytes_kept()


def forecast_and_gradients(network, past, compiled):
    forecast = network.train().training_forecast
    torch.manual_seed(3)
    result = (compile_for(forecast, past.device) if compiled else forecast)(past)
    loss = result.forecast.square().sum() + result.own_forecast.square().sum()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return (result.forecast, result.own_forecast), torch.autograd.grad(loss, parameters)


def test_samovar_equals_its_formula():
    """Values and gradients of the whole stack against the running sum k v^T, head by head and token by token."""
    network = build(SAMoVAR, SAMoVARConfig, n_layers=3)
    tokens = torch.randn(2, 3, 10, 16, dtype=torch.float64, requires_grad=True)

    def rms(x, weight, eps):
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight

    def reference(tokens):
        x = tokens
        for norm, (up, _, down, _) in zip(network.feed_forward_norms, network.feed_forwards, strict=True):
            hidden = rms(x, norm.weight, 1e-5) @ up.weight.T + up.bias
            x = x + F.gelu(hidden) @ down.weight.T + down.bias
        x = rms(x, network.stack_norm.weight, 1e-5)
        projection, scale = network.weights.projection, network.weights.scale
        outputs = []
        for head in range(2):
            columns = slice(8 * head, 8 * head + 8)
            running, total = x[..., columns], 0.0
            for layer in range(3):
                query_rows = slice(16 * layer + 8 * head, 16 * layer + 8 * head + 8)
                value_rows = slice(48 + query_rows.start, 48 + query_rows.stop)
                q = rms(x @ projection.weight[query_rows].T + projection.bias[query_rows], scale[layer, head], 1e-8)
                v = rms(x @ projection.weight[value_rows].T + projection.bias[value_rows], scale[3 + layer, head], 1e-8)
                state, steps = 0.0, []
                for t in range(10):
                    state = state + running[..., t, :, None] * v[..., t, None, :]
                    steps.append((q[..., t, :, None] * state).sum(-2))
                running = torch.stack(steps, -2)
                total = total + running
            packed = network.output_map.packed[head]
            lower = torch.tril(packed, -1) + torch.eye(8, dtype=torch.float64)
            upper = torch.triu(packed, 1) + torch.diag(F.softplus(torch.diag(packed)))
            outputs.append(total @ lower @ upper)
        return x + torch.cat(outputs, -1)

    parameters = [tokens, network.weights.projection.weight, network.weights.scale, network.output_map.packed]
    ours, theirs = network.backbone(tokens), reference(tokens)[..., 1::2, :]  # the tokens that forecast
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), parameters),
        torch.autograd.grad(theirs.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("network_class", "config_class"), [NETWORKS[0], NETWORKS[2]], ids=lambda x: x.__name__)
def test_a_network_of_narrow_heads_is_exported_for_any_batch(network_class, config_class):
    network = build(network_class, config_class, context_length=64).eval()  # 16 tokens, heads of 8 features
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(network, (window(length=64, batch=3),), dynamic_shapes=shapes).module()
    for n_windows in (1, 5):
        past = window(length=64, batch=n_windows)
        torch.testing.assert_close(program(past), network(past))


def test_output_map_is_invertible_for_any_parameter():
    layer = InvertibleMap(n_heads=3, d_head=5).double()
    for scale in (0.0, 0.3, 1.0):
        torch.manual_seed(0)
        torch.nn.init.normal_(layer.packed, std=scale)
        matrix = layer.matrix()
        determinant = torch.nn.functional.softplus(layer.packed.diagonal(dim1=-2, dim2=-1)).prod(-1)
        torch.testing.assert_close(torch.linalg.det(matrix), determinant, rtol=1e-8, atol=0)
        assert (determinant > 0).all()
        tokens = torch.randn(2, 3, 4, 5, dtype=torch.float64)
        torch.testing.assert_close(layer(tokens), torch.einsum("bhnd,hde->bhne", tokens, matrix))
