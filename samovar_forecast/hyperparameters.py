"""The decorator behind the rule that a hyperparameter is declared once."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")
_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", re.DOTALL | re.MULTILINE)
_WRITTEN = "_written_hyperparameters"  # of one class: the section as written by hand, and the defaults it changes


@dataclass_transform(kw_only_default=True, eq_default=False)
def hyperparameters(cls: type[T]) -> type[T]:
    """Turn a class into a keyword-only dataclass whose docstring lists every inherited hyperparameter.

    The networks' configurations and `TrainingConfig` are the sole home of names, types and documentation.
    Public classes inherit from them; sklearn, sktime and darts then read the generated ``__init__`` signature,
    and ``help()`` shows the parameters of all the bases. A class that wants another default for an inherited
    hyperparameter assigns it, without repeating its type or its documentation.

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
    ...     width = 16
    >>> Model().width, Model(width=3).width
    (16, 3)
    >>> "width : int, default 16" in Model.__doc__
    True
    """
    if "__init__" in vars(cls):
        raise TypeError(f"{cls.__name__} must not write its own __init__: hyperparameters are dataclass fields")
    inherited = {field.name: field for base in cls.__mro__[1:] if is_dataclass(base) for field in fields(base)}
    changed = {name: value for name, value in vars(cls).items() if name in inherited}
    own = vars(cls).get("__annotations__", {})
    cls.__annotations__ = own | {name: inherited[name].type for name in changed if name not in own}
    written = _parameters_of(cls)
    setattr(cls, _WRITTEN, (written, changed))
    if not written:
        _insert_parameters(cls)
    return dataclass(kw_only=True, eq=False, repr=False)(cls)


def _parameters_of(cls: type) -> str:
    found = _PARAMETERS.search(inspect.cleandoc(cls.__doc__ or ""))
    return found.group(1).rstrip() if found else ""


def _insert_parameters(cls: type) -> None:
    homes = [vars(base)[_WRITTEN] for base in reversed(cls.__mro__) if _WRITTEN in vars(base)]
    block = "\n".join(written for written, _ in homes if written)
    defaults: dict[str, Any] = {}
    for _, changed in homes:
        defaults |= changed
    for name, value in defaults.items():
        default = f'"{value}"' if isinstance(value, str) else str(value)
        header = re.search(rf"^{name} : .*default ", block, re.MULTILINE)
        if header is None:
            raise TypeError(f"{cls.__name__} changes the default of {name!r}, whose documentation states none")
        block = block[: header.end()] + default + block[block.index("\n", header.end()) :]
    if not block:
        return
    doc = inspect.cleandoc(cls.__doc__ or "")
    section = f"Parameters\n----------\n{block}\n"
    at = re.search(r"^\w[^\n]*\n-+\n", doc, re.MULTILINE)
    cls.__doc__ = f"{doc[: at.start()]}{section}\n{doc[at.start() :]}" if at else f"{doc}\n\n{section}"
