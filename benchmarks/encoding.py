"""Frames as numbers: categories as the numbers of their levels, missing cells NaN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Encoding:
    """Frames to numbers, by the columns of the frame of real training rows."""

    levels: dict[str, pd.Index | None]  # None: a number
    ordered: tuple[bool, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Encoding:
        """The encoding of a frame's columns."""
        ordered = tuple(isinstance(dtype, pd.CategoricalDtype) and bool(dtype.ordered) for dtype in frame.dtypes)
        return cls({name: levels_of(frame[name]) for name in frame}, ordered)

    def __call__(self, frame: pd.DataFrame) -> np.ndarray:
        """The table of a frame with the same columns; a level unknown here is a missing cell."""
        columns = [_encoded(frame[name], levels) for name, levels in self.levels.items()]
        return np.column_stack(columns)

    @property
    def is_category(self) -> np.ndarray:
        """Which columns are categories, booleans among them."""
        return np.array([levels is not None for levels in self.levels.values()])

    @property
    def is_nominal(self) -> np.ndarray:
        """Which of them have no order."""
        return self.is_category & ~np.array(self.ordered)


def levels_of(column: pd.Series) -> pd.Index | None:
    """The levels of a category or boolean; None for a number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.categories
    return pd.Index([False, True]) if pd.api.types.is_bool_dtype(column) else None


def _encoded(column: pd.Series, levels: pd.Index | None) -> np.ndarray:
    if levels is None:
        return column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    codes = levels.get_indexer(column.astype(object)).astype(np.float64)
    return np.where(codes < 0, np.nan, codes)
