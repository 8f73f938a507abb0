"""A hyperparameter is declared once: the decorator, and what is made of declarations (docstrings, checks)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, dataclass_transform, get_args, get_origin

import numpy as np

T = TypeVar("T")
LARGEST_COUNT = 2**31 - 1
LARGEST_NUMBER = 1e300
_PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", re.DOTALL | re.MULTILINE)
_REFERENCES = re.compile(r"^References\n-+\n.*?(?=^\w[^\n]*\n-+\n|\Z)", re.DOTALL | re.MULTILINE)
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
    own = inspect.get_annotations(cls, eval_str=True)  # types, also where a module writes annotations as text
    cls.__annotations__ = own | {name: inherited[name].type for name in changed if name not in own}
    written = parameters_of(cls)
    setattr(cls, _WRITTEN, (written, changed))
    if not written:
        list_parameters(cls, documented_hyperparameters(cls).values())
    return dataclass(kw_only=True, eq=False, repr=False)(cls)


def parameters_of(cls: type) -> str:
    """The parameters in the docstring of a class, without the heading."""
    found = _PARAMETERS.search(inspect.cleandoc(cls.__doc__ or ""))
    return found.group(1).rstrip() if found else ""


def entries_of(parameters: str) -> dict[str, str]:
    r"""The parameters of a docstring by name.

    Examples
    --------
    >>> entries_of("width : int\n    Width of a token.\n**kwargs\n    Others.")
    {'width': 'width : int\n    Width of a token.', '**kwargs': '**kwargs\n    Others.'}
    """
    entries = re.split(r"\n(?=\S)", parameters) if parameters else []
    return {entry.split("\n")[0].partition(" : ")[0]: entry for entry in entries}


def documented_hyperparameters(cls: type) -> dict[str, str]:
    """The documentation of every hyperparameter that a class has or inherits, with the defaults it has there."""
    homes = [vars(base)[_WRITTEN] for base in reversed(cls.__mro__) if _WRITTEN in vars(base)]
    entries = entries_of("\n".join(written for written, _ in homes if written))
    for name, value in ((name, value) for _, changed in homes for name, value in changed.items()):
        default = f'"{value}"' if isinstance(value, str) else str(value)
        header, *described = entries.get(name, "").split("\n")
        if "default " not in header:
            raise TypeError(f"{cls.__name__} changes the default of {name!r}, whose documentation states none")
        entries[name] = "\n".join([header[: header.rindex("default ")] + f"default {default}", *described])
    return entries


def list_parameters(cls: type, entries: Iterable[str]) -> None:
    """Give the docstring of a class the section Parameters, before all others."""
    if block := "\n".join(entries):
        _insert(cls, f"Parameters\n----------\n{block}\n", before=r"\w[^\n]*")


def cite(cls: type, source: type) -> None:
    """Give the docstring of a class the references of the network that it offers, which are written there alone.

    Examples
    --------
    >>> class Network:
    ...     '''A network.
    ...
    ...     References
    ...     ----------
    ...     Gauss, "Theoria motus", 1809.
    ...     '''
    >>> class Model:
    ...     '''A model.'''
    >>> cite(Model, Network)
    >>> Model.__doc__.splitlines()[-1]
    'Gauss, "Theoria motus", 1809.'
    """
    found = _REFERENCES.search(inspect.cleandoc(source.__doc__ or ""))
    if found and not _REFERENCES.search(inspect.cleandoc(cls.__doc__ or "")):
        _insert(cls, f"{found.group().rstrip()}\n", before="Examples")


def description_of(cls: type) -> str:
    """The docstring of a class up to its first section."""
    return re.split(r"^\w[^\n]*\n-+\n", inspect.cleandoc(cls.__doc__ or ""), maxsplit=1, flags=re.MULTILINE)[0].rstrip()


def _insert(cls: type, section: str, before: str) -> None:
    doc = inspect.cleandoc(cls.__doc__ or "")
    at = re.search(rf"^{before}\n-+\n", doc, re.MULTILINE)
    cls.__doc__ = f"{doc[: at.start()]}{section}\n{doc[at.start() :]}" if at else f"{doc}\n\n{section}"


def check_types(config: object, declared: Iterable[Field[Any]]) -> None:
    """Check that hyperparameters are of the types they are declared with: numbers, words, truth values, choices.

    What a network or the engine asks beyond that they check themselves, and so they do with tuples.

    Raises
    ------
    TypeError
        If a value is of another type; the message names the hyperparameter.
    ValueError
        If it is none of the choices, or a number that is not finite or larger than any computer counts.

    Examples
    --------
    >>> @hyperparameters
    ... class Config:
    ...     '''A configuration.'''
    ...     width: int | None = 8
    >>> check_types(Config(width="8"), fields(Config))
    Traceback (most recent call last):
    TypeError: width must be an integer or None, got '8'
    """
    for field in declared:
        kinds = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
        value = getattr(config, field.name)
        if not (value is None and NoneType in kinds) and not any(get_origin(kind) in (tuple, list) for kind in kinds):
            _check_type(field.name, value, kinds)


def plain_numbers(value: Any) -> Any:
    """A value with Python's numbers in place of those of numpy, which PyTorch does not read from a file.

    Examples
    --------
    >>> plain_numbers({"betas": (np.float64(0.5), 0.25)})
    {'betas': (0.5, 0.25)}
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(map(plain_numbers, value))
    return {key: plain_numbers(one) for key, one in value.items()} if type(value) is dict else value


_WORDS = {int: "an integer", float: "a number", str: "a string", np.random.RandomState: "a RandomState"}
_ACCEPTED = {int: Integral, float: Real}  # the numbers of numpy are numbers too


def _check_type(name: str, value: Any, kinds: Sequence[Any]) -> None:
    choices: list[Any] = []
    for kind in kinds:
        choices += (False, True) if kind is bool else get_args(kind)
    plain_kinds = [kind for kind in kinds if kind in _ACCEPTED]  # beside choices: devices is a number or "auto"
    if choices:
        chosen = any(isinstance(value, (type(choice), np.bool_)) and value == choice for choice in choices)
        if plain_kinds and not chosen and not isinstance(value, str):
            _check_type(name, value, plain_kinds)
        elif not chosen:
            others = "".join(f" or {_WORDS[kind]}" for kind in plain_kinds)
            none = [None] * (NoneType in kinds)
            raise ValueError(f"{name} must be one of {(*choices, *none)}{others}, got {value!r}")
        return
    right = tuple(_ACCEPTED.get(kind, kind) for kind in kinds if kind is not NoneType)
    if not isinstance(value, right) or isinstance(value, bool):
        wanted = " or ".join("None" if kind is NoneType else _WORDS.get(kind, kind.__name__) for kind in kinds)
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    if np.random.RandomState in kinds:
        if isinstance(value, Integral) and not 0 <= int(value) < 2**32:
            raise ValueError(f"{name} must be in [0, 2**32), got {value}")
    elif int in kinds and abs(value) > LARGEST_COUNT:
        raise ValueError(f"{name} must be at most {LARGEST_COUNT}, got {value}")
    elif float in kinds and not abs(plain_numbers(value)) < LARGEST_NUMBER:  # nor is NaN
        raise ValueError(f"{name} must be a finite number, got {value}")
