"""Reading the user's rows: validation, weights, the validation split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skvae._sklearn import check_weights, is_sparse
from skvae._table import frames
from skvae._table.columns import Column
from skvae._table.kinds import KINDS, thinned, weighted_quantiles
from skvae._table.schema import TableSchema
from skvae._table.tables import Table
from skvae._warnings import warn

CELLS: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}  # as scikit-learn checks
LOOKED_AT = 20_000  # rows, evenly spaced, that say whether most levels are unknown
UNKNOWN = {  # what becomes of a level that fit did not see, by `handle_unknown`
    "unlikely": "values of probability 1 / (n + 2), n being the number of training rows",
    "missing": "missing",
    "infrequent_if_exist": "rare levels, or where there are none as values of probability 1 / (n + 2)",
}
DRIFT = 5.0  # standard deviations by which a later chunk's column may have moved before partial_fit warns ...
FEWEST = 10  # ... if there are so many values to say so, in it and in the first chunk
FAINT = 1e-30  # of the largest weight: what is less would be 0 in float32, and adds to no sum


class Weighted(NamedTuple):
    """Rows and their weights, None where all count alike."""

    table: Table
    weight: np.ndarray | None  # (n,)
    share: float = 1.0  # of the weight that the user's rows had; the others have no observed cell

    def take(self, index: np.ndarray) -> Weighted:
        """The rows at `index`."""
        return Weighted(self.table.take(index), None if self.weight is None else self.weight[index])


def read(
    estimator: Any, X: Any, *, reset: bool, schema: TableSchema | None = None, accept_sparse: bool = False
) -> Table:
    """Validate rows.

    With `reset` the estimator takes its columns from them; with a `schema` they must be readable as those of fit.
    """
    least: dict[str, Any] = {"ensure_min_samples": 2 if reset else 1, **CELLS}
    container = frames.container_of(X)
    if container == frames.NUMPY:
        family, X = _array_family(X), frames.unmasked(X)
        sparse = accept_sparse and is_sparse(X)
        with _text_explained(), np.errstate(over="ignore", invalid="ignore"):  # it adds all cells up
            X = validate_data(estimator, X, reset=reset, accept_sparse="csr" if sparse else False, **least)
        return _of_array(_summed(X) if sparse else X, family)
    names = frames.names_of(X)
    with _difference_shown(estimator, names):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    check_array(np.broadcast_to(0.0, X.shape), estimator=estimator, input_name="X", **least)  # the counts alone
    table = _of_frame(X, container, names)
    if schema is not None:
        refuse_unreadable(table, schema)
    return table


def read_alone(X: Any, name: str) -> Table:
    """Validate rows that are no estimator's; errors call them by that name."""
    container = frames.container_of(X)
    if container == frames.NUMPY:
        family, X = _array_family(X), frames.unmasked(X)
        with _text_explained(), np.errstate(over="ignore", invalid="ignore"):
            return _of_array(check_array(X, estimator=name, input_name=name, **CELLS), family)
    check_array(np.broadcast_to(0.0, X.shape), estimator=name, **CELLS)
    return _of_frame(X, container, frames.names_of(X))


def _of_array(X: Any, family: str) -> Table:
    dtype = frames.Dtype(family, "bool" if family == "bool" else str(X.dtype))
    return Table(X, frames.NUMPY, range(X.shape[1]), [dtype] * X.shape[1], X.dtype)


def _of_frame(X: Any, container: str, names: list[Any]) -> Table:
    dtypes = frames.dtypes_of(X)
    return Table(X, container, names, dtypes, np.dtype(np.float32 if frames.all_single(dtypes) else np.float64))


def read_known(estimator: Any, X: Any, schema: TableSchema, unknown: str, *, accept_sparse: bool = False) -> Table:
    """Validate rows of the table that fit saw; warns of columns of levels that it did not see."""
    table = read(estimator, X, reset=False, schema=schema, accept_sparse=accept_sparse)
    warn_of_unknown(table, schema, unknown)
    return table


def refuse_unreadable(table: Table, schema: TableSchema) -> None:
    """Raise TypeError where columns of a table cannot be read as they were in fit."""
    if table.is_frame:
        before = [_in_fit(column) for column in schema.columns]
        frames.refuse_unreadable(table.X, [kind == "categories" for kind in before], before)


def _in_fit(column: Column) -> str:
    """What a column was in fit, as `frames.refuse_unreadable` asks; one of which fit saw no value may be anything."""
    is_empty = column.constant is not None and np.isnan(column.constant)
    if column.is_left_out or (is_empty and column.levels is None):
        return frames.LEFT_OUT
    if column.levels is not None:
        return "categories"
    return column.dtype.family if column.dtype.is_time else "numbers"


def _summed(X: Any) -> Any:
    """A CSR matrix in which each cell is stored once; NaN is an error, as a zero that is not stored is no gap."""
    if np.isnan(X.data).any():
        raise ValueError("Input X contains NaN, which a sparse matrix cannot have for a missing cell. Pass an array.")
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


@contextmanager
def _difference_shown(estimator: Any, names: list[Any]) -> Iterator[None]:
    """Add to scikit-learn's complaint about the columns what fit saw and what came."""
    try:
        yield
    except ValueError as error:
        known = list(getattr(estimator, "feature_names_in_", []))
        if not known or known == names:
            raise
        lost, new = [name for name in known if name not in names], [name for name in names if name not in known]
        parts = [f"missing: {lost!r}" if lost else "", f"not seen in fit: {new!r}" if new else ""]
        if not lost and not new:
            at = next(i for i, (a, b) in enumerate(zip(known, names, strict=True)) if a != b)
            parts.append(f"another order, from column {at} on: fit had {known[at : at + 5]!r}, X has "
                         f"{names[at : at + 5]!r}")  # fmt: skip
        raise ValueError(
            f"{str(error).rstrip()}\nThe columns of X differ from those of fit: {'; '.join(filter(None, parts))}. "
            f"X[model.feature_names_in_] has them as fit did{', once the missing ones are there' if lost else ''}."
        ) from error


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
            f"X must hold numbers. Got text ({error}): pass a data frame in which such columns are "
            f"categorical, or encode them first."
        ) from error


def weighted(table: Table, sample_weight: Any) -> Weighted:
    """Rows with the user's weights.

    Those of weight 0 are left out, so that zero weight is removal, and so are those without an observed cell, which say
    nothing (unless there are no others).
    """
    weight = check_weights(frames.unmasked(sample_weight), len(table))
    empty = table.empty_rows()
    if empty.all():
        empty = np.zeros(len(table), dtype=bool)
    left_out = empty if weight is None else empty | (weight == 0.0)
    rows = Weighted(table, None if weight is None else _within_reach(weight))
    if not left_out.any():
        return rows
    share = 1.0 - float(np.average(empty, weights=rows.weight))
    return rows.take(np.flatnonzero(~left_out))._replace(share=share)


def _within_reach(weight: np.ndarray) -> np.ndarray:
    """Weights of at most 1 whose sums neither overflow nor vanish; what is below FAINT of the largest counts as that.

    They are divided by a power of two, so that all ratios stay what they are to the last digit.
    """
    scaled = np.ldexp(weight, -int(np.frexp(weight.max())[1]))
    return np.where(weight > 0.0, np.maximum(scaled, FAINT), 0.0)


def split(rows: Weighted, fraction: float, random_state: np.random.RandomState) -> tuple[Weighted, Weighted]:
    """Training and validation rows."""
    n = len(rows.table)
    n_held_out = max(1, round(fraction * n))
    if n - n_held_out < 2:
        raise ValueError(
            f"early_stopping with validation_fraction={fraction} leaves {n - n_held_out} of {n} rows to train on. "
            f"Pass more rows, a smaller validation_fraction, or early_stopping=False."
        )
    order = random_state.permutation(n)
    kept, held_out = np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
    return rows.take(kept), rows.take(held_out)


def warn_of_unknown(table: Table, schema: TableSchema, unknown: str) -> None:
    """Warn of columns most of whose cells hold levels that fit did not see."""
    if unknown not in UNKNOWN:  # "error", or what is refused when the rows are encoded
        return
    for column, levels in _mostly_unknown(table.evenly(LOOKED_AT), schema):
        known = column.levels.values
        warn(
            f"Most cells of column {column.name!r} hold levels that fit did not see, such as {levels[0]!r}; it saw "
            f"{', '.join(map(repr, known[:3]))}{', ...' if len(known) > 3 else ''}. They count as "
            f"{UNKNOWN[unknown]}: check how the column is spelt and encoded, or fit on rows that have them.",
        )


def _mostly_unknown(table: Table, schema: TableSchema) -> Iterator[tuple[Any, list[Any]]]:
    """Columns more than half of whose observed cells hold levels that fit did not see, and these levels."""
    for j, column in enumerate(schema.columns):
        if column.levels is not None and column.levels.n_codes:
            codes, values, _ = table.labels(j)
            if column.levels.is_unknown(codes, values).sum() > 0.5 * (codes >= 0).sum():
                yield column, column.levels.unknown(codes, values)


def warn_of_constants(schema: TableSchema, surprising: ArrayLike) -> None:
    """Warn of columns among the `surprising` (p,) that were constant in training."""
    names = _constants(schema, surprising)
    if names:
        warn(
            f"Column(s) {names} were constant in training and differ here; each such cell costs log(n + 2) = "
            f"{schema.surprise:.2f} nats.",
        )


def _constants(schema: TableSchema, surprising: ArrayLike) -> str:
    columns = [schema.columns[j] for j in np.flatnonzero(surprising)]
    return ", ".join([str(column.name) for column in columns if column.constant is not None][:5])


def warn_of_a_new_kind(table: Table, schema: TableSchema, unknown: str) -> None:
    """Warn where a later chunk holds what the first has left no place for: other levels, values of constant columns."""
    warn_of_unknown(table, schema, unknown)
    names = _constants(schema, schema.surprises(table).any(axis=0))
    if names:
        warn(
            f"Column(s) {names} were constant in the first chunk, so that the model leaves them out, and differ in "
            f"this one. If this lasts, fit a new model.",
        )


def warn_of_drift(encoded: np.ndarray, weight: np.ndarray | None, schema: TableSchema) -> None:
    """Warn where the median of a standardised column in a later chunk is far from where the first had its mean.

    What is compared are the values that location and scale were taken of: no atoms, no missing cells. A median, unlike
    a mean, stays where it was in chunks of a heavy-tailed column, and is never more than one standard deviation from
    the mean; of a few values neither says much.
    """
    if not isinstance(encoded, np.ndarray):  # bits and counts, which are not standardised
        return
    weight = np.ones(len(encoded)) if weight is None else weight
    moved = [i for i in range(len(schema.cells)) if _shift(encoded, weight, schema, i) > DRIFT]
    drifted = [str(schema.cells[i].name) for i in moved]
    if drifted:
        warn(
            f"The median of column(s) {', '.join(drifted[:5])} in this chunk is more than {DRIFT:g} standard "
            f"deviations from the mean of the first chunk, which froze location and scale. If this lasts, fit a new "
            f"model.",
        )


def _shift(encoded: np.ndarray, weight: np.ndarray, schema: TableSchema, i: int) -> float:
    """How many standard deviations the median of a cell's values is from their mean in the first chunk."""
    cell, values = schema.cells[i], encoded[:, i]
    column = schema.columns[cell.column]
    if cell.is_atom or cell.is_gap or not KINDS[column.kind].is_scaled:
        return 0.0
    counted = ~np.isnan(values)
    if column.atoms:
        counted &= encoded[:, dict(schema.cells.gates)[i]] == 0.0
    if min(int(counted.sum()), column.n_values) < FEWEST:
        return 0.0
    median = weighted_quantiles(thinned(values[counted]), thinned(weight[counted]), (0.5,))
    scores = column.normal_scores
    return float(abs(median if scores is None else scores.decode(median))[0])
