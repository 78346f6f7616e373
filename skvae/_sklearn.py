"""All that is private to scikit-learn or differs between its versions, under names of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.utils import _safe_indexing
from sklearn.utils import check_random_state as _check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions, validate_parameter_constraints
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_sample_weight

if TYPE_CHECKING:
    from skvae._sklearn_bases import (
        BaseEstimator,
        CallbackSupportMixin,
        ClassNamePrefixFeaturesOutMixin,
        OutlierMixin,
        TransformerMixin,
    )
else:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin

    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError:  # scikit-learn < 1.9 has no callbacks

        class CallbackSupportMixin:
            """Stands in for scikit-learn's mixin where there are no callbacks."""


MAX_SEED = 2**31 - 1

__all__ = [
    "MAX_SEED",
    "BaseEstimator",
    "CallbackSupportMixin",
    "ClassNamePrefixFeaturesOutMixin",
    "Epochs",
    "Interval",
    "OutlierMixin",
    "StrOptions",
    "TransformerMixin",
    "_safe_indexing",
    "check_feature_names_in",
    "check_parameters",
    "check_random_state",
    "check_weights",
    "drawn_seed",
    "is_sparse",
    "validated_fit",
    "wants_pandas",
]

Method = TypeVar("Method", bound=Callable[..., Any])


def validated_fit(fit: Method) -> Method:
    """A method that first checks the estimator's parameters."""
    checked: Method = _fit_context(prefer_skip_nested_validation=True)(fit)
    return checked


def check_parameters(estimator: Any, *names: str) -> None:
    """Raise scikit-learn's InvalidParameterError (a ValueError) for a parameter that is out of its range.

    With names, only those are looked at, as far as they are parameters of this estimator. The error names all that are
    out of range.
    """
    constraints, found = estimator._parameter_constraints, []
    for name in names or constraints:
        if name in constraints:
            given = {name: getattr(estimator, name)}
            try:
                validate_parameter_constraints({name: constraints[name]}, given, caller_name=type(estimator).__name__)
            except InvalidParameterError as error:
                found.append(error)
    if found:
        raise found[0] if len(found) == 1 else InvalidParameterError(" ".join(map(str, found)))


def check_random_state(seed: Any) -> np.random.RandomState:
    """The stream that a `random_state` stands for."""
    stream: np.random.RandomState = _check_random_state(seed)
    return stream


def drawn_seed(random_state: Any) -> int:
    """A seed from the stream that a `random_state` stands for."""
    return int(check_random_state(random_state).randint(MAX_SEED))


def wants_pandas(estimator: Any) -> bool:
    """Whether `set_output` asks for pandas, into which scikit-learn cannot turn a polars frame well."""
    return bool(_get_output_config("transform", estimator)["dense"] == "pandas")


def is_sparse(X: Any) -> bool:
    """Whether X is a SciPy sparse matrix or array."""
    return bool(issparse(X))


def check_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Weights of n rows as float64 of shape (n,), or None where none were given.

    Raises
    ------
    ValueError
        For a wrong shape, NaN, a negative weight, or weights that are all zero.
    """
    if sample_weight is None:
        return None
    weights: np.ndarray = _check_sample_weight(sample_weight, np.broadcast_to(0.0, (n, 1)), dtype=np.float64)
    if (weights < 0.0).any():
        raise ValueError("Negative values in data passed to `sample_weight`: weights must be zero or positive.")
    if not (weights > 0.0).any():
        raise ValueError("Sample weights must contain at least one non-zero number; all of them are zero.")
    return weights


class Epochs:
    """Tells the callbacks of an estimator when epochs begin and end; does nothing where there are none.

    Parameters
    ----------
    estimator : estimator
    max_iter : int
    X, y
        As given to fit.
    """

    def __init__(self, estimator: Any, max_iter: int, X: Any, y: Any) -> None:
        self._estimator, self._data = estimator, {"X": X, "y": y}
        begin = getattr(estimator, "_init_callback_context", None)
        self._fit = None if begin is None else begin(max_subtasks=max_iter)
        if self._fit is not None:
            self._fit.call_on_fit_task_begin(estimator=estimator, **self._data)

    def begin(self) -> Any:
        """An epoch begins; pass what this returns to `end`."""
        if self._fit is None:
            return None
        epoch = self._fit.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return epoch

    def end(self, epoch: Any, fitted_attributes: Any) -> bool:
        """An epoch ends; True where a callback asks to stop. `fitted_attributes` makes a snapshot on demand."""
        if epoch is None:
            return False
        return bool(
            epoch.call_on_fit_task_end(
                estimator=self._estimator, reconstruction_attributes=fitted_attributes, **self._data
            )
        )

    def finish(self) -> None:
        """The fit ends."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(estimator=self._estimator, **self._data)
