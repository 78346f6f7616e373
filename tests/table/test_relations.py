"""Columns that another one determines: found where every row says so, drawn, filled and asked for accordingly."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._table.relations import Relation

N = 400
QUICK = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "random_state": 0}


def vae(**parameters):
    return VAETransformer(**(QUICK | {"n_train_samples": 1} | parameters))


def table(n=N, seed=0):
    rng = np.random.default_rng(seed)
    town = rng.choice(["Rome", "Milan", "Oslo", "Bern"], n, p=[0.4, 0.2, 0.2, 0.2])
    grade = rng.integers(1, 4, n)
    return pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "town": town,
            "land": pd.Series(town).map({"Rome": "Italy", "Milan": "Italy", "Oslo": "Norway", "Bern": "Switzerland"}),
            "north": town == "Oslo",
            "grade": grade,
            "named": pd.Categorical.from_codes(grade - 1, ["first", "second", "third"], ordered=True),
            "free": rng.choice(["a", "b"], n),
        }
    )


def named(schema):
    names = [column.name for column in schema.columns]
    return {(names[relation.source], names[relation.target]) for relation in schema.relations}


@pytest.fixture(scope="module")
def fitted():
    return vae().fit(table())


def keeps(rows):
    land = {"Rome": "Italy", "Milan": "Italy", "Oslo": "Norway", "Bern": "Switzerland"}
    grades = dict(zip([1, 2, 3], ["first", "second", "third"], strict=True))
    return (
        (rows["land"] == rows["town"].map(land))
        & (rows["north"] == (rows["town"] == "Oslo"))
        & (rows["named"].astype(object) == rows["grade"].map(grades))
    )


def test_each_target_has_one_source_that_is_no_target(fitted):
    assert named(fitted.schema_) == {("town", "land"), ("town", "north"), ("grade", "named")}


def test_draws_keep_them_all(fitted):
    rows = fitted.sample(1000, random_state=0)
    assert keeps(rows).all()
    assert (rows.dtypes == table().dtypes).all()
    assert set(rows["town"]) == set(table()["town"])


def test_polars_frames_too():
    X = pl.from_pandas(table())
    rows = vae().fit(X).sample(200, random_state=0)
    assert rows.schema == X.schema
    assert ((rows["town"] == "Oslo") == rows["north"]).all()


@pytest.mark.parametrize("broken", [0, 1, N - 1])
def test_one_row_that_differs_ends_a_relation(broken):
    X = table()
    X.loc[broken, "land"] = "Norway" if X["land"][broken] != "Norway" else "Italy"
    assert ("town", "land") not in named(vae().fit(X).schema_)


def test_one_row_of_a_long_table_does_so_too():
    X = table(50_000)
    assert ("town", "land") in named(vae(max_iter=1).fit(X).schema_)
    X.loc[1, "land"] = "Norway" if X["land"][1] != "Norway" else "Italy"  # not among those that are looked at
    assert ("town", "land") not in named(vae(max_iter=1).fit(X).schema_)


@pytest.mark.parametrize("seed", range(5))
def test_chance_makes_none(seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({f"c{j}": rng.choice(list("abcdefgh"[: 2 + j]), 60) for j in range(5)})
    X["rare"] = np.where(np.arange(60) == 7, "odd", "even")
    X["x"] = rng.normal(size=60)
    assert named(vae().fit(X).schema_) == set()


def test_few_rows_a_value_are_no_evidence():
    X = pd.DataFrame(
        {"code": np.repeat([f"k{i:02}" for i in range(12)], 2), "x": np.random.default_rng(0).normal(size=24)}
    )
    X["side"] = np.repeat(["l", "r"] * 6, 2)
    assert named(vae().fit(X).schema_) == set()
    more = pd.concat([X] * 10, ignore_index=True)
    assert named(vae().fit(more).schema_) == {("code", "side")}


def test_missing_cells_say_nothing():
    X = table()
    X.loc[::3, "land"] = None
    X.loc[1::5, "town"] = None
    model = vae().fit(X)
    assert ("town", "land") in named(model.schema_)
    rows = model.sample(500, random_state=0)
    both = rows["town"].notna() & rows["land"].notna()
    assert keeps(rows[both].assign(named=rows["named"], grade=rows["grade"]))[both].all()


def test_arrays_are_not_looked_at():
    X = table()[["size", "grade"]].assign(double=lambda X: 2 * X["grade"]).to_numpy(dtype=float)
    assert vae().fit(X).schema_.relations == ()


def test_what_other_cells_determine_is_filled_so():
    X = table()
    holes = X.astype({"grade": "Int64", "north": "boolean"})
    holes.loc[::4, "land"] = None
    holes.loc[1::4, "named"] = None
    holes.loc[2::4, "grade"] = pd.NA  # by the inverse
    filled = VAEImputer(vae(), n_importance_samples=20, random_state=0).fit_transform(holes)
    assert (filled["land"] == X["land"]).all()
    assert (filled["named"].astype(object) == X["named"].astype(object)).all()
    assert (filled["grade"] == X["grade"]).all()
    for draw in VAEImputer(vae(), n_importance_samples=20, random_state=0).fit(holes).draw(holes, 2, random_state=0):
        assert (draw["land"] == X["land"]).all()


def test_an_odd_cell_is_completed_as_the_others_say():
    X = table()
    detector = VAEOutlierDetector(estimator=vae(max_iter=100), random_state=0).fit(X)
    odd = X.iloc[:30].copy()
    odd["land"] = "Norway"
    odd["north"] = odd["town"] == "Oslo"
    rows = odd[(X["land"][:30] != "Norway")]
    shares = detector.explain(rows).shares
    worst = shares.idxmin(axis=1) == "land"
    mended = detector.complete(rows)
    assert worst.mean() > 0.5
    assert (mended["land"][worst] == X["land"][rows.index][worst]).all()


def test_a_condition_on_one_end_holds_for_the_other(fitted):
    rows = fitted.sample(50, given={"town": "Milan", "named": "third"}, random_state=0)
    assert set(rows["land"]) == {"Italy"}
    assert set(rows["grade"]) == {3}
    rows = fitted.sample(200, given={"land": "Italy"}, random_state=0)  # of which there are two towns
    assert set(rows["town"]) == {"Rome", "Milan"}
    assert keeps(rows).all()
    partial = pd.DataFrame({"town": ["Oslo", None], "grade": [2.0, None]})
    rows = fitted.sample(3, given=partial, random_state=0)
    assert keeps(rows).all()
    assert list(rows["land"][:3]) == ["Norway"] * 3


def test_conditions_that_contradict_one_another_are_an_error(fitted):
    with pytest.raises(
        ValueError, match=r"'Norway' in column 'land' beside 'Rome' in column 'town', with which all .*'It"
    ):
        fitted.sample(given={"town": "Rome", "land": "Norway"})
    assert len(fitted.sample(2, given={"town": "Rome", "land": "Italy"}, random_state=0)) == 2


def test_the_summary_says_so(fitted):
    hints = fitted.summary()["hint"]
    assert hints["land"] == "column 'town' determines it: draws and fillings keep to that"
    assert hints["named"].startswith("column 'grade' determines it")
    assert "column 'town' determines it" in repr(fitted.schema_).replace("\n", " ") or "determines" in repr(
        fitted.schema_
    )


def test_a_pickle_keeps_them(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert again.schema_ == fitted.schema_
    pd.testing.assert_frame_equal(again.sample(20, random_state=0), fitted.sample(20, random_state=0))


def test_told_and_inverse():
    relation = Relation(0, 1, (0.0, 1.0, 3.0), (5.0, 4.0, 6.0))
    np.testing.assert_array_equal(
        relation.told(np.array([3.0, 2.0, 0.0, np.nan, 9.0])), [6.0, np.nan, 5.0, np.nan, np.nan]
    )
    assert relation.inverse == Relation(1, 0, (4.0, 5.0, 6.0), (1.0, 0.0, 3.0))
    assert Relation(0, 1, (0.0, 1.0), (2.0, 2.0)).inverse is None
    assert Relation(0, 1, (0.0, 1.0), (2.0, 2.0)).keys_of(2.0) == (0.0, 1.0)


def test_many_columns_take_no_time():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({f"c{j}": rng.choice(["a", "b", "c"], 5000) for j in range(120)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert vae(max_iter=1).fit(X).schema_.relations == ()


@pytest.mark.parametrize("go_on", ["partial_fit", "warm start"])
def test_further_rows_that_break_a_relation_or_a_rule_end_it(go_on):
    X = table().assign(paid=lambda X: np.where(X["north"], np.nan, X["size"]))
    model = vae(warm_start=go_on == "warm start")
    fit = model.fit if go_on == "warm start" else model.partial_fit
    fit(X)
    assert ("town", "land") in named(model.schema_)
    assert model.schema_.rules
    before = model.schema_
    fit(X)
    assert (model.schema_.relations, model.schema_.rules) == (before.relations, before.rules)
    broken = X.assign(land="Italy", paid=1.0)
    fit(broken)
    assert named(model.schema_) == {("town", "north"), ("grade", "named")}
    sources = {X.columns[rule.source] for rule in model.schema_.rules if rule.is_missing}
    assert sources <= {"land"}  # of whose Norway the further rows say nothing


# -- two columns that determine a third --------------------------------------------------------------------------------


def family(n=600, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"siblings": rng.poisson(0.4, n), "parents": rng.poisson(0.3, n), "fare": rng.normal(size=n)})
    X["port"] = pd.Categorical(rng.choice(["Cherbourg", "Cobh"], n))
    return X.assign(alone=(X["siblings"] + X["parents"]) == 0)


def quick(X, **parameters):
    options = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "random_state": 0}
    return VAETransformer(**(options | parameters)).fit(X)


def wrong(rows):
    return int((rows["alone"] != (rows["siblings"] + rows["parents"] == 0)).sum())


def test_draws_keep_what_two_columns_say():
    X = family()
    model = quick(X)
    names = list(X)
    assert [([names[j] for j in own.sources], names[own.target]) for own in model.schema_.pairs] == [
        (["siblings", "parents"], "alone")
    ]
    assert model.summary().loc["alone", "hint"].startswith("columns 'siblings' and 'parents' determine it")
    drawn = model.sample(1000, random_state=0)
    seen = set(zip(X["siblings"], X["parents"], strict=True))
    assert wrong(drawn[drawn[["siblings", "parents"]].apply(tuple, axis=1).isin(seen)]) == 0
    again = pickle.loads(pickle.dumps(model))
    assert again.schema_ == model.schema_


def test_conditions_and_what_two_columns_say():
    model = quick(family())
    for given in ({"alone": True}, {"alone": False, "siblings": 0}, {"siblings": 0, "parents": 0}):
        drawn = model.sample(40, given=given, random_state=0)
        assert wrong(drawn) == 0
        assert all((drawn[name] == value).all() for name, value in given.items())
    with pytest.raises(ValueError, match="is not what columns 'siblings' and 'parents' have beside them"):
        model.sample(5, given={"alone": True, "siblings": 1, "parents": 0})


def test_fillings_keep_what_two_columns_say():
    X = family()
    holes = X.astype({"alone": object})
    holes.loc[::3, "alone"] = None
    filled = VAEImputer(quick(X), random_state=0).fit(X).transform(holes.astype({"alone": "boolean"}))
    assert wrong(filled) == 0


def test_further_rows_end_what_two_columns_say():
    model = VAETransformer(random_state=0).partial_fit(family())
    assert model.schema_.pairs
    model.partial_fit(family(seed=1).assign(alone=True))
    assert not model.schema_.pairs


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_chance_are_told_by_no_two(seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({f"c{i}": pd.Categorical(rng.choice(list("abcdefgh"), 150)) for i in range(8)})
    X["rare"] = pd.Categorical(np.where(np.arange(150) < 3, "yes", "no"))
    assert not quick(X).schema_.pairs
