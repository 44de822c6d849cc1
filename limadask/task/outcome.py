"""What code yields that cannot be tried beforehand, as its author says it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import DTypeLike

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.task.products import Products, Variable

Promise = str | DTypeLike | Mapping[str, Variable | DTypeLike] | Products | Callable[..., Any]
"""``"same"``: frames as they come in; a dtype: the same frames of this type; by-products, name to
:class:`Variable` or to a dtype, which then has one value for each band; or a function of the spec
and the task's fields that returns a :class:`~limadask.Spec` or :class:`~limadask.Products`."""


def yields_products(promise: Promise) -> bool:
    """Tell whether by-products come out; a function says so by its annotation."""
    if _is_function(promise):
        told = inspect.signature(promise).return_annotation
        return told is Products or str(told).rpartition(".")[2] == Products.__name__
    return isinstance(promise, Mapping | Products)


def kept(promise: Promise) -> Any:
    """Return it as an attribute of a class: a function must not become a method."""
    return staticmethod(promise) if _is_function(promise) else promise


def promised(promise: Promise, spec: Spec, fields: Mapping[str, Any], name: str) -> Spec | Products:
    """Return what comes out of frames that are as ``spec`` says.

    Raises
    ------
    ConfigError
        When the author's function raises, or returns anything else.
    """
    if isinstance(promise, Products):
        return promise
    if isinstance(promise, Mapping):
        return _products(promise, spec, name)
    if _is_function(promise):
        return _called(promise, spec, fields, name)
    return spec if promise == "same" else spec.replace(dtype=_number(promise, name))


def _is_function(promise: Promise) -> TypeGuard[Callable[..., Any]]:
    return callable(promise) and not isinstance(promise, type)  # int is a dtype


def _products(promise: Mapping[str, Any], spec: Spec, name: str) -> Products:
    variables = {
        key: one if isinstance(one, Variable) else Variable(("band",), _number(one, name))
        for key, one in promise.items()
    }
    has_bands = any("band" in one.dims for one in variables.values())
    return Products(variables, {"band": (("band",), list(spec.bands))} if has_bands else {})


def _called(
    promise: Callable[..., Any], spec: Spec, fields: Mapping[str, Any], name: str
) -> Spec | Products:
    try:
        found = promise(spec, **fields)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the plan of {name} failed for {spec}: {type(error).__name__}: {error}"
        ) from error
    if isinstance(found, Products if yields_products(promise) else Spec):
        return found
    raise ConfigError(
        f"the plan of {name} must return a Spec, or Products where its annotation says so; "
        f"it returned {type(found).__name__}"
    )


def _number(promise: Any, name: str) -> np.dtype[Any]:
    """Return the type that is promised."""
    try:
        dtype: np.dtype[Any] = np.dtype(promise)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind in "iuf":
        return dtype
    raise ConfigError(
        f"this is no plan of {name}",
        field="plan",
        value=promise,
        allowed="same, a type of integers or floats, by-products by name, or a function",
    )
