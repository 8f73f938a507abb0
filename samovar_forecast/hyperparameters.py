"""The decorator behind the rule that a hyperparameter is declared once."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, is_dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")
_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass_transform(kw_only_default=True, eq_default=False)
def hyperparameters(cls: type[T]) -> type[T]:
    """Turn a class into a keyword-only dataclass whose docstring lists every inherited hyperparameter.

    The networks' configurations and `TrainingConfig` are the sole home of names, defaults and
    documentation. Public classes inherit from them; sklearn, sktime and darts then read the generated
    ``__init__`` signature, and ``help()`` shows the parameters of all the bases.

    Examples
    --------
    >>> @hyperparameters
    ... class Config:
    ...     '''A configuration.
    ...
    ...     Parameters
    ...     ----------
    ...     width : int, default 8
    ...         Width of the model.
    ...     '''
    ...     width: int = 8
    >>> @hyperparameters
    ... class Model(Config):
    ...     '''A model.'''
    >>> Model(width=3).width
    3
    >>> "Width of the model" in Model.__doc__
    True
    """
    if "__init__" in vars(cls):
        raise TypeError(f"{cls.__name__} must not write its own __init__: hyperparameters are dataclass fields")
    # A base that declares fields documents them; one that only collects them repeats what its bases say.
    homes = [base for base in reversed(cls.__mro__) if is_dataclass(base) and "__annotations__" in vars(base)]
    blocks = [_parameters_of(base) for base in homes]
    if not _parameters_of(cls) and any(blocks):
        _insert_parameters(cls, list(filter(None, blocks)))
    return dataclass(kw_only=True, eq=False, repr=False)(cls)


def _parameters_of(cls: type) -> str:
    found = _PARAMETERS.search(inspect.cleandoc(cls.__doc__ or ""))
    return found.group(1).rstrip() if found else ""


def _insert_parameters(cls: type, blocks: list[str]) -> None:
    doc = inspect.cleandoc(cls.__doc__ or "")
    section = "Parameters\n----------\n" + "\n".join(blocks) + "\n"
    at = re.search(r"^\w[^\n]*\n-+\n", doc, re.MULTILINE)
    cls.__doc__ = f"{doc[: at.start()]}{section}\n{doc[at.start() :]}" if at else f"{doc}\n\n{section}"
