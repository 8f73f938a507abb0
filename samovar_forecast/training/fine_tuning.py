"""Begin with the weights of another network, and train only a part of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from samovar_forecast.networks.covariate_network import CovariateNetwork
from samovar_forecast.networks.network import ForecastNetwork


def take_weights(network: ForecastNetwork, source: ForecastNetwork) -> None:
    """Copy the weights of `source`; a network with covariates takes those of one without, and the reverse.

    The effects of covariates that `source` does not have begin at zero. A network that embeds the known covariates
    itself has another shape with them, and takes the weights of one with the same ones alone.

    Raises
    ------
    ValueError
        If the two are not of the same kind and shape; the message names the first tensors that differ.
    """
    ours, theirs = plain_network(network), plain_network(source)
    if type(ours) is not type(theirs):
        raise ValueError(f"init_from holds a {type(theirs).__name__}, and a {type(ours).__name__} is to be trained")
    if isinstance(network, CovariateNetwork) != isinstance(source, CovariateNetwork):
        network, source = ours, theirs
    wanted, given = network.state_dict(), source.state_dict()
    shapes = {
        name: (
            tuple(given[name].shape) if name in given else None,
            tuple(wanted[name].shape) if name in wanted else None,
        )
        for name in wanted | given
    }
    differing = [f"{name} {one} -> {other}" for name, (one, other) in shapes.items() if one != other]
    if differing:
        raise ValueError(
            f"the weights of init_from do not fit: {len(differing)} tensors differ, such as {differing[:3]}; use its "
            "hyperparameters, context_length, horizon and number of columns"
        )
    network.load_state_dict(given)


@contextmanager
def only_training(network: ForecastNetwork, freeze: Sequence[str]) -> Iterator[None]:
    """Keep the weights of some modules of a network as they are.

    Raises
    ------
    ValueError
        If a name is no module of the network, or nothing is left to train.
    TypeError
        If `freeze` is a string.
    """
    if isinstance(freeze, str):
        raise TypeError(f"freeze must be a sequence of names, got the string {freeze!r}; use ({freeze!r},)")
    plain = plain_network(network)
    parameters = dict(plain.named_parameters())
    frozen = []
    for group in freeze:
        members = [value for name, value in parameters.items() if name == group or name.startswith(f"{group}.")]
        if not members:
            groups = sorted({name.split(".")[0] for name in parameters})
            raise ValueError(f"freeze={group!r} is no part of {type(plain).__name__}; there are {groups}")
        frozen += members
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise ValueError(f"freeze={tuple(freeze)} leaves nothing to train")
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def plain_network(network: ForecastNetwork) -> ForecastNetwork:
    """The network itself, without what covariates add to it."""
    return network.network if isinstance(network, CovariateNetwork) else network
