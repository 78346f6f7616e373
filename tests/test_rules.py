"""Rules that the user declares: kept by every draw and completion, checked on training rows."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import VAEImputer, VAEOutlierDetector, VAETransformer

RULES = [
    ("check_in", "<", "check_out"),
    ("city", "country"),
    ("total", "=", "net", "+", "tax"),
    ("low", "<=", "middle", "<=", "high"),
]
CITIES = {"FR": ["Paris", "Lyon"], "DE": ["Berlin", "Bonn"], "IT": ["Rome", "Pisa", "Bonn"]}  # two towns of one name
FAST = {"max_iter": 8, "early_stopping": False, "random_state": 0, "hidden_layer_sizes": (16,)}


def hotel(n: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    check_in = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D")
    stay = rng.geometric(0.3, n)
    country = rng.choice(list(CITIES), n)
    net = np.round(stay * rng.lognormal(4.5, 0.3, n), 2)
    tax = np.round(net * 0.1, 2)
    low = rng.normal(size=n)
    middle = low + np.where(rng.random(n) < 0.3, 0.0, rng.exponential(size=n))
    return pd.DataFrame(
        {
            "check_in": check_in,
            "check_out": check_in + pd.to_timedelta(stay, unit="D"),
            "country": pd.Categorical(country),
            "city": pd.Categorical([rng.choice(CITIES[own]) for own in country]),
            "net": net,
            "tax": tax,
            "total": net + tax,
            "low": low,
            "middle": middle,
            "high": middle + rng.exponential(size=n),
        }
    )


def breaks(rows: pd.DataFrame, train: pd.DataFrame) -> dict[str, int]:
    """How many complete rows break each rule."""
    seen = set(zip(train.city, train.country, strict=True))
    pairs = rows[["city", "country"]].dropna()
    sums = rows[["net", "tax", "total"]].dropna()
    return {
        "dates": int((rows.check_in >= rows.check_out).sum()),
        "cities": sum(pair not in seen for pair in zip(pairs.city, pairs.country, strict=True)),
        "sums": int((~np.isclose(sums.net + sums.tax, sums.total)).sum()),
        "chain": int((rows.low > rows.middle).sum() + (rows.middle > rows.high).sum()),
    }


NONE = {"dates": 0, "cities": 0, "sums": 0, "chain": 0}


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return hotel()


@pytest.fixture(scope="module")
def fitted(train: pd.DataFrame) -> VAETransformer:
    return VAETransformer(rules=RULES, **FAST).fit(train)


def test_draws_break_rules_that_nobody_declared(train: pd.DataFrame) -> None:
    """So that the tests below say something."""
    drawn = VAETransformer(**FAST).fit(train).sample(500, random_state=0)
    assert all(n > 0 for n in breaks(drawn, train).values())


@pytest.mark.parametrize("options", [{}, {"noise": False}, {"codes": "prior"}])
def test_draws_keep_rules(fitted: VAETransformer, train: pd.DataFrame, options: dict[str, object]) -> None:
    drawn = fitted.sample(1000, random_state=0, **options)
    assert breaks(drawn, train) == NONE
    assert (drawn.dtypes == train.dtypes).all()
    assert drawn.check_out.between(train.check_out.min(), train.check_out.max()).all()


def test_expectations_keep_rules(fitted: VAETransformer, train: pd.DataFrame) -> None:
    assert breaks(fitted.reconstruct(train), train) == NONE
    assert breaks(fitted.inverse_transform(fitted.transform(train)), train) == NONE


def test_the_difference_is_what_is_modelled(train: pd.DataFrame) -> None:
    """Stays of a geometric length within a year of arrivals: by itself a departure is known to some days only."""
    model = VAETransformer(rules=RULES, random_state=0).fit(train)
    days = lambda rows: (rows.check_out - rows.check_in).dt.days  # noqa: E731
    drawn = days(model.sample(2000, random_state=0))
    for n in (1, 2, 3):
        assert np.mean(drawn <= n) == pytest.approx(np.mean(days(train) <= n), abs=0.06)
    summary = model.summary()
    assert "difference to 'check_in'" in summary.loc["check_out", "hint"]
    ends = train.check_out.agg(["min", "max"]).dt.strftime("%Y-%m-%d")
    assert summary.loc["check_out", "bounds"] == tuple(ends)


@pytest.mark.filterwarnings("ignore:Every latent component is inactive")  # as the difference has nothing to do with it
def test_density_is_that_of_the_columns_as_they_are() -> None:
    """A shear has the slope 1: a linear Gaussian model finds the same density with and without it."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=4000)
    X = np.column_stack([a, a + 5.0 + rng.normal(scale=0.5, size=4000)])
    options = {"hidden_layer_sizes": (), "likelihood": "gaussian", "prior": "standard_normal", "atoms": None}
    plain = VAETransformer(n_components=1, random_state=0, **options).fit(X)
    ruled = VAETransformer(n_components=1, random_state=0, rules=[(0, "<", 1)], **options).fit(X)
    exact = -np.log(2 * np.pi * 0.5) - 1.0  # of two independent normal numbers, 1 and .5 wide
    assert plain.score(X) == pytest.approx(exact, abs=0.05)
    assert ruled.score(X) == pytest.approx(exact, abs=0.05)


def test_missing_cells_of_ruled_columns(train: pd.DataFrame) -> None:
    holes = train.mask(np.random.default_rng(1).random(train.shape) < 0.2)
    model = VAETransformer(rules=RULES, **FAST).fit(holes)
    drawn = model.sample(500, random_state=0)
    assert drawn.isna().to_numpy().any()
    assert breaks(drawn, train) == NONE
    assert breaks(model.sample(500, missing=False, random_state=0), train) == NONE
    assert np.isfinite(model.score_samples(holes)).all()


@pytest.mark.parametrize("options", [{}, {"strategy": "median"}, {"sample_posterior": True}])
def test_fillings_keep_rules(train: pd.DataFrame, options: dict[str, object]) -> None:
    holes = train.mask(np.random.default_rng(1).random(train.shape) < 0.3)
    filled = VAEImputer(rules=RULES, random_state=0, **options).fit(holes).transform(holes)
    assert breaks(filled, train) == NONE
    observed = holes.notna()
    assert filled.where(observed).equals(holes.astype(filled.dtypes))


def test_fillings_of_each_end_follow_the_other(train: pd.DataFrame) -> None:
    imputer = VAEImputer(rules=RULES, random_state=0).fit(train)
    for name in ("check_in", "check_out"):
        rows = train.copy()
        rows[name] = pd.NaT
        apart = (imputer.transform(rows).check_out - imputer.transform(rows).check_in).dt.days
        assert apart.between(1, (train.check_out - train.check_in).dt.days.max()).all()
    rows = train.copy()
    rows[["net", "tax"]] = np.nan
    assert breaks(imputer.transform(rows), train) == NONE


def test_completions_of_the_detector_keep_rules(train: pd.DataFrame) -> None:
    holes = train.mask(np.random.default_rng(1).random(train.shape) < 0.2)
    member = VAETransformer(rules=RULES, **FAST)
    detector = VAEOutlierDetector(estimator=member, random_state=0).fit(train)
    assert breaks(detector.complete(holes), train) == NONE


def test_members_share_their_rules(train: pd.DataFrame) -> None:
    members = [VAETransformer(rules=rules, **FAST) for rules in (RULES, None)]
    with pytest.raises(ValueError, match="must have the same rules"):
        VAEImputer(members).fit(train)
    with pytest.raises(ValueError, match="rules are for the models of estimator=None"):
        VAEImputer(members[0], rules=RULES).fit(train)


# -- given -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"check_in": pd.Timestamp("2024-06-01")},
        {"check_out": pd.Timestamp("2024-06-01")},
        {"check_in": pd.Timestamp("2024-06-01"), "check_out": pd.Timestamp("2024-06-04")},
        {"city": "Lyon"},
        {"country": "IT", "city": "Bonn"},
        {"total": 300.0},
        {"net": 200.0, "tax": 20.0},
        {"total": 300.0, "net": 270.0},
        {"middle": 0.5},
        {"high": 1.5},
        {"low": ("between", -1.0, 0.0), "high": ("between", 0.0, 1.0)},
        {"check_out": ("between", pd.Timestamp("2024-06-01"), pd.Timestamp("2024-06-20")), "country": "FR"},
    ],
)
def test_rows_under_a_condition_keep_rules(
    fitted: VAETransformer, train: pd.DataFrame, given: dict[str, object]
) -> None:
    drawn = fitted.sample(50, given=given, random_state=0)
    assert breaks(drawn, train) == NONE
    for name, value in given.items():
        if not isinstance(value, tuple):
            assert (drawn[name] == value).all()
        else:
            assert drawn[name].between(*value[1:]).all()


def test_a_condition_of_the_end_moves_the_start(fitted: VAETransformer) -> None:
    drawn = fitted.sample(50, given={"check_out": pd.Timestamp("2024-06-01")}, random_state=0)
    assert drawn.check_in.between(pd.Timestamp("2024-05-01"), pd.Timestamp("2024-05-31")).all()


def test_several_rows_given(fitted: VAETransformer, train: pd.DataFrame) -> None:
    given = train[["check_in", "country"]].head(3)
    assert breaks(fitted.sample(20, given=given, random_state=0), train) == NONE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 1.0, "high": 0.0}, r"breaks the rule \('low', '<=', 'middle', '<=', 'high'\)"),
        ({"low": 1.0, "middle": 0.0}, "breaks the rule"),
        ({"net": 100.0, "tax": 10.0, "total": 120.0}, r"breaks the rule \('total', '=', 'net', '\+', 'tax'\)"),
        ({"city": "Paris", "country": "DE"}, "stands together in no training row"),
        ({"low": ("between", 0.5, 1.0), "middle": slice(None, 0.0)}, "breaks the rule"),
    ],
)
def test_conditions_that_break_rules(fitted: VAETransformer, given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.sample(5, given=given)


# -- containers, and going on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays(dtype: type) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    X = np.column_stack([a, a + rng.exponential(size=300), a + b, b]).astype(dtype)
    X[:, 2] = X[:, 0] + X[:, 3]
    for bounds in ("training", None):
        model = VAETransformer(rules=[(0, "<=", 1), (2, "=", 0, "+", 3)], bounds=bounds, **FAST).fit(X)
        drawn = model.sample(500, random_state=0)
        assert (drawn[:, 0] <= drawn[:, 1]).all()
        assert drawn[:, 2] == pytest.approx(drawn[:, 0] + drawn[:, 3], abs=1e-5)


def test_polars(train: pd.DataFrame) -> None:
    rows = pl.from_pandas(train)
    drawn = VAETransformer(rules=RULES, **FAST).fit(rows).sample(200, random_state=0)
    assert drawn.schema == rows.schema
    assert breaks(drawn.to_pandas(), train) == NONE


def test_ordered_categories_and_integers() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 300)
    grades = pd.CategoricalDtype(["low", "middle", "high", "top"], ordered=True)
    code = first + rng.integers(0, 4 - first)
    rows = pd.DataFrame(
        {
            "before": pd.Categorical.from_codes(first, dtype=grades),
            "after": pd.Categorical.from_codes(code, dtype=grades),
            "n": rng.poisson(20.0, 300),
        }
    )
    rows["most"] = rows.n + 1 + rng.poisson(2.0, 300)
    for bounds in ("training", None):
        model = VAETransformer(rules=[("after", ">=", "before"), ("n", "<", "most")], bounds=bounds, **FAST).fit(rows)
        drawn = model.sample(500, random_state=0)
        assert (drawn.before.cat.codes <= drawn.after.cat.codes).all()
        assert (drawn.n < drawn.most).all()


def test_counts_keep_an_order_without_a_difference() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"goals": rng.poisson(2.0, 300)})
    rows["shots"] = rows.goals + rng.poisson(3.0, 300)
    model = VAETransformer(rules=[("goals", "<=", "shots")], likelihood="poisson", **FAST).fit(rows)
    assert not model.schema_.differences
    drawn = model.sample(500, random_state=0)
    assert (drawn.goals <= drawn.shots).all()


def test_combinations_of_many_levels() -> None:
    """Levels that are rare would else share a code, from which any of them may be drawn."""
    rng = np.random.default_rng(0)
    town = np.concatenate([np.arange(300), rng.integers(0, 300, 300)])
    rows = pd.DataFrame({"town": town.astype(str), "river": (town % 7).astype(str)}).astype("category")
    model = VAETransformer(rules=[("town", "river")], **FAST).fit(rows)
    drawn = model.sample(500, random_state=0).astype(str).astype(int)
    assert (drawn.town % 7 == drawn.river).all()


def test_summary_of_what_has_no_bounds() -> None:
    rows = pd.DataFrame({"first": pd.to_timedelta(np.arange(60), unit="h")})
    rows["second"] = rows["first"] + pd.Timedelta(hours=2) * np.arange(60)
    model = VAETransformer(rules=[("first", "<=", "second")], bounds=None, **FAST).fit(rows)
    assert model.summary().loc["second", "bounds"] is None


def test_durations_add_up() -> None:
    rows = hotel()[["check_in", "check_out"]]
    rows["stay"] = rows.check_out - rows.check_in
    rules = [("stay", "=", "check_out", "-", "check_in"), ("check_in", "<=", "check_out")]
    drawn = VAETransformer(rules=rules, **FAST).fit(rows).sample(300, random_state=0)
    assert (drawn.check_in + drawn.stay == drawn.check_out).all()
    assert (drawn.stay >= pd.Timedelta(0)).all()


def test_a_copy_of_a_model_keeps_them(fitted: VAETransformer) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert again.schema_ == fitted.schema_
    assert again.sample(20, random_state=0).equals(fitted.sample(20, random_state=0))


def test_further_rows(train: pd.DataFrame) -> None:
    model = VAETransformer(rules=RULES, random_state=0).partial_fit(train)
    more = train.head(50).assign(city=pd.Categorical(["Paris"] * 50), country=pd.Categorical(["DE"] * 50))
    more = more.astype({"city": train.city.dtype, "country": train.country.dtype})
    model.partial_fit(more)
    assert len(model.sample(5, given={"city": "Paris", "country": "DE"}, random_state=0)) == 5
    with pytest.raises(ValueError, match=r"\('check_in', '<', 'check_out'\) by 50"):
        model.partial_fit(train.head(50).assign(check_out=train.check_in))


# -- what cannot be declared -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ([("low", "<=", "hihg")], ValueError, r"names column\(s\) \['hihg'\] that X does not have"),
        ([("low", "=", "low")], ValueError, "names a column twice"),
        ([("high", "<=", "low")], ValueError, r"\('high', '<=', 'low'\) by 300"),
        ([("total", "=", "net")], ValueError, "by 300"),
        ([("total", "=", "net", "+", "tax")] * 2, ValueError, "twice what column 'total' adds up to"),
        ([("low",)], TypeError, "rules must be a list of tuples"),
        (["low <= high"], TypeError, "rules must be a list of tuples"),
        ([("low", "+", "high")], TypeError, "rules must be tuples such as"),
        ([("low", "<=", "high", "<=")], TypeError, "rules must be tuples such as"),
        ([("low", "<=", "middle", "=", "high")], TypeError, "rules must be tuples such as"),
        ([("city", "<=", "country")], TypeError, "ordered categories with the same levels"),
        ([("check_in", "<=", "net")], TypeError, "mixes kinds of columns"),
        ([("check_out", "=", "check_in")], ValueError, "by 300"),
        ([("net", "low")], TypeError, "more than 256 different numbers"),
    ],
)
def test_rules_that_cannot_be(train: pd.DataFrame, rules: list[object], error: type, message: str) -> None:
    for estimator in (VAETransformer(rules=rules, max_iter=1), VAEImputer(rules=rules)):
        with pytest.raises(error, match=message):
            estimator.fit(train)


def test_violations_are_counted_by_rule(train: pd.DataFrame) -> None:
    rows = train.copy()
    rows.loc[[5, 9], "check_out"] = rows.loc[[5, 9], "check_in"]
    rows.loc[7, "total"] += 1.0
    with pytest.raises(ValueError, match="Of 300 training rows") as caught:
        VAETransformer(rules=RULES, max_iter=1).fit(rows)
    assert "('check_in', '<', 'check_out') by 2 (the first of them row 5)" in str(caught.value)
    assert "('total', '=', 'net', '+', 'tax') by 1 (the first of them row 7)" in str(caught.value)


def test_sparse_rows_have_none() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.csr_array(np.random.default_rng(0).poisson(1.0, size=(30, 3)).astype(float))
    with pytest.raises(TypeError, match="cannot be declared of a sparse matrix"):
        VAETransformer(rules=[(0, "<=", 1)], likelihood="poisson", max_iter=1).fit(X)
