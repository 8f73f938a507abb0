"""Training that begins with the weights of another: what it takes over, what it keeps, what it refuses."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from samovar_forecast import (
    AutoformerForecaster,
    FixedVARForecaster,
    LinTransForecaster,
    SAMformerForecaster,
    SAMoVARForecaster,
)
from samovar_forecast.networks.covariate_network import build_network
from samovar_forecast.training.engine import TrainingDivergedError
from samovar_forecast.training.fine_tuning import only_training, plain_network, take_weights
from tests.conftest import TINY, suited, waves

STILL = {
    "learning_rate": 1e-12,
    "weight_decay": 0,
    "max_steps": 1,
    "average_weights": None,
}  # a training that moves nothing


def pushes(n_rows=200):
    return pd.DataFrame({"push": np.random.default_rng(0).normal(size=n_rows)}, index=waves(n_rows).index)


def weights_of(forecaster):
    return {name: weight.clone() for name, weight in plain_network(forecaster.network_).state_dict().items()}


def moved(before, after):
    """Names of the tensors that differ by a bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def source():
    return SAMoVARForecaster(**TINY).fit(waves(seed=4))


@pytest.fixture(scope="module")
def source_with_x():
    return SAMoVARForecaster(**TINY).fit(waves(seed=4), pushes()[:160])


@pytest.mark.parametrize("saved", [False, True])
def test_training_begins_with_the_given_weights(source, y, tmp_path, saved):
    source.save(tmp_path / "model")
    begin = tmp_path / "model" if saved else source
    before = weights_of(source)
    tuned = SAMoVARForecaster(**(TINY | STILL)).fit(y, init_from=str(begin) if saved else begin)
    for name, weight in weights_of(tuned).items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-8)
    trained = SAMoVARForecaster(**TINY).fit(y, init_from=begin)
    assert moved(before, weights_of(trained)) == set(before)
    assert not moved(before, weights_of(source))  # the source stays as it is
    afresh = SAMoVARForecaster(**TINY).fit(y)
    assert not np.allclose(trained.predict(), afresh.predict())
    np.testing.assert_allclose(trained.scaler_.center, y[:128].mean())  # its own scaling


def test_every_model_can_be_tuned(forecaster_class, tiny, y, tmp_path):
    begun = forecaster_class(**tiny).fit(waves(seed=4))
    begun.save(tmp_path / "model")
    tuned = forecaster_class(**(tiny | STILL)).fit(y, init_from=tmp_path / "model")
    before = weights_of(begun)
    for name, weight in weights_of(tuned).items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-8)
    assert np.isfinite(tuned.predict()).all(axis=None)
    assert tuned.context_length_ == begun.context_length_


def test_a_forecaster_can_go_on_from_itself(source, y):
    fitted = copy.deepcopy(source).set_params(**STILL)
    before = weights_of(fitted)
    fitted.fit(y, init_from=fitted)
    for name, weight in weights_of(fitted).items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-8)


@pytest.mark.parametrize("before", [False, True], ids=["from none", "from X"])
@pytest.mark.parametrize("after", [False, True], ids=["to none", "to X"])
def test_covariates_may_come_and_go(source, source_with_x, y, before, after):
    begin, X = source_with_x if before else source, pushes()
    tuned = SAMoVARForecaster(**(TINY | STILL)).fit(y, X[:160] if after else None, init_from=begin)
    for name, weight in weights_of(tuned).items():
        torch.testing.assert_close(weight, weights_of(begin)[name], rtol=0, atol=1e-8)
    if after:
        effect = tuned.network_.known_effect.curved.weight
        same = before and torch.allclose(effect, begin.network_.known_effect.curved.weight)
        assert same if before else effect.abs().max() < 1e-8  # what the source does not know begins at zero
        assert np.isfinite(tuned.predict(X=X)).all(axis=None)
    else:
        assert np.isfinite(tuned.predict()).all(axis=None)


def test_shapes_that_do_not_fit_are_refused(source, source_with_x, y, tmp_path):
    X = pushes()[:160]
    cases = [
        (
            TINY | {"d_model": 12},
            y,
            {},
            r"the weights of init_from do not fit: \d+ tensors differ, such as \['.* -> \(",
        ),
        (TINY | {"n_layers": 2}, y, {}, r"None -> \("),
        (
            TINY | {"context_length": 32},
            y,
            {},
            "use its hyperparameters, context_length, horizon and number of columns",
        ),
        (TINY | {"quantiles": (0.1, 0.5, 0.9)}, y, {}, "do not fit"),
        (TINY, y[["s0", "s1"]], {}, "do not fit"),
        (TINY, y, {"X": X.assign(more=1.0), "init_from": source_with_x}, "known_effect"),
    ]
    for settings, data, options, message in cases:
        with pytest.raises(ValueError, match=message):
            SAMoVARForecaster(**settings).fit(data, **({"init_from": source} | options))
    for other in (LinTransForecaster, FixedVARForecaster, SAMformerForecaster):
        with pytest.raises(
            ValueError, match=f"init_from holds a SAMoVAR, and a {other.network_class.__name__} is to be"
        ):
            other(**suited(TINY, other)).fit(y, X, init_from=source_with_x)
    with pytest.raises(NotFittedError):
        SAMoVARForecaster(**TINY).fit(y, init_from=SAMoVARForecaster(**TINY))
    with pytest.raises(FileNotFoundError):
        SAMoVARForecaster(**TINY).fit(y, init_from=tmp_path / "nothing")
    with pytest.raises(TypeError, match="not an estimator"):
        SAMoVARForecaster(**TINY).fit(y, init_from=3)


def test_the_same_names_are_not_the_same_network(source_with_x):
    """Two kinds of network inside what covariates add, with tensors of the same names and shapes."""

    class Other(type(plain_network(source_with_x.network_))):
        pass

    network = build_network(Other, 3, 3, 24, 8, source_with_x, n_known=1)
    with pytest.raises(ValueError, match="init_from holds a SAMoVAR, and a Other is to be trained"):
        take_weights(network, source_with_x.network_)


def test_from_a_panel_to_a_single_series():
    panel = {"a": waves(100, 1), "b": waves(90, 1, seed=1)}
    source = SAMoVARForecaster(**TINY).fit(panel)
    settings = {name: value for name, value in TINY.items() if name != "context_length"}
    for given in (settings, TINY):  # the context is that of the source
        for n_rows in (60, 28):  # also for a series that is shorter than a window
            y = waves(n_rows, 1, seed=2)
            tuned = SAMoVARForecaster(**given, validation_fraction=0).fit(y, init_from=source)
            assert tuned.context_length_ == 24
            assert not tuned.is_panel_
            assert len(tuned.history_) == min(n_rows, 24 + 8)
            assert np.isfinite(tuned.predict()).all(axis=None)
    with pytest.raises(ValueError, match=r"28 rows to train on, but context_length=24 and 8 .* need at least 32"):
        SAMoVARForecaster(**TINY, validation_fraction=0).fit(y)
    # The short series grows, row by row, up to a whole context and beyond.
    for row in range(28, 36):
        tuned.update(waves(40, 1, seed=2)[row : row + 1], retrain=row % 2 == 0)
    assert len(tuned.history_) == 24 + 8
    moved_on = tuned.predict()
    pd.testing.assert_frame_equal(moved_on, tuned.predict(waves(40, 1, seed=2)[:36]), check_freq=False)


def test_what_a_panel_teaches_helps_a_short_series():
    """Twenty series share a pattern that three weeks of a new one do not show well."""
    rng = np.random.default_rng(0)

    def shop(n_rows):
        week = np.array([0, 0, 1, 3, 6, 10, 4.0])
        start, noise = rng.integers(7), rng.normal(scale=1.5, size=n_rows)
        return pd.DataFrame({"sales": rng.uniform(1, 5) * (week[(start + np.arange(n_rows)) % 7] + noise) + 20})

    settings = {"horizon": 7, "context_length": 14, "d_model": 8, "n_heads": 2, "n_layers": 1, "random_state": 0,
                "learning_rate": 1e-2, "device": "cpu", "validation_fraction": 0, "max_epochs": 6}  # fmt: skip
    source = SAMoVARForecaster(**settings).fit({number: shop(70) for number in range(20)})
    errors = {"tuned": [], "alone": []}
    for _ in range(3):
        y = shop(28 + 70)
        for name, begin in (("tuned", source), ("alone", None)):
            forecaster = SAMoVARForecaster(**settings).fit(y[:28], init_from=begin)
            result = forecaster.backtest(y, start=28)
            errors[name].append(float(abs(result.forecast - result.actual).mean() / y[:28].std().iloc[0]))
    assert np.mean(errors["tuned"]) < 0.8 * np.mean(errors["alone"])


@pytest.mark.parametrize("forecaster_class", [SAMoVARForecaster, SAMformerForecaster, AutoformerForecaster])
@pytest.mark.parametrize("covariates", [False, True])
def test_frozen_parts_keep_their_weights(forecaster_class, tiny, y, covariates):
    """Also where the optimizer decays weights, perturbs them, or averages them."""
    X = pushes()[:160] if covariates else None
    settings = tiny | {"weight_decay": 0.5}
    begun = forecaster_class(**settings).fit(waves(seed=4), X)
    names = [name for name, _ in plain_network(begun.network_).named_parameters()]
    group = names[0].split(".")[0]
    frozen = {name for name in names if name.split(".")[0] == group}
    assert 0 < len(frozen) < len(names)
    before = weights_of(begun)
    tuned = forecaster_class(**settings).fit(y, X, init_from=begun, freeze=(group,))
    assert not moved(before, weights_of(tuned)) & frozen
    assert moved(before, weights_of(tuned)) >= set(names) - frozen - unused(plain_network(begun.network_))
    assert all(parameter.requires_grad for parameter in tuned.network_.parameters())
    assert tuned.training_summary_.n_parameters == sum(
        parameter.numel()
        for name, parameter in tuned.network_.named_parameters()
        if name.removeprefix("network.") not in frozen
    )
    if covariates and tuned.network_ is not plain_network(tuned.network_):
        assert not torch.equal(tuned.network_.known_effect.linear.weight, begun.network_.known_effect.linear.weight)
    # In an update too, down to one tensor.
    before = weights_of(tuned)
    tuned.update(waves(170)[160:], pushes()[160:170] if covariates else None, freeze=(group, names[-1]))
    after = weights_of(tuned)
    assert not moved(before, after) & (frozen | {names[-1]})
    assert moved(before, after)
    assert all(parameter.requires_grad for parameter in tuned.network_.parameters())


def unused(network):
    """Parameters without a gradient."""
    network = copy.deepcopy(network).train()
    network.training_forecast(torch.randn(2, 24, 3), known(network)).forecast.square().sum().backward()
    return {name for name, parameter in network.named_parameters() if parameter.grad is None}


def known(network):
    from samovar_forecast.networks.network import Covariates

    n_known = getattr(network, "n_known", 0)
    return Covariates(torch.randn(2, 24, n_known), torch.randn(2, 8, n_known)) if n_known else None


def test_parts_to_freeze_are_named(source, y):
    with pytest.raises(ValueError, match=r"freeze='token' is no part of SAMoVAR; there are \['.*'tokens'"):
        SAMoVARForecaster(**TINY).fit(y, freeze=("token",))
    with pytest.raises(TypeError, match="freeze must be a sequence of names, got the string 'tokens'; use"):
        SAMoVARForecaster(**TINY).fit(y, freeze="tokens")
    fitted = copy.deepcopy(source)
    groups = sorted({name.split(".")[0] for name, _ in fitted.network_.named_parameters()})
    before = weights_of(fitted)
    for wrong in (("token",), groups):
        with pytest.raises(ValueError, match=r"is no part of SAMoVAR|leaves nothing to train"):
            fitted.update(waves(170)[160:], freeze=wrong)
    assert not moved(before, weights_of(fitted))
    assert all(parameter.requires_grad for parameter in fitted.network_.parameters())


def test_gradients_come_back_after_an_error(source, y):
    network = copy.deepcopy(source.network_)

    def failing():
        with only_training(network, ("tokens",)):
            assert not all(parameter.requires_grad for parameter in network.parameters())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert all(parameter.requires_grad for parameter in network.parameters())
    fitted = copy.deepcopy(source)
    with pytest.raises(TrainingDivergedError, match=r"lower learning_rate \(now 1e\+30\)"):
        fitted.update(waves(170)[160:], learning_rate=1e30, epochs=8, freeze=("tokens",))
    assert not moved(weights_of(source), weights_of(fitted))  # an update that fails changes nothing
    assert fitted.history_.equals(source.history_)
    assert not fitted.network_.training


def test_update_trains_as_it_is_told(source):
    new = waves(170, seed=4)[160:]
    updated = {
        name: copy.deepcopy(source).update(new, **options)
        for name, options in {
            "once": {}, "thrice": {"epochs": 3}, "slow": {"learning_rate": 1e-5}, "slower": {"learning_rate": 1e-6},
            "not": {"retrain": False},
        }.items()
    }  # fmt: skip
    before = weights_of(source)

    def distance(name):
        return sum(float((weight - before[key]).square().sum()) for key, weight in weights_of(updated[name]).items())

    assert distance("not") == 0
    assert not moved(before, weights_of(updated["not"]))
    assert 0 < distance("slower") < distance("slow") < distance("once") < distance("thrice")
    assert updated["thrice"].training_summary_.epochs == 3
    assert updated["not"].training_summary_ == source.training_summary_
    for forecaster in updated.values():
        assert forecaster.get_params() == source.get_params()
        assert forecaster.predict().index[0] == new.index[-1] + pd.Timedelta("1h")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be a positive integer, got 0"),
        ({"epochs": 1.5}, ValueError, "epochs must be a positive integer, got 1.5"),
        ({"learning_rate": -1}, ValueError, "learning_rate must be greater than 0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number"),
    ],
)
def test_wrong_options_of_an_update_are_refused(source, options, error, message):
    fitted = copy.deepcopy(source)
    with pytest.raises(error, match=message):
        fitted.update(waves(170)[160:], **options)
    assert not moved(weights_of(source), weights_of(fitted))
    assert fitted.history_.equals(source.history_)
