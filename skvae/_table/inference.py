"""From training rows to a schema: what is learned of each column before any network sees it."""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.atoms import find_atoms, find_heaps, to_multiples
from skvae._table.columns import Atomic, Coded, Column, Constant, LeftOut, Number
from skvae._table.kinds import KINDS, ROUNDING, FloatArray, logarithm_above, robust_scaling, thinned, weighted_quantiles
from skvae._table.levels import infer_levels
from skvae._table.marginals import PROBABILITIES, normal_scores
from skvae._table.schema import TableSchema
from skvae._table.tables import Table

STEPS = tuple(float(f"{digit}e{power}") for power in range(3, -7, -1) for digit in (5, 2, 1))  # that draws may have
FIRST = 64  # values that rule most steps out
WIDEST = 1e305  # of the absolute values of a column that varies: what is computed of them stays within float64
FEWEST_UNIQUE = 20  # integers of which none repeats are an identifier, if they are more
FEWEST_SKEWED = 50  # values that say whether a column spans orders of magnitude ...
TAILS = (0.01, 0.5, 0.99)  # ... which goes by these quantiles:
SKEWED = 8.0  # how many times as long the upper tail is as the lower one
EVEN = 3.0  # and how many times the longer tail of the logarithm as the shorter one, at most
EXACT = 2.0**53  # integers beyond are not all floats


@dataclass(frozen=True)
class Sought:
    """What is to be looked for in columns.

    Parameters
    ----------
    marginals : {"auto", "linear", "normal"}
        Whether continuous columns are standardised only, or also mapped to normal scores; or standardised after the
        logarithm where they span orders of magnitude.
    atoms : sequence of bool
        For each column, whether frequent single values are atoms.
    bounded : bool
        Whether decoded numbers are kept within the range of the training rows, and draws to their step and heaps.
    unpooled : set of int
        Columns whose rare levels do not share a code.
    """

    marginals: str
    atoms: Sequence[bool]
    bounded: bool
    unpooled: Container[int] = ()


def infer_schema(table: Table, weight: FloatArray | None, kinds: Sequence[str], sought: Sought) -> TableSchema:
    """Learn the schema from training rows.

    Parameters
    ----------
    table : Table
    weight : ndarray of shape (n,) or None
        Rows of weight 0 are as good as absent.
    kinds : sequence of str
        One per column.
    sought : Sought
    """
    weight = np.ones(len(table)) if weight is None else weight
    columns = tuple(
        _coded(table, j, weight, kind, pools=j not in sought.unpooled)
        if KINDS[kind].is_coded
        else _number(table, j, weight, kind, sought)
        for j, kind in enumerate(kinds)
    )
    header = frames.header_of(table.X)
    return TableSchema(table.container, columns, int(np.count_nonzero(weight)), header)


def _coded(table: Table, j: int, weight: FloatArray, kind: str, *, pools: bool) -> Column:
    """A column of levels."""
    codes, values, declared = table.labels(j)
    missing = _share(codes < 0, weight)
    if not KINDS[kind].is_modelled:
        return LeftOut(name=table.names[j], dtype=table.dtypes[j], kind=kind, missing=missing)
    ordered = table.dtypes[j].family == "ordered"
    categories = tuple(values) if declared else None
    levels, frequencies = infer_levels(
        codes, values, weight, categories=categories, ordered=ordered, pools=pools and KINDS[kind].pools
    )
    told: dict[str, Any] = {"name": table.names[j], "dtype": table.dtypes[j], "kind": kind, "missing": missing}
    told |= {"levels": levels}
    if levels.n_codes < 2:
        return Constant(**told, constant=0.0 if levels.n_codes else float("nan"))
    own = levels.encode(codes, values)
    used = ~np.isnan(own) & (weight > 0)
    scaling = KINDS[kind].scaling(own[used], weight[used])
    centre, width = robust_scaling(own[used], weight[used], scaling.spread)
    return Coded(**told, centre=centre, width=width, mean=scaling.mean, frequencies=frequencies)


def _number(table: Table, j: int, weight: FloatArray, kind: str, sought: Sought) -> Column:
    """A column of numbers."""
    values = table.numbers(j)
    missing, dtype = np.isnan(values), table.dtypes[j]
    used = ~missing & (weight > 0)
    told: dict[str, Any] = {"name": table.names[j], "dtype": dtype, "kind": kind, "missing": _share(missing, weight)}
    values, weight = values[used].astype(np.float64), weight[used]
    accept = partial(KINDS[kind].accept, name=table.names[j])
    if len(values) == 0:
        return Constant(**told, constant=float("nan"))
    base = next((one.base for one in table.differences if one.target == j), None)
    exact = {} if base is not None else _exact_extent(table, j, used, values)
    if _is_constant(values, dtype):
        accept(values)
        return Constant(**told | exact, constant=float(values[0]))
    _refuse_wide(values, table.names[j])
    atoms = find_atoms(thinned(values), thinned(weight)) if sought.atoms[j] and KINDS[kind].has_atoms else ()
    accept(values[~np.isin(values, atoms)])
    if atoms:
        told |= {"atoms": atoms, "frequencies": _shares(values, weight, atoms)}
    if dtype.is_integer and not atoms:
        told |= {"is_unique": _never_repeats(values)}
    steps = frames.TIME_STEPS if dtype.is_time else STEPS
    if dtype.is_time:
        told |= {"step": _step(_with_base(thinned(values), table, base), steps)}
    if base is not None:
        told |= {"low": float(values.min())}
    if sought.bounded:
        rest = values[~np.isin(values, atoms)] if atoms else values
        rest = rest if len(rest) else values
        told |= {"low": float(rest.min()), "high": float(rest.max())} | exact
        if KINDS[kind].has_atoms:
            some, step = thinned(values), _step(_with_base(thinned(values), table, base), steps)
            told |= {"step": step, "heaps": None if exact else find_heaps(some, thinned(weight), step, atoms)}
    if sought.marginals == "auto" and KINDS[kind].is_scaled and KINDS[kind].bend is None:
        dense = ~np.isin(values, atoms)
        told |= {"log_above": _floor(values[dense], weight[dense])}
    return _scaled(values, weight, told, sought.marginals)


def _floor(values: FloatArray, weight: FloatArray) -> float | None:
    """From where on a column is taken by its logarithm: positive numbers over orders of magnitude; None of others.

    Their upper tail is many times as long as the lower one, and their logarithm is about as long on either side.
    """
    if len(values) < FEWEST_SKEWED or values.min() <= 0.0:
        return None
    low, middle, high = weighted_quantiles(thinned(values), thinned(weight), TAILS)
    if not low < middle < high:
        return None
    above, below = np.log(high / middle), np.log(middle / low)
    is_skewed = high - middle > SKEWED * (middle - low) and 1.0 / EVEN < above / below < EVEN
    return float(values.min()) if is_skewed else None


def _with_base(values: FloatArray, table: Table, base: int | None) -> FloatArray:
    """Values, and of differences also those that they are added to: a step is one of both."""
    if base is None:
        return values
    others = thinned(table.numbers(base))
    return np.concatenate([values, others[~np.isnan(others)]])


def _share(flags: NDArray[np.bool_], weight: FloatArray) -> float:
    """Of the weight, that where a flag is set."""
    return float(weight[flags].sum() / weight.sum()) if flags.any() else 0.0


def _never_repeats(values: FloatArray) -> bool:
    some = thinned(values)
    return len(some) > FEWEST_UNIQUE and len(np.unique(some)) == len(some)


def _is_constant(values: FloatArray, dtype: frames.Dtype) -> bool:
    noise = 0.0 if dtype.is_exact else ROUNDING * np.abs(values).max()
    return bool(values.max() / 2.0 - values.min() / 2.0 <= noise / 2.0)  # halved: the range itself may overflow


def _refuse_wide(values: FloatArray, name: Hashable) -> None:
    """Raise ValueError where differences and multiples of values would overflow."""
    if max(-values.min(), values.max()) > WIDEST:
        raise ValueError(
            f"Column {name!r} ranges from {values.min():g} to {values.max():g}. The values of a column that varies "
            f"must not exceed {WIDEST:g} in size: divide it by a constant, or mark broken cells as missing."
        )


def _exact_extent(table: Table, j: int, used: NDArray[np.bool_], values: FloatArray) -> dict[str, int]:
    """The range of a frame's integers that floats cannot tell apart."""
    if not table.dtypes[j].is_integer or np.abs(values).max() < EXACT:
        return {}
    low, high = table.extent(j, np.flatnonzero(used))
    return {"low": low, "high": high}


def _step(values: FloatArray, steps: tuple[float, ...]) -> float | None:
    """The first of some steps, the largest, that all values are multiples of; None where there is none."""
    return next((step for step in steps if _are_multiples(values[:FIRST], step) and _are_multiples(values, step)), None)


def _are_multiples(values: FloatArray, step: float) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(to_multiples(values, step), values)


def _shares(values: FloatArray, weight: FloatArray, atoms: tuple[float, ...]) -> tuple[float, ...]:
    """How much of the weight is no atom, and each atom; what is no atom has at least one row's worth."""
    each = [float(weight[values == atom].sum()) for atom in atoms]
    rest = max(float(weight.sum()) - sum(each), float(weight.mean()))
    total = rest + sum(each)
    return (rest / total, *(mass / total for mass in each))


def _scaled(values: FloatArray, weight: FloatArray, told: dict[str, Any], marginals: str) -> Number:
    """Location, scale and what the encoder sees, of the values that are no atoms (of all where these are too few)."""
    kind, codec = KINDS[told["kind"]], Atomic if "atoms" in told else Number
    rest = ~np.isin(values, told.get("atoms", ()))
    bend = kind.bend if told.get("log_above") is None else logarithm_above(told["log_above"])
    if bend is not None:
        bent = bend.into(values)
        there = ~np.isnan(bent)
        values, weight, rest = bent[there], weight[there], rest[there]
    dense, of_dense = (values[rest], weight[rest]) if _varies(values[rest]) else (values, weight)
    scaling = kind.scaling(dense, of_dense)
    told |= {"location": scaling.location, "scale": scaling.scale, "n_values": len(dense)}
    encoded, encoded_dense = ((x - scaling.location) / scaling.scale for x in (values, dense))
    if marginals == "normal" and kind.is_scaled and bend is None:
        quantiles = weighted_quantiles(thinned(encoded_dense), thinned(of_dense), tuple(PROBABILITIES))
        scores = normal_scores(quantiles)
        if codec is Number:  # the scores are standard normal
            return Number(**told, normal_scores=scores, centre=0.0, width=1.0, mean=0.0)
        told |= {"normal_scores": scores}
        encoded = scores.encode(encoded)
    seen = kind.seen(encoded)
    spread = scaling.spread if seen is encoded and codec is Number else float(seen.std())
    centre, width = robust_scaling(seen, weight, spread)
    return codec(**told, centre=centre, width=width, mean=scaling.mean)


def _varies(values: FloatArray) -> bool:
    return len(values) > 1 and bool(np.ptp(values) > ROUNDING * np.abs(values).max())
