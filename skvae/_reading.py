"""Reading the user's rows: validation, weights, the validation split."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skvae._sklearn import check_weights
from skvae._table import frames
from skvae._table.schema import TableSchema

DRIFT = 5.0  # standard deviations by which a later chunk's column mean may differ before partial_fit warns


class Rows(NamedTuple):
    """Rows as read from the user: numbers with NaN for missing, in float32 or float64, and where they came from."""

    X: np.ndarray  # (n, p)
    container: str
    names: list[Any]
    dtypes: list[str]


class Weighted(NamedTuple):
    """Rows in data units and their weights, None where all count alike."""

    X: np.ndarray  # (n, p)
    weight: np.ndarray | None  # (n,)

    def take(self, index: np.ndarray) -> Weighted:
        """The rows at `index`."""
        return Weighted(self.X[index], None if self.weight is None else self.weight[index])


def read(estimator: Any, X: Any, *, reset: bool) -> Rows:
    """Validate rows and turn them into numbers; with `reset` the estimator takes its columns from them."""
    least: dict[str, Any] = {"ensure_min_samples": 2 if reset else 1, "ensure_all_finite": "allow-nan"}
    least |= {"dtype": [np.float64, np.float32]}
    container = frames.container_of(X)
    if container == frames.NUMPY:
        family = _array_family(X)
        with _text_explained():
            X = validate_data(estimator, X, reset=reset, **least)
        return Rows(X, container, list(range(X.shape[1])), [family] * X.shape[1])
    names, dtypes = frames.names_of(X), frames.dtypes_of(X)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    numbers = check_array(frames.to_numbers(X), estimator=estimator, input_name="X", **least)
    return Rows(numbers, container, names, dtypes)


def _array_family(X: Any) -> str:
    dtype = getattr(X, "dtype", None)
    kind = getattr(dtype, "kind", "f")
    if kind in "mM":
        raise TypeError(
            f"X must hold numbers. Got dtype {dtype}: turn dates into numbers first, for example days since a fixed "
            f"date."
        )
    return "bool" if kind == "b" else "float"


@contextmanager
def _text_explained() -> Iterator[None]:
    """Say what to do about an array of text, where NumPy only says that it is no float."""
    try:
        yield
    except ValueError as error:
        if "could not convert string to float" not in str(error):
            raise
        raise ValueError(
            f"X must hold numbers. Got text ({error}): encode such columns first, for example with OneHotEncoder."
        ) from error


def weighted(x: np.ndarray, sample_weight: Any) -> Weighted:
    """Rows with the user's weights; those of weight 0 are left out, so that zero weight is removal."""
    weight = check_weights(sample_weight, x)
    if weight is None or (weight > 0.0).all():
        return Weighted(x, weight)
    return Weighted(x[weight > 0.0], weight[weight > 0.0])


def split(rows: Weighted, fraction: float, random_state: np.random.RandomState) -> tuple[Weighted, Weighted]:
    """Training and validation rows."""
    n = len(rows.X)
    n_held_out = max(1, round(fraction * n))
    if n - n_held_out < 2:
        raise ValueError(
            f"early_stopping with validation_fraction={fraction} leaves {n - n_held_out} of {n} rows to train on. "
            f"Pass more rows, a smaller validation_fraction, or early_stopping=False."
        )
    order = random_state.permutation(n)
    kept, held_out = np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
    return rows.take(kept), rows.take(held_out)


def warn_of_drift(encoded: np.ndarray, schema: TableSchema) -> None:
    observed = ~np.isnan(encoded)
    means = np.where(observed, encoded, 0.0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    shift = np.where(observed.any(axis=0), np.abs(means - schema.of_active("mean")), 0.0)
    drifted = [str(schema.columns[j].name) for j, far in zip(schema.active, shift > DRIFT, strict=True) if far]
    if drifted:
        warnings.warn(
            f"The mean of column(s) {', '.join(drifted[:5])} in this chunk is more than {DRIFT:g} standard deviations "
            f"from that of the first chunk, which froze location and scale. If this lasts, fit a new model.",
            UserWarning,
            stacklevel=5,
        )
