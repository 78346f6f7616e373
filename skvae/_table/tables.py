"""The user's rows, read a column at a time: no copy of the whole table is made on the way to the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.declared import Difference

FloatArray = NDArray[np.floating]

SLICE_CELLS = 2**20  # cells that are encoded at once in inference


class ReadableRows(Protocol):
    """What a schema needs of rows: a `Table`, or `LooseRows`."""

    @property
    def X(self) -> Any: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def dtypes(self) -> Sequence[frames.Dtype]: ...
    @property
    def is_frame(self) -> bool: ...
    @property
    def is_sparse(self) -> bool: ...
    def __len__(self) -> int: ...
    def numbers(self, j: int) -> FloatArray: ...
    def labels(self, j: int) -> tuple[NDArray[np.intp], list[Any], bool]: ...
    def missing(self) -> NDArray[np.bool_]: ...
    def missing_in(self, j: int) -> NDArray[np.bool_]: ...
    def slices(self) -> Iterator[ReadableRows]: ...
    def as_differences(self, differences: Sequence[Difference]) -> ReadableRows: ...


@dataclass(frozen=True)
class Table:
    """Rows as the user gave them.

    Parameters
    ----------
    X : ndarray of shape (n, p), data frame, or CSR matrix
        NaN (or what the frame has for it) marks the missing cells.
    container : str
        "numpy", "pandas" or "polars".
    names, dtypes : sequence
        Of the columns.
    dtype : numpy dtype
        float32 or float64: the precision that answers are given in.
    index : ndarray or slice, optional
        Rows of a frame that count; None for all.
    differences : sequence of Difference
        Columns whose numbers are read as differences to others.
    """

    X: Any
    container: str
    names: Sequence[Hashable]
    dtypes: Sequence[frames.Dtype]
    dtype: np.dtype[Any]
    index: Any = None
    differences: Sequence[Difference] = ()

    @property
    def is_frame(self) -> bool:
        """Whether X is a data frame."""
        return self.container != frames.NUMPY

    @property
    def is_sparse(self) -> bool:
        """Whether X is a sparse matrix."""
        return not self.is_frame and not isinstance(self.X, np.ndarray)

    def __len__(self) -> int:
        """Number of rows."""
        if self.index is None:
            return int(self.X.shape[0])
        return len(range(*self.index.indices(self.X.shape[0]))) if isinstance(self.index, slice) else len(self.index)

    def take(self, index: NDArray[np.intp] | slice) -> Table:
        """The rows at `index`."""
        if not self.is_frame:
            return replace(self, X=self.X[index])
        if self.index is None and isinstance(index, slice):
            return replace(self, X=frames.slice_of(self.X, index))
        rows = index if self.index is None else np.arange(self.X.shape[0])[self.index][index]
        return replace(self, index=rows)

    def as_differences(self, differences: Sequence[Difference]) -> Table:
        """The same rows with some columns read as differences to others."""
        return replace(self, differences=differences)

    def evenly(self, most: int) -> Table:
        """At most that many rows, evenly spaced."""
        step = -(-len(self) // most)
        return self if step == 1 else self.take(slice(None, None, step))

    def slices(self, cells: int | None = None) -> Iterator[Table]:
        """The rows in consecutive parts of at most so many cells, SLICE_CELLS where not given."""
        size = max(1, (cells or SLICE_CELLS) // max(len(self.names), 1))
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            part = self.take(slice(start, start + size))
            # A frame's rows are copied here: each of its columns would else be read whole for every part.
            yield part if part.index is None else replace(part, X=frames.rows_at(self.X, part.index), index=None)

    def numbers(self, j: int) -> FloatArray:
        """Column j, NaN where missing; float64 unless X is an array of float32."""
        return _difference(self.differences, j, self._numbers)

    def _numbers(self, j: int) -> FloatArray:
        if self.is_sparse:
            return self._dense_column(j)
        if not self.is_frame:
            column: FloatArray = self.X[:, j]
            return column
        values = self._rows(frames.numbers(self.X, j))
        if np.isinf(values).any():
            raise ValueError(
                f"Input X contains infinity or a value too large for dtype('float64'). Column {self.names[j]!r} holds "
                f"it: replace it, or mark the cell as missing."
            )
        return values

    @cached_property
    def _by_columns(self) -> Any:
        return self.X.tocsc()

    def _dense_column(self, j: int) -> FloatArray:
        stored = slice(*self._by_columns.indptr[j : j + 2])
        column = np.zeros(len(self), dtype=self.X.dtype)
        column[self._by_columns.indices[stored]] = self._by_columns.data[stored]
        return column

    def extent(self, j: int, rows: NDArray[np.intp]) -> tuple[int, int]:
        """The least and the greatest integer of column j of a frame among some rows, exactly."""
        return frames.extent(self.X, j, rows if self.index is None else np.arange(self.X.shape[0])[self.index][rows])

    def labels(self, j: int) -> tuple[NDArray[np.intp], list[Any], bool]:
        """Column j as codes (-1 where missing) under a list of values, and whether its dtype declares that list."""
        if self.is_frame:
            codes, values, declared = frames.labels(self.X, j)
            return self._rows(codes), values, declared
        column = self.X[:, j]
        levels = np.unique(column[~np.isnan(column)])
        codes = np.searchsorted(levels, column)
        codes[np.isnan(column)] = -1
        return codes, levels.tolist(), False

    def has_levels(self) -> bool:
        """Whether a column is one of levels, of which there is more than one in these rows."""
        coded = [j for j, dtype in enumerate(self.dtypes) if dtype.is_category or dtype.is_text]
        return any(len(np.unique(codes[codes >= 0])) > 1 for codes in (self.labels(j)[0] for j in coded))

    def has_missing(self) -> bool:
        """Whether any cell is missing."""
        if self.is_sparse:
            return False
        if not self.is_frame:
            return bool(np.isnan(self.X).any())
        return any(bool(self._rows(frames.missing(self.X, j)).any()) for j in range(len(self.names)))

    def empty_rows(self, columns: Iterable[int] | None = None) -> NDArray[np.bool_]:
        """Rows of which no cell (of these columns) is observed, shape (n,); read only as far as there may be one."""
        empty = np.full(len(self), not self.is_sparse)
        for j in range(len(self.names)) if columns is None else columns:
            if not empty.any():
                break
            empty &= self._rows(frames.missing(self.X, j)) if self.is_frame else np.isnan(self.X[:, j])
        return empty

    def missing(self) -> NDArray[np.bool_]:
        """Which cells are missing, shape (n, p)."""
        if self.is_sparse:
            return np.zeros(self.X.shape, dtype=bool)
        if not self.is_frame:
            holes: NDArray[np.bool_] = np.isnan(self.X)
            return holes
        return np.column_stack([self.missing_in(j) for j in range(len(self.names))])

    def missing_in(self, j: int) -> NDArray[np.bool_]:
        """Which cells of column j are missing, shape (n,)."""
        if self.is_sparse:
            return np.zeros(len(self), dtype=bool)
        holes: NDArray[np.bool_] = self._rows(frames.missing(self.X, j)) if self.is_frame else np.isnan(self.X[:, j])
        return holes

    def _rows(self, column: NDArray[Any]) -> NDArray[Any]:
        return column if self.index is None else column[self.index]


@dataclass(frozen=True)
class LooseRows:
    """Rows outside any container: for each column a list of values, one per row, None (or NaN) where missing.

    Columns that are not there are missing in all rows. It offers of a `Table` what a `TableSchema` reads.
    """

    X: ClassVar[None] = None
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float64)
    is_frame: ClassVar[bool] = True
    is_sparse: ClassVar[bool] = False

    columns: Mapping[int, Any]
    n_rows: int
    dtypes: Sequence[frames.Dtype]
    differences: Sequence[Difference] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return self.n_rows

    def as_differences(self, differences: Sequence[Difference]) -> LooseRows:
        """The same rows with some columns read as differences to others."""
        return replace(self, differences=differences)

    def slices(self) -> Iterator[LooseRows]:
        """They are few: all at once."""
        yield self

    def numbers(self, j: int) -> FloatArray:
        """Column j, NaN where missing."""
        return _difference(self.differences, j, self._numbers)

    def _numbers(self, j: int) -> FloatArray:
        column = self._column(j)
        if isinstance(column, np.ndarray):
            return column.astype(np.float64)
        return np.array([np.nan if value is None else value for value in column], dtype=np.float64)

    def labels(self, j: int) -> tuple[NDArray[np.intp], list[Any], bool]:
        """Column j as codes (-1 where missing) under a list of values, which no dtype declares."""
        code_of: dict[Any, int] = {}
        codes = [-1 if value is None else code_of.setdefault(value, len(code_of)) for value in self._column(j)]
        return np.array(codes, dtype=np.intp), list(code_of), False

    def exact_codes(self, j: int, code_of: Mapping[Any, int]) -> FloatArray:
        """Column j under these codes, NaN where missing."""
        return np.array([np.nan if value is None else code_of[value] for value in self._column(j)])

    def missing(self) -> NDArray[np.bool_]:
        """Which cells are missing, shape (n, p)."""
        return np.column_stack([self.missing_in(j) for j in range(len(self.dtypes))])

    def missing_in(self, j: int) -> NDArray[np.bool_]:
        """Which cells of column j are missing, shape (n,)."""
        return np.array([value is None or value != value for value in self._column(j)], dtype=bool)

    def _column(self, j: int) -> Any:
        return self.columns.get(j, [None] * self.n_rows)


def _difference(differences: Sequence[Difference], j: int, numbers: Callable[[int], FloatArray]) -> FloatArray:
    """Numbers of column j, or their difference to those of another where it is read so."""
    own = next((one for one in differences if one.target == j), None)
    return numbers(j) if own is None else own.of(numbers(j), numbers(own.base))
