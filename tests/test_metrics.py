"""The measures of drawn rows: their formulas, any frame, floors, and what they say when they cannot."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import ks_2samp

from skvae import VAETransformer, metrics
from skvae.metrics import (
    column_errors,
    detection_auc,
    nearness_to_training,
    noise_floor,
    pair_errors,
    share_of_copies,
    synthetic_report,
    utility_scores,
)
from skvae.metrics._errors import correlations, kolmogorov_smirnov, total_variation
from skvae.metrics._nearness import _moments, _nearest

LEVELS = ["low", "mid", "high"]


def mixed(n=300, seed=0, missing=0.1):
    """A frame of every kind of column; `link` goes with x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "x": x,
            "count": pd.array(rng.poisson(3, n), dtype="Int64"),
            "link": pd.Categorical.from_codes(np.digitize(x, [-0.5, 0.5]), LEVELS, ordered=True),
            "colour": pd.Categorical(rng.choice(["red", "blue"], n)),
            "town": rng.choice(["Rome", "Oslo", "Bern"], n),
            "flag": pd.array(x > 0.0, dtype="boolean"),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            "stay": pd.to_timedelta(rng.integers(1, 50, n), unit="h"),
            "mail": [f"person{i + 1000 * seed}@example.org" for i in range(n)],
        }
    )
    return frame.mask(rng.random(frame.shape) < missing)


def number_and_level(numbers, levels):
    return pd.DataFrame({"x": numbers, "level": pd.Categorical(levels, ["a", "b", "c"])})


def trained(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return number_and_level(rng.normal(size=n), rng.choice(list("abc"), n))


# -- columns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("real", "other", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], 0.0),
        ([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0], 0.5),
        ([0.0, 0.0], [1.0, 1.0, 1.0], 1.0),
        ([1.0, 2.0, np.nan, np.nan], [1.0, 1.0, 2.0, 2.0], 0.5),  # missing cells are above all
        ([np.nan, np.nan], [np.nan], 0.0),
    ],
)
def test_kolmogorov_smirnov(real, other, expected):
    assert kolmogorov_smirnov(np.array(real), np.array(other)) == pytest.approx(expected)


def test_kolmogorov_smirnov_is_that_of_scipy():
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=200).round(1), rng.normal(0.3, 1.2, size=150).round(1)
    assert kolmogorov_smirnov(real, other) == pytest.approx(ks_2samp(real, other).statistic)
    assert column_errors(real[:, None], other[:, None])[0] == pytest.approx(ks_2samp(real, other).statistic)


def test_total_variation_counts_missing_cells_as_a_level():
    real, other = np.array([0.0, 0.0, 1.0, np.nan]), np.array([0.0, 1.0, 1.0, 2.0])
    assert total_variation(real, other) == pytest.approx(0.5 * (0.25 + 0.25 + 0.25 + 0.25))
    assert total_variation(real, real[::-1]) == 0.0
    assert total_variation(1e6 * real, 1e6 * other) == total_variation(real, other)  # codes that are far apart


def test_observed_errors_do_not_see_missing_cells():
    real = number_and_level([1.0, 2.0], ["a", "b"])
    drawn = number_and_level([1.0, np.nan, 2.0], [None, None, None])
    assert column_errors(real, drawn).tolist() == pytest.approx([1.0 / 3.0, 1.0])
    assert column_errors(real, drawn, observed=True).tolist() == pytest.approx([0.0, 1.0])
    assert column_errors(drawn, drawn, observed=True).tolist() == [0.0, 0.0]


def test_a_level_that_real_rows_lack_is_no_missing_cell():
    real, drawn = pd.DataFrame({"town": ["Rome", "Rome", None, None]}), pd.DataFrame({"town": ["Rome", "Oslo"] * 2})
    assert column_errors(real, drawn)["town"] == 0.5
    assert column_errors(real, drawn.replace("Oslo", None))["town"] == 0.0


# -- pairs -------------------------------------------------------------------------------------------------------------


def test_pairs_of_numbers_are_half_the_difference_of_correlations():
    x = np.linspace(-1.0, 1.0, 20)
    real, mirrored, constant = (np.column_stack([x, y]) for y in (x, -x, 0.0 * x + 0.1))
    assert pair_errors(real, mirrored).loc[0, 1] == pytest.approx(1.0)
    assert pair_errors(real, constant).loc[0, 1] == pytest.approx(0.5)
    assert np.isnan(pair_errors(constant, real)).all(axis=None)


def test_correlations_are_those_of_pandas():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 6)) * [1.0, 1e-3, 1e9, 1.0, 1.0, 1.0] + 1e3
    table[rng.random(table.shape) < 0.3] = np.nan
    table[:, 5] = 7.0
    table[:100, 4], table[100:, 3] = np.nan, np.nan  # no row has both
    np.testing.assert_allclose(correlations(table), pd.DataFrame(table).corr(), atol=1e-9)


def test_pairs_beside_a_level_are_total_variations_of_ten_bins():
    x, level = np.arange(10.0), np.repeat(["a", "b"], 5)
    real = number_and_level(x, level)

    def error(numbers, levels):
        return pair_errors(real, number_and_level(numbers, levels)).loc["x", "level"]

    assert error(x, level[::-1]) == pytest.approx(1.0)
    assert error(x + 0.4 * (x == 0), level) == pytest.approx(0.0)  # the same bins
    assert error(np.where(x == 9, 99.0, x), level) == pytest.approx(0.0)  # the outer bins are open
    assert error(np.where(x == 9, np.nan, x), level) == pytest.approx(0.1)


def test_pair_errors_are_symmetric_under_the_names():
    real, drawn = mixed(), mixed(200, 1)
    errors = pair_errors(real, drawn)
    assert list(errors) == list(errors.index) == list(real.columns[:-1])
    np.testing.assert_array_equal(errors, errors.T)
    np.testing.assert_array_equal(np.isnan(errors), np.eye(8, dtype=bool))
    assert errors.max(axis=None) < 0.4


def test_many_levels_by_many_levels():
    n = 20_000
    rng = np.random.default_rng(0)
    real = pd.DataFrame({name: rng.integers(0, n // 3, n).astype(str) for name in "ab"}).astype("category")
    assert pair_errors(real, real[::-1]).loc["a", "b"] == 0.0
    assert pair_errors(real, real.assign(b="new")).loc["a", "b"] == 1.0


# -- SDMetrics ---------------------------------------------------------------------------------------------------------


def test_without_missing_cells_the_errors_are_those_of_sdmetrics():
    pytest.importorskip("sdmetrics", reason="SDMetrics needs pandas < 3")
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement

    kept = ["x", "count", "colour", "town", "link"]
    plain = {"count": "int64", "colour": object, "town": object, "link": object}
    real, drawn = (mixed(*sizes, missing=0.0)[kept].astype(plain) for sizes in ((300,), (200, 1)))
    columns, pairs = column_errors(real, drawn), pair_errors(real, drawn)
    for name in kept:
        theirs = KSComplement if name in ("x", "count") else TVComplement
        assert columns[name] == pytest.approx(1.0 - theirs.compute(real[name], drawn[name]))
    for a, b in combinations(kept, 2):
        numbers = [name for name in (a, b) if name in ("x", "count")]
        options = {} if len(numbers) == 2 else {"continuous_column_names": numbers}
        theirs = CorrelationSimilarity if len(numbers) == 2 else ContingencySimilarity
        score = theirs.compute(real[[a, b]].copy(), drawn[[a, b]].copy(), **options)
        assert pairs.loc[a, b] == pytest.approx(1.0 - score)


# -- the floor ---------------------------------------------------------------------------------------------------------


def test_floor_is_the_error_of_rows_drawn_anew():
    real = mixed()
    rng = np.random.default_rng(1)
    redraws = [real.iloc[rng.integers(0, len(real), 500)] for _ in range(20)]
    floor = noise_floor(real, 500, n_redraws=20, random_state=0)
    columns = [column_errors(real, redraw) for redraw in redraws]
    assert floor.columns.mean() == pytest.approx(np.mean(columns), rel=0.1)
    assert list(floor.columns.index) == list(columns[0].index)
    pairs = [pair_errors(real, redraw) for redraw in redraws]
    assert np.nanmean(floor.pairs) == pytest.approx(np.nanmean(pairs), rel=0.1)
    between_levels = np.mean([table.loc["link", "town"] for table in pairs])
    assert floor.pairs.loc["link", "town"] == pytest.approx(between_levels, rel=0.3)


def test_floor_falls_with_the_root_of_the_rows():
    floors = [noise_floor(mixed(), n, n_redraws=20, random_state=0).columns.mean() for n in (100, 1600)]
    assert floors[0] / floors[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("options", [{"n_drawn": 0}, {"n_redraws": 0}])
def test_floor_of_nothing(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        noise_floor(np.eye(3), **options)


# -- what models learn -------------------------------------------------------------------------------------------------


def test_utility_scores_unseen_levels_as_chance():
    x = np.random.default_rng(0).normal(size=300)
    real = number_and_level(x, np.where(x > 0, "a", "b"))
    learnt = utility_scores(real, real, real[x > 0], "level", random_state=0)
    assert learnt.real > 0.99
    assert learnt.drawn == 0.5
    assert learnt.scoring == "roc_auc"
    line = np.column_stack([x, 2.0 * x])
    learnt = utility_scores(line, line, line[::-1] * [1.0, -1.0], 1, random_state=0)
    assert learnt.real > 0.95 > 0.0 > learnt.drawn
    assert learnt.scoring == "r2"


def test_utility_with_missing_targets_and_many_levels():
    rng = np.random.default_rng(0)
    town = rng.permutation(np.concatenate([np.arange(400), rng.geometric(0.05, 4000)]))
    real = pd.DataFrame({"town": pd.Categorical(town.astype(str)), "rich": pd.array(town % 2 == 0, dtype="boolean")})
    real.loc[::5, "rich"] = pd.NA
    learnt = utility_scores(real[:3000], real[3000:], real[:2000], "rich", random_state=0)
    assert min(learnt.drawn, learnt.real) > 0.9
    assert detection_auc(real, real.assign(town="new"), random_state=0) > 0.95


def test_training_rows_are_at_most_as_many_as_asked():
    real = trained(1000)
    few = detection_auc(real, real.assign(x=real["x"] + 0.5), max_samples=200, random_state=0)
    assert few != detection_auc(real, real.assign(x=real["x"] + 0.5), random_state=0)
    assert few == detection_auc(real, real.assign(x=real["x"] + 0.5), max_samples=200, random_state=0)


def test_detection_tells_a_shift_from_none():
    real, fresh = trained(500), trained(400, 1)
    assert detection_auc(real, fresh.assign(x=fresh["x"] + 3.0), random_state=0) > 0.95
    assert detection_auc(real, fresh, random_state=0) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", r"target='nothing' is no column of X: choose one of \['x', 'count'"),
        ("mail", "'mail' is text that only names rows"),
    ],
)
def test_unknown_targets(target, message):
    with pytest.raises(ValueError, match=message):
        utility_scores(mixed(), mixed(50, 1), mixed(50, 2), target)


def test_targets_of_which_too_little_is_known():
    real = trained()
    with pytest.raises(ValueError, match="X_drawn has 0 rows in which 'level' is observed"):
        utility_scores(real, real, real.assign(level=pd.Categorical([None] * 400, list("abc"))), "level")
    with pytest.raises(ValueError, match="All rows of X_test have the same level"):
        utility_scores(real, real[real["level"] == "a"], real, "level")


def test_detection_of_too_few_rows():
    with pytest.raises(ValueError, match=r"Detection needs 3 rows of each\. Got 3 of X and 2 of X_drawn"):
        detection_auc(np.eye(3), np.eye(3)[:2])


# -- copies ------------------------------------------------------------------------------------------------------------


def test_nearness_knows_a_copy_from_a_new_row():
    train, test, fresh = trained(), trained(seed=1), trained(seed=2)

    def nearness(test, drawn):
        return nearness_to_training(train, test, drawn, random_state=0)

    assert nearness(test, train) == 1.0
    assert nearness(test, test) == 0.0
    assert nearness(test, fresh) == pytest.approx(0.5, abs=0.1)
    assert nearness(train[::-1], fresh) == 0.5  # ties count half


def test_more_training_rows_are_not_nearer():
    train, few, fresh = trained(2000), trained(200, 1), trained(500, 2)
    assert nearness_to_training(train, few, fresh, random_state=0) == pytest.approx(0.5, abs=0.1)
    assert nearness_to_training(few, train, fresh, random_state=0) == pytest.approx(0.5, abs=0.1)


def test_distances_add_levels_and_numbers():
    train = np.array([[0.0, 0.0], [2.0, np.nan]])
    asked = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, np.nan], [np.nan, 0.0]])
    squared = [_nearest(row[None], train[:1], np.array([False, True]), *_moments(train))[0] for row in asked]
    np.testing.assert_allclose(squared, [1.0, 1.0, 1.0, 2.0])  # the last: one from the mean, and missing


def test_the_nearest_of_many_rows_is_found(monkeypatch):
    train, asked = np.random.default_rng(0).normal(size=(50, 3)), np.random.default_rng(1).normal(size=(20, 3))
    numbers = np.zeros(3, dtype=bool)
    at_once = _nearest(asked, train, numbers, np.zeros(3), np.ones(3))
    monkeypatch.setattr("skvae.metrics._nearness.CHUNK", 7)
    np.testing.assert_array_equal(_nearest(asked, train, numbers, np.zeros(3), np.ones(3)), at_once)


def test_copies_are_whole_rows():
    train = np.array([[1.0, np.nan], [0.0, 2.0]])
    rows = np.array([[1.0, np.nan], [-0.0, 2.0], [1.0, 2.0], [0.0, np.nan]])
    assert share_of_copies(train, rows) == 0.5


def test_a_name_does_not_hide_a_copy():
    real = mixed()
    assert share_of_copies(real, real.assign(mail=None)) == 1.0
    assert share_of_copies(real, mixed(200, 1)) == 0.0


# -- any frame ---------------------------------------------------------------------------------------------------------


def as_polars(frame):
    return pl.from_pandas(frame).with_columns(pl.col("link").cast(pl.Enum(LEVELS)))


def test_any_frame_beside_any_other():
    of_no_order = {"link": pd.CategoricalDtype(LEVELS)}  # as those of an Enum
    real, drawn, test = (mixed(*rows).astype(of_no_order) for rows in ((300,), (200, 1), (100, 2)))

    def all_measures(real, drawn, test):
        report = synthetic_report(real, drawn, X_test=test, target="link", random_state=0)
        return [report.summary.drop(columns="reference_is"), report.columns, report.pairs, report.pair_floors]

    expected = all_measures(real, drawn, test)
    for frames in (
        (as_polars(real), as_polars(drawn), as_polars(test)),
        (real, as_polars(drawn), test[test.columns[::-1]]),
    ):
        for table, other in zip(all_measures(*frames), expected, strict=True):
            pd.testing.assert_frame_equal(table, other.loc[table.index])


def test_arrays_are_matched_by_position():
    x = np.random.default_rng(0).normal(size=(100, 3))
    errors = column_errors(x, x.astype(np.float32).tolist())
    assert list(errors.index) == [0, 1, 2]
    assert errors.max() < 0.02
    assert column_errors(pd.DataFrame(x, columns=list("abc")), x).to_dict() == {"a": 0.0, "b": 0.0, "c": 0.0}
    assert column_errors(x > 0.0, x > 0.0).tolist() == [0.0, 0.0, 0.0]


def test_drawn_rows_of_a_model_are_read_without_a_word(light_vae):
    real = mixed()
    with pytest.warns(UserWarning, match="left out of the model"):
        vae = light_vae().fit(real)
    drawn = vae.sample(50, random_state=0)
    report = synthetic_report(real, drawn, random_state=0)
    assert report.left_out == ["mail"]
    assert "mail" not in report.columns.index
    assert report.columns["error"].max() < 0.6


def test_levels_of_whole_numbers_are_found_in_numbers():
    real = pd.DataFrame({"floor": pd.Categorical([1, 2, 2, 3])})
    assert column_errors(real, pd.DataFrame({"floor": [1.0, 2.0, 2.0, 3.0]}))["floor"] == 0.0


def test_a_column_without_a_value_may_have_any_dtype():
    real = mixed()
    nothing = {"x": pd.Series(None, real.index, dtype="str"), "day": None, "town": pd.NaT, "flag": np.nan}
    errors = column_errors(real, real.assign(**nothing))
    assert errors[["count", "link", "colour", "stay"]].max() == 0.0
    np.testing.assert_allclose(errors[list(nothing)], real[list(nothing)].notna().mean())
    assert column_errors(real.assign(x=np.nan), real.assign(x=np.nan))["x"] == 0.0


MEASURES = {
    "column_errors": column_errors,
    "pair_errors": pair_errors,
    "detection_auc": detection_auc,
    "share_of_copies": share_of_copies,
    "nearness_to_training": lambda X, X_drawn: nearness_to_training(X, X, X_drawn),
    "utility_scores": lambda X, X_drawn: utility_scores(X, X, X_drawn, "x"),
    "synthetic_report": synthetic_report,
}
each_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@each_measure
def test_columns_that_differ_are_named(measure):
    with pytest.raises(ValueError, match=r"X_drawn lacks \['colour'\]; X lacks \['shade'\]"):
        measure(mixed(), mixed(50, 1).rename(columns={"colour": "shade"}))


@each_measure
def test_no_rows(measure):
    with pytest.raises(ValueError, match=r"0 sample.* required by X_drawn"):
        measure(mixed(), mixed().iloc[:0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": "1"}, r"'x' holds numbers in X and text in X_drawn.*X_drawn.astype\(X.dtypes\)"),
        ({"day": 1.0}, "'day' holds dates in X and numbers in X_drawn"),
        ({"stay": pd.Timestamp("2024-01-01")}, "'stay' holds durations in X and dates in X_drawn"),
        ({"town": pd.Timestamp("2024-01-01")}, "'town' holds text in X and dates in X_drawn"),
        ({"flag": "yes", "colour": 1j}, r"'colour' holds categories .* values of dtype complex.*; 'flag' holds truth"),
    ],
)
def test_columns_that_hold_other_things(changed, message):
    with pytest.raises(TypeError, match=message):
        column_errors(mixed(), mixed(50, 1).assign(**changed))


def test_unreadable_real_columns_have_a_way_out():
    with pytest.raises(TypeError, match=r"'x' has dtype object and holds values of several types .*make them one type"):
        column_errors(mixed().assign(x=["a", 1.0, (2,)] * 100), mixed())


def test_nothing_but_names():
    with pytest.raises(ValueError, match=r"All columns of X hold text .*\['mail'\]"):
        column_errors(mixed()[["mail"]], mixed()[["mail"]])


def test_other_widths_and_sparse_rows():
    from scipy.sparse import csr_array

    with pytest.raises(ValueError, match="X_drawn has 2 columns and X 3"):
        column_errors(np.eye(3), np.eye(3)[:, :2])
    with pytest.raises(TypeError, match="Sparse data was passed"):
        column_errors(csr_array(np.eye(3)), np.eye(3))


# -- the report --------------------------------------------------------------------------------------------------------


def test_report_holds_what_the_functions_answer():
    real, drawn, test = mixed(), mixed(200, 1), mixed(100, 2)
    report = synthetic_report(real, drawn, X_test=test, target="flag", n_redraws=2, random_state=3)
    floor = noise_floor(real, 200, n_redraws=2, random_state=3)
    errors, pairs = column_errors(real, drawn), pair_errors(real, drawn)
    learnt = utility_scores(real, test, drawn, "flag", random_state=3)
    nearness = nearness_to_training(real, test, drawn, random_state=3)
    expected = {
        "column error": (errors.mean(), floor.columns.mean()),
        "worst column error": (errors.max(), floor.columns.max()),
        "pair error": (np.nanmean(pairs), np.nanmean(floor.pairs)),
        "detection AUC": (detection_auc(real, drawn, random_state=3), 0.5),
        "utility, ROC AUC": (learnt.drawn, learnt.real),
        "nearness to training": (nearness, 0.5),
        "copies": (share_of_copies(real, drawn), share_of_copies(real, test)),
    }
    assert list(report.summary.index) == list(expected)
    np.testing.assert_allclose(report.summary[["drawn", "reference"]], list(expected.values()))
    assert report.columns["error"].is_monotonic_decreasing
    columns = report.columns.loc[errors.index]
    pd.testing.assert_series_equal(columns["error"], errors)
    pd.testing.assert_series_equal(columns["floor"], floor.columns)
    observed = column_errors(real, drawn, observed=True)
    pd.testing.assert_series_equal(columns["observed_error"], observed, check_names=False)
    np.testing.assert_allclose(columns["missing"], real[errors.index].isna().mean())
    np.testing.assert_allclose(columns["missing_drawn"], drawn[errors.index].isna().mean())
    pd.testing.assert_frame_equal(report.pairs, pairs)
    pd.testing.assert_frame_equal(report.pair_floors, floor.pairs)


def test_report_is_a_table_for_people():
    report = synthetic_report(mixed(), mixed(200, 1), random_state=0)
    text = str(report)
    assert "column error" in text
    assert "held-out rows (none given)" in text
    assert "Columns:" in text
    assert text.endswith("Left out: mail")
    assert report._repr_html_().count("<table") == 2
    wide = np.random.default_rng(0).normal(size=(50, 12))
    assert "The 10 worst of 12 columns:" in str(synthetic_report(wide, wide, random_state=0))


def test_report_of_one_column_has_no_pairs():
    x = np.arange(30.0)[:, None]
    assert np.isnan(synthetic_report(x, x, random_state=0).summary.loc["pair error", "drawn"])


def test_a_target_without_rows_to_score_on():
    with pytest.raises(ValueError, match="target needs X_test"):
        synthetic_report(mixed(), mixed(), target="x")


def test_seeds_decide_and_streams_move_on():
    real, drawn = trained(), trained(seed=1)

    def summary(random_state):
        return synthetic_report(real, drawn, X_test=drawn, random_state=random_state).summary["drawn"].tolist()

    assert summary(1) == summary(1) == summary(np.int64(1))
    assert summary(np.random.RandomState(0)) == summary(np.random.RandomState(0))
    stream = np.random.RandomState(0)
    assert summary(stream) != summary(stream)


# -- the module --------------------------------------------------------------------------------------------------------


def test_importing_needs_neither_matplotlib_nor_torch():
    code = "import sys, skvae.metrics; print([m for m in ('matplotlib', 'torch', 'polars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_estimators_draw_rows_near_the_floor():
    real = mixed(1000).drop(columns="mail")
    drawn = VAETransformer(max_iter=30, early_stopping=False, random_state=0).fit(real).sample(1000, random_state=0)
    independent = real.apply(lambda column: column.sample(frac=1.0, random_state=len(column.name)).to_numpy())
    summary = synthetic_report(real, drawn, random_state=0).summary
    assert summary.loc["column error", "drawn"] < 3.0 * summary.loc["column error", "reference"]
    assert summary.loc["pair error", "drawn"] < np.nanmean(pair_errors(real, independent.astype(real.dtypes)))


def test_all_that_is_public_is_there():
    assert sorted(metrics.__all__) == metrics.__all__
    assert all(hasattr(metrics, name) for name in metrics.__all__)
