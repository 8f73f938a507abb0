"""The Linear Attention Transformer against its formula, in every form, and what it learns."""

import copy
import pickle

import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from samovar_forecast.networks.linear_attention_transformer import (
    LinearAttentionConfig,
    LinearAttentionTransformer,
    shift_tokens,
)
from samovar_forecast.networks.network import Covariates

FORMS = {
    "default": {},
    "plain": {"gate": False, "local_convolution": False},
    "causal": {"causal": True},
    "blindspot": {"causal": True, "blindspot": 2, "n_local_heads": 1, "local_window": 2},
    "all local": {"n_local_heads": 4, "local_window": 2},
    "linformer": {"attention": "linformer", "linformer_rank": 3, "n_local_heads": 1},
    "image": {"attention": "image"},
    "reversible": {"reversible": True, "token_shift": True, "glu": True},
    "pooled steps": {"head": "pooled", "patch_length": 1, "patch_stride": 1, "causal": True, "feed_forward_chunks": 3},
    "decoder": {"n_decoder_layers": 1, "decoder_patch_length": 3},
    "reversible decoder": {"n_decoder_layers": 2, "decoder_patch_length": 1, "reversible": True, "causal": True},
}
every_form = pytest.mark.parametrize("form", FORMS)


def build(n_series=3, n_targets=2, context_length=40, horizon=8, n_outputs=1, n_known=0, seed=0, noise=0.2, **chosen):
    """A float64 network, moved away from initial values at which some parts have no effect yet."""
    small = {"d_model": 16, "n_heads": 4, "n_layers": 2, "dropout": 0.0, "patch_length": 8, "patch_stride": 4}
    torch.manual_seed(seed)
    config = LinearAttentionConfig(**small | chosen)
    network = LinearAttentionTransformer(n_series, n_targets, context_length, horizon, config, n_outputs, n_known)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return network.double()


def window(*shape, seed=1):
    return torch.randn(*(shape or (2, 40, 3)), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def known(n_known=2, batch=2, context=40, horizon=8):
    return Covariates(window(batch, context, n_known, seed=2), window(batch, horizon, n_known, seed=3))


def test_equals_its_formula():
    """Values and gradients of the default network, head by head and token by token."""
    network = build(n_series=3, n_targets=3)
    past = window()

    def layer_norm(x, norm):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias

    def linear(x, layer):
        return x @ layer.weight.T + (0 if layer.bias is None else layer.bias)

    def attention(x, layer):
        queries, keys, values = (linear(x, maps) for maps in (layer.queries, layer.keys, layer.values))
        left, middle, right = layer.convolution.convolution.weight[:, 0].unbind(-1)
        none = torch.zeros_like(values[:1])
        values = torch.cat([none, values[:-1]]) * left + values * middle + torch.cat([values[1:], none]) * right
        heads = []
        for head in range(4):
            q, k, v = (y[:, 4 * head : 4 * head + 4] for y in (queries, keys, values))
            rows = []
            for t in range(len(x)):
                weights = (torch.softmax(q[t], 0) * 4**-0.5 * torch.softmax(k, 0)).sum(-1)  # on every token
                rows.append(weights @ v)
            heads.append(torch.stack(rows))
        return linear(torch.cat(heads, -1) * torch.sigmoid(linear(x, layer.gate)), layer.output_projection)

    def reference(past):
        windows = []
        for series_of_window in past:
            forecasts = []
            for c in range(3):
                series = series_of_window[:, c]
                mean, deviation = series.mean().detach(), (series.var(correction=0) + 1e-5).sqrt().detach()
                z = (series - mean) / deviation * network.norm.scale[c] + network.norm.shift[c]
                z = torch.cat([z, z[-1:].expand(4)])
                x = torch.stack([linear(z[4 * n : 4 * n + 8], network.patch_embedding) for n in range(10)])
                x = x + network.position
                for mix, feed in network.encoder.pairs:
                    x = x + attention(layer_norm(x, mix.norm), mix.layer)
                    hidden = F.gelu(linear(layer_norm(x, feed.norm), feed.layer.hidden))
                    x = x + linear(hidden, feed.layer.output_projection)
                forecast = linear(layer_norm(x, network.output_norm).flatten(), network.to_forecast)
                scale = network.norm.scale[c] + 1e-10
                forecasts.append((forecast - network.norm.shift[c]) / scale * deviation + mean)
            windows.append(torch.stack(forecasts, -1))
        return torch.stack(windows)

    ours, theirs = network(past).squeeze(-1), reference(past)
    torch.testing.assert_close(ours, theirs)
    parameters = list(network.parameters())
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), parameters),
        torch.autograd.grad(theirs.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


SIZES = [(40, 8), (10, 1), (8, 7), (4, 2), (2, 3)]  # a blind spot needs more tokens than it hides
FORMS_AND_SIZES = [(form, *size) for form in FORMS for size in (SIZES[:1] if form == "blindspot" else SIZES)]


@pytest.mark.parametrize(("form", "context", "horizon"), FORMS_AND_SIZES)
def test_shapes_and_constants(form, context, horizon):
    chosen = FORMS[form]
    with_known = 2 if chosen.get("n_decoder_layers") else 0
    network = build(context_length=context, horizon=horizon, n_outputs=3, n_known=with_known, **chosen)
    past = window(4, context, 3)
    past[0] = 7.0
    covariates = known(batch=4, context=context, horizon=horizon)
    output = network(past, covariates)
    assert output.shape == (4, horizon, 2, 3)
    assert torch.isfinite(output).all()
    output.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    network.eval()
    with torch.inference_mode():
        alone = network(past[1:2], Covariates(*(c[1:2] for c in covariates[:2])))
        torch.testing.assert_close(alone, network(past, covariates)[1:2])


@every_form
def test_every_parameter_learns(form):
    chosen = FORMS[form]
    network = build(n_known=2 if chosen.get("n_decoder_layers") else 0, **chosen)
    network(window(), known()).square().mean().backward()
    silent = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert not silent


@every_form
def test_copies_pickles_and_follows_scale(form):
    network = build(**FORMS[form]).eval()
    past = window()
    expected = network(past)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(past), expected)
    torch.testing.assert_close(network(1000 * past + 5), 1000 * expected + 5, rtol=1e-3, atol=0.1)  # the 1e-5 of RevIN


@every_form
def test_trains_in_automatic_precision(form):
    network = build(**FORMS[form], noise=0.05).float()
    past = window().float()
    plain = network(past)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(past)
        loss = output.square().mean()
    loss.backward()
    torch.testing.assert_close(output.float(), plain, rtol=0.1, atol=0.1)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


CAUSAL = {"causal": True, "patch_length": 2, "patch_stride": 2}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"token_shift": True},
        {"n_local_heads": 2, "local_window": 3},
        {"n_local_heads": 4, "local_window": 5},
        {"blindspot": 3, "n_local_heads": 1, "token_shift": True, "glu": True, "feed_forward_chunks": 4},
        {"reversible": True, "token_shift": True, "n_local_heads": 2, "local_window": 3},
    ],
    ids=str,
)
def test_the_future_never_changes_the_past(options):
    """Of a whole stack of causal blocks, with gate and convolution on: perturb token after token."""
    network = build(**CAUSAL, **options)
    assert network.n_tokens == 20
    series = window(2, 2, 40)
    tokens = network.encode(series)
    for at in range(1, 20):
        changed = series.clone()
        changed[:, :, 2 * at :] = window(2, 2, 40 - 2 * at, seed=at + 10)
        after = network.encode(changed)
        torch.testing.assert_close(after[:, :, :at], tokens[:, :, :at], rtol=1e-10, atol=1e-10)
        assert not torch.allclose(after[:, :, at:], tokens[:, :, at:])


@pytest.mark.parametrize("options", [{}, {"token_shift": True}, {"n_local_heads": 4, "local_window": 12}])
def test_without_causal_the_future_changes_the_past(options):
    network, series = build(patch_length=2, patch_stride=2, **options), window(2, 2, 40)
    changed = torch.cat([series[..., :38], series[..., 38:] + 1], -1)
    assert not torch.isclose(network.encode(changed)[:, :, 0], network.encode(series)[:, :, 0]).all(-1).any()


def test_a_decoder_uses_known_covariates_of_past_and_future():
    network, past, covariates = build(n_decoder_layers=1, n_known=2), window(), known()
    assert LinearAttentionTransformer.embeds_known(LinearAttentionConfig(n_decoder_layers=1))
    assert not LinearAttentionTransformer.embeds_known(LinearAttentionConfig())
    forecast = network(past, covariates)
    later = covariates._replace(known_future=covariates.known_future + window(2, 8, 2, seed=7))
    earlier = covariates._replace(known_past=covariates.known_past + window(2, 40, 2, seed=7))
    for other in (later, earlier):
        assert not torch.isclose(network(past, other), forecast).any()
    steps = covariates.known_future.clone()
    steps[1] += 1  # of the second window
    torch.testing.assert_close(network(past, covariates._replace(known_future=steps))[0], forecast[0])


def test_covariates_have_no_effect_at_first():
    network, past = build(n_decoder_layers=1, n_known=2, noise=0.0), window()
    torch.testing.assert_close(network(past, known()), network(past, Covariates(*(10 * c for c in known()[:2]))))


def test_missing_covariates_are_named():
    network = build(n_decoder_layers=1, n_known=2)
    for covariates in (None, Covariates(known_past=window(2, 40, 2)), Covariates(known_future=window(2, 8, 2))):
        with pytest.raises(ValueError, match="n_known=2 covariates known in the future"):
            network(window(), covariates)
    with pytest.raises(ValueError, match="need n_decoder_layers of at least 1, got n_known=2"):
        build(n_known=2)


def fit(network, draw, steps):
    """Train on fresh windows; the error on the next ones. `draw` gives past, covariates and what follows."""
    network = network.float()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    for _ in range(steps):
        past, covariates, future = draw()
        loss = F.mse_loss(network(past, covariates).squeeze(-1), future)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    past, covariates, future = draw()
    with torch.inference_mode():
        return F.mse_loss(network.eval()(past, covariates).squeeze(-1), future).item()


@pytest.mark.parametrize("reversible", [False, True])
def test_learns_the_effect_of_a_known_covariate(reversible):
    """Two series answer with opposite signs to noise that is known in the future; nothing else tells of it."""
    generator = torch.Generator().manual_seed(0)

    def draw():
        driver = torch.randn(48, 22, 1, generator=generator)
        series = torch.cat([driver, -driver], -1)
        return series[:, :16], Covariates(driver[:, :16], driver[:, 16:]), series[:, 16:]

    shape = {"n_series": 2, "context_length": 16, "horizon": 6, "noise": 0.0, "decoder_patch_length": 1}
    network = build(n_decoder_layers=1, n_layers=1, n_known=1, reversible=reversible, **shape)
    assert fit(network, draw, steps=120) < 0.1  # without the covariate it is 1


@pytest.mark.parametrize("form", ["default", "causal", "image"])
def test_learns_waves(form):
    generator = torch.Generator().manual_seed(0)

    def draw():
        time = torch.arange(48.0)[:, None] + 100 * torch.rand(32, 1, 3, generator=generator)
        return torch.sin(time / 3)[:, :40], None, torch.sin(time / 3)[:, 40:]

    assert fit(build(n_targets=3, noise=0.0, **FORMS[form]), draw, steps=60) < 0.03  # the mean makes 0.5


def test_only_locations_get_the_level_back():
    network = build(n_outputs=2)
    network.n_locations = 1
    past = window()
    shifted = network(past + 100)
    torch.testing.assert_close(shifted[..., 0], network(past)[..., 0] + 100)
    torch.testing.assert_close(shifted[..., 1], network(past)[..., 1])


EXPORTED = {
    "decoder": {"n_decoder_layers": 1},
    "image": {"attention": "image", "head": "pooled"},
    "causal options": FORMS["blindspot"] | FORMS["reversible"] | {"feed_forward_chunks": 2},
}


@pytest.mark.parametrize("form", EXPORTED)
def test_exports(form, tmp_path):
    network, past = build(n_layers=1, **EXPORTED[form]).float().eval(), window().float()
    with torch.no_grad():
        torch.onnx.export(network, (past,), tmp_path / "network.onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    (exported,) = session.run(None, {session.get_inputs()[0].name: past.numpy()})
    torch.testing.assert_close(torch.from_numpy(exported), network(past), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [3, 6, 8])
@pytest.mark.parametrize("n_tokens", [1, 2, 5])
def test_shifted_features_come_from_the_neighbours(width, n_tokens):
    tokens = torch.randn(2, n_tokens, width, dtype=torch.float64)
    third, half = width // 3, width // 2
    both, causal = shift_tokens(tokens, causal=False), shift_tokens(tokens, causal=True)
    for t in range(n_tokens):
        before = tokens[:, t - 1] if t > 0 else torch.zeros(2, width, dtype=torch.float64)
        after = tokens[:, t + 1] if t + 1 < n_tokens else torch.zeros(2, width, dtype=torch.float64)
        assert torch.equal(both[:, t, :third], before[:, :third])
        assert torch.equal(both[:, t, third : 2 * third], tokens[:, t, third : 2 * third])
        assert torch.equal(both[:, t, 2 * third : 3 * third], after[:, 2 * third : 3 * third])
        assert torch.equal(both[:, t, 3 * third :], tokens[:, t, 3 * third :])
        assert torch.equal(causal[:, t, :half], before[:, :half])
        assert torch.equal(causal[:, t, half:], tokens[:, t, half:])
