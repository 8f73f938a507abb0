"""Which forecasters there are, as sktime's own registry tells it."""

from __future__ import annotations

from typing import Any

from skbase.lookup import all_objects

from samovar_sktime.base import SktimeForecaster


def all_forecasters(
    filter_tags: str | list[str] | dict[str, Any] | None = None,
) -> list[tuple[str, type[SktimeForecaster]]]:
    """Names and classes of the forecasters of this package, as `sktime.registry.all_estimators` gives sktime's.

    Parameters
    ----------
    filter_tags : str, list of str, dict or None
        Only classes with these tags set, or with these values of tags.

    Examples
    --------
    >>> [name for name, _ in all_forecasters({"capability:multivariate": True})]
    ['AutoformerForecaster', ..., 'SAMoVARForecaster']
    """
    found: list[tuple[str, type[SktimeForecaster]]] = all_objects(
        object_types=SktimeForecaster,
        filter_tags=filter_tags,
        exclude_objects=[SktimeForecaster.__name__],
        package_name="samovar_sktime",
    )
    return found
