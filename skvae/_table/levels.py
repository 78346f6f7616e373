"""The levels of a column of categories: which values there are, and the code of each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

MOST_LEVELS = 256  # levels with a code of their own; the rarest beyond share one
FEW_LEVELS = 10  # up to which text groups rows if any value repeats


class Levels(NamedTuple):
    """Values seen in training, and the categories that the column's dtype declares.

    ``values[c]`` is the value of code c. Where there are more than MOST_LEVELS values, the rarest are `pooled` under
    one more code, the last; `shares` says how often each of them occurs among these. `categories` are all that a
    categorical dtype names, in its order (None where the dtype is another).
    """

    values: tuple[Any, ...]
    pooled: tuple[Any, ...] = ()
    shares: tuple[float, ...] = ()
    categories: tuple[Any, ...] | None = None
    ordered: bool = False

    @property
    def n_codes(self) -> int:
        """How many codes there are."""
        return len(self.values) + bool(self.pooled)

    def code_of(self) -> dict[Any, int]:
        """Value -> code."""
        known = {value: code for code, value in enumerate(self.values)}
        return known | dict.fromkeys(self.pooled, len(self.values))

    def exact_code_of(self) -> dict[Any, int]:
        """Value -> code for `decode`, where each pooled value has one of its own, beyond those of the model."""
        return self.code_of() | {value: self.n_codes + i for i, value in enumerate(self.pooled)}

    def of_exact(self, code: int) -> Any:
        """The value of one of these."""
        return self.values[code] if code < len(self.values) else self.pooled[code - self.n_codes]

    def encode(self, codes: NDArray[np.integer], values: Sequence[Any], *, pool_unknown: bool = False) -> FloatArray:
        """Codes under `values` (-1 where missing) -> codes of these levels, NaN where missing or unknown."""
        known = self.code_of()
        other = float(len(self.values)) if pool_unknown and self.pooled else np.nan
        lookup = np.array([known.get(value, other) for value in values] + [np.nan], dtype=np.float64)
        out: FloatArray = lookup[codes]
        return out

    def log_share(self, codes: NDArray[np.integer], values: Sequence[Any], *, pool_unknown: bool = False) -> FloatArray:
        """Log of each value's share of its code: 0 but for pooled ones, of which an unknown one is as the rarest."""
        shares = dict(zip(self.pooled, self.shares, strict=True))
        shares = dict.fromkeys(values, min(self.shares, default=1.0) if pool_unknown else 1.0) | shares
        shares |= dict.fromkeys(self.values, 1.0)
        lookup = np.log([shares[value] for value in values] + [1.0])
        out: FloatArray = lookup[codes]
        return out

    def most_probable(self, probability: FloatArray) -> FloatArray:
        """The code of the most probable level, (n,), by the probability of each code (n, n_codes).

        A code that pooled levels share counts as the most frequent of them, which `decode` makes of it.
        """
        if self.pooled:
            probability = np.concatenate([probability[:, :-1], probability[:, -1:] * max(self.shares)], axis=1)
        codes: FloatArray = probability.argmax(axis=1).astype(probability.dtype)
        return codes

    def is_unknown(self, codes: NDArray[np.integer], values: Sequence[Any]) -> NDArray[np.bool_]:
        """Which rows hold a value that no level stands for."""
        known = self.code_of()
        lookup = np.array([value not in known for value in values] + [False])
        out: NDArray[np.bool_] = lookup[codes]
        return out

    def unknown(self, codes: NDArray[np.integer], values: Sequence[Any]) -> list[Any]:
        """The values in use that no level stands for."""
        known = self.code_of()
        used = np.bincount(codes[codes >= 0], minlength=len(values))
        return [value for value, count in zip(values, used, strict=True) if count and value not in known]

    def refuse_unknown(self, codes: NDArray[np.integer], values: Sequence[Any], name: Hashable) -> None:
        """Raise ValueError where a column of this name holds values that no level stands for."""
        new = self.unknown(codes, values)
        if new:
            raise ValueError(
                f"Column {name!r} holds level(s) that fit did not see: {_some(new)}. It saw "
                f"{_some(self.values) or 'none'}. Fit on rows that have them, replace them, or set "
                f"handle_unknown='missing'."
            )

    def takes_in(self, unknown: str) -> bool:
        """Whether a value that no level stands for is no surprise: it is missing, or rare, or fit saw no level."""
        return unknown == "missing" or (unknown == "infrequent_if_exist" and bool(self.pooled)) or not self.n_codes

    def decode(self, codes: FloatArray, random_state: np.random.RandomState | None) -> list[Any]:
        """One value per code, None where it is NaN; a pooled one is drawn, or the most frequent where nothing draws."""
        table = objects([*self.values, *[None] * bool(self.pooled), *self.pooled, None])
        index = np.where(np.isnan(codes), len(table) - 1, codes).astype(np.intp)
        out = table[index]
        if self.pooled:
            rare = np.flatnonzero(index == len(self.values))
            most = np.full(len(rare), int(np.argmax(self.shares)))
            drawn = most if random_state is None else random_state.choice(len(self.pooled), len(rare), p=self.shares)
            out[rare] = objects(self.pooled)[drawn]
        return list(out)


def _some(values: Sequence[Any]) -> str:
    return ", ".join(repr(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")


def objects(values: Sequence[Any]) -> NDArray[Any]:
    """A one-dimensional array of objects, of which NumPy would unpack tuples."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def hardly_repeats(codes: NDArray[np.integer]) -> bool:
    """Whether a column, codes (n,) or -1 where missing, tells rows apart more than it groups them.

    It has more than one value, each in a row of its own, or more than FEW_LEVELS, and most rows have no second one.
    """
    counts = np.bincount(codes[codes >= 0])
    counts = counts[counts > 0]
    alone = counts[counts == 1].sum()
    return len(counts) > 1 and bool(alone == counts.sum() or (len(counts) > FEW_LEVELS and 2 * alone > counts.sum()))


def infer_levels(
    codes: NDArray[np.integer],
    values: Sequence[Any],
    weight: FloatArray,
    *,
    categories: tuple[Any, ...] | None,
    ordered: bool,
    pools: bool,
) -> tuple[Levels, tuple[float, ...]]:
    """The levels of a training column, and the share of each code.

    Parameters
    ----------
    codes : ndarray of shape (n,)
        Index into `values`, -1 where missing.
    values : sequence
        In the order that the levels are to have.
    weight : ndarray of shape (n,)
    categories, ordered
        See `Levels`.
    pools : bool
        Whether rare levels may be pooled (which an order forbids).
    """
    there = codes >= 0
    mass = np.bincount(codes[there], weights=weight[there], minlength=len(values))
    seen = np.flatnonzero(mass > 0)
    kept, rare = seen, seen[:0]
    if pools and len(seen) > MOST_LEVELS:
        by_mass = seen[np.argsort(-mass[seen], kind="stable")]
        kept, rare = np.sort(by_mass[: MOST_LEVELS - 1]), np.sort(by_mass[MOST_LEVELS - 1 :])
    total = float(mass.sum()) or 1.0
    frequencies = [float(mass[i]) / total for i in kept]
    if len(rare):
        frequencies.append(float(mass[rare].sum()) / total)
    shares = mass[rare] / mass[rare].sum() if len(rare) else rare
    levels = Levels(
        tuple(values[i] for i in kept.tolist()),
        tuple(values[i] for i in rare.tolist()),
        tuple(shares.tolist()),
        categories,
        ordered,
    )
    return levels, tuple(frequencies)
