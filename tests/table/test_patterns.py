"""Rules that say which cells are missing: found where all rows keep them, and only where that is no chance."""

import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer
from skvae._table.patterns import Rule

N = 400
RNG = np.random.default_rng(0)


def base(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "town": rng.choice(["Rome", "Oslo", "Bern"], n, p=[0.5, 0.3, 0.2]),
            "flag": rng.random(n) < 0.4,
            "count": rng.integers(0, 4, n),
            "target": rng.normal(size=n),
        }
    )


def rules_of(frame, **parameters):
    quick = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 1, "early_stopping": False, "random_state": 0}
    schema = VAETransformer(**(quick | parameters)).fit(frame).schema_
    names = list(frame.columns)
    told = set()
    for rule in schema.rules:
        source = schema.columns[rule.source]
        value = (rule.low, rule.high) if source.levels is None else source.levels.values[int(rule.low)]
        told.add((names[rule.source], value, names[rule.target], rule.is_missing))
    return told


def test_a_level_under_which_a_cell_is_always_missing():
    X = base()
    X.loc[X["town"] == "Oslo", "target"] = np.nan
    told = rules_of(X)
    assert ("town", "Oslo", "target", True) in told
    assert ("town", "Rome", "target", False) in told
    assert ("town", "Bern", "target", False) in told
    assert {target for _, _, target, _ in told} == {"target"}


def test_a_truth_value_and_an_atom():
    X = base()
    X.loc[~X["flag"], "target"] = np.nan
    assert ("flag", (0.0, 0.0), "target", True) in rules_of(X)
    assert ("flag", (1.0, 1.0), "target", False) in rules_of(X)
    X = base()
    X.loc[X["count"] == 0, "target"] = np.nan
    assert ("count", (0.0, 0.0), "target", True) in rules_of(X)
    assert ("count", (2.0, 2.0), "target", False) in rules_of(X)


def test_numbers_on_one_side_of_a_value():
    X = base()
    X.loc[X["size"] > 0.5, "target"] = np.nan
    told = rules_of(X)
    edge = X["size"][X["size"] > 0.5].min()
    assert ("size", (edge, np.inf), "target", True) in told
    assert ("size", (-np.inf, X["size"][X["size"] <= 0.5].max()), "target", False) in told


@pytest.mark.parametrize("seed", range(10))
def test_cells_missing_at_random_make_no_rule(seed):
    X = base(seed=seed)
    X.loc[np.random.default_rng(100 + seed).random(N) < 0.2, "target"] = np.nan
    X.loc[np.random.default_rng(200 + seed).random(N) < 0.02, "size"] = np.nan
    assert rules_of(X) == set()


def test_one_row_that_breaks_it_ends_a_rule_of_a_long_table_too():
    X = base(50_000)
    X.loc[X["town"] == "Oslo", "target"] = np.nan
    assert ("town", "Oslo", "target", True) in rules_of(X)
    broken = X.copy()
    broken.loc[broken.index[broken["town"] == "Oslo"][1], "target"] = 1.0  # not among those that are looked at
    assert ("town", "Oslo", "target", True) not in rules_of(broken)
    assert ("town", "Rome", "target", False) in rules_of(broken)


def test_few_rows_are_no_evidence():
    X = base()
    X["town"] = np.where(np.arange(N) < 9, "rare", X["town"])
    X.loc[X["town"] == "rare", "target"] = np.nan
    assert not any(value == "rare" for _, value, _, _ in rules_of(X))


def test_nothing_is_looked_for_where_nobody_asks():
    X = base()
    X.loc[X["town"] == "Oslo", "target"] = np.nan
    assert rules_of(X, missingness=None) == set()
    assert rules_of(base()) == set()


def test_rules_decide_which_drawn_cells_are_holes():
    values = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [np.nan, 5.0]])
    holes = np.array([[False, True]] * 4)
    Rule(0, 1, 1.0, 1.0, False).apply(values, holes)
    Rule(0, 1, -np.inf, 0.5, True).apply(values, holes)
    np.testing.assert_array_equal(holes[:, 1], [True, False, True, True])


def test_no_source_is_itself_missing():
    X = base()
    X.loc[X["town"] == "Oslo", "target"] = np.nan
    X.loc[3, "town"] = None
    assert not any(source == "town" for source, *_ in rules_of(X))
