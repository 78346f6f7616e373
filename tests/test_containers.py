"""Users' tables of every kind: what goes in comes back in the same container, dtypes and range, by every estimator."""

import decimal
import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer

N = 60
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "random_state": 0}
RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(N, 2))
WHOLE = RNG.integers(0, 9, N)
LABELS = RNG.choice(list("xyz"), N)
GAPPY = np.where(np.arange(N) % 5 == 0, None, LABELS)
COINS = [None if i % 7 == 0 else decimal.Decimal(int(v)) / 4 for i, v in enumerate(WHOLE)]
HEAVY = RNG.standard_t(2, N)
PAIRS = [("a", 1) if i % 2 else ("b", 2) for i in range(N)]


def vae(**options):
    return VAETransformer(2, **{**QUICK, "n_importance_samples": 16, **options})


def imputer(**options):
    return VAEImputer(vae(), n_importance_samples=20, random_state=0, **options)


def detector(**options):
    return VAEOutlierDetector(estimator=vae(**options), random_state=0)


def pandas(column):
    return pd.DataFrame({"a": REAL[:, 0], "b": REAL[:, 1], "s": column})


def polars(column):
    return pl.DataFrame({"a": REAL[:, 0], "b": REAL[:, 1], "s": column})


def arrow(values, of):
    return pd.Series(values).astype(pd.ArrowDtype(of))


def categories(dtype, ordered=False):
    return pd.Series(pd.Categorical(GAPPY, categories=pd.Index(list("zyxw"), dtype=dtype), ordered=ordered))


FRAMES = {
    "sparse floats": pandas(pd.arrays.SparseArray(np.where(WHOLE < 5, 0.0, HEAVY), fill_value=0.0)),
    "sparse gaps": pandas(pd.arrays.SparseArray(np.where(WHOLE < 5, np.nan, HEAVY))),
    "sparse integers": pandas(pd.arrays.SparseArray(WHOLE.astype("int8"), fill_value=7)),
    "sparse flags": pandas(pd.arrays.SparseArray(WHOLE > 4, fill_value=False)),
    "dictionary": pandas(arrow(GAPPY, pa.dictionary(pa.int8(), pa.string()))),
    "ordered dictionary": pandas(arrow(GAPPY, pa.dictionary(pa.int32(), pa.large_string(), ordered=True))),
    "decimals": pandas(arrow(COINS, pa.decimal128(10, 2))),
    "half floats": pandas(pd.Series(np.where(WHOLE > 7, np.nan, WHOLE)).astype("halffloat[pyarrow]")),
    "float16": pandas((HEAVY * 1e4).clip(-6e4, 6e4).astype("float16")),
    "Float32": pandas(pd.Series((HEAVY * 1e37).clip(-3e38, 3e38)).astype("Float32")),
    "uint64": pandas(np.array([2**64 - 1 - i * 10**15 for i in range(N)], dtype="uint64")),
    "UInt64": pandas(pd.array([None if i % 9 == 0 else 2**64 - 1 - i for i in range(N)], dtype="UInt64")),
    "beyond 2**53": pandas(-(2**53) - 1 - 2 * WHOLE),
    "constant beyond 2**53": pandas(np.full(N, 2**53 + 1)),
    "categories over Arrow text": pandas(categories(pd.ArrowDtype(pa.string()))),
    "categories over text": pandas(categories("string[python]", ordered=True)),
    "categories of intervals": pandas(pd.cut(REAL[:, 0], 3)),
    "categories of tuples": pandas(pd.Series(pd.Categorical(PAIRS))),
    "flag or blank": pandas(pd.Categorical(np.where(WHOLE < 4, "yes", None))),
    "number or blank": pandas(pd.array(np.where(WHOLE < 4, 5.0, np.nan)).astype("Int64")),
    "objects of truth": pandas(pd.Series(np.where(WHOLE > 6, None, WHOLE > 3), dtype=object)),
    "polars decimals": polars(pl.Series(COINS, dtype=pl.Decimal(10, 2))),
    "polars UInt64": polars(pl.Series([2**64 - 1 - i * 1000 for i in range(N)], dtype=pl.UInt64)),
    "polars beyond 2**53": polars(pl.Series([None if i % 5 == 0 else 2**53 + 1 + 2 * i for i in range(N)])),
    "polars Int128": polars(pl.Series([None if i % 7 == 0 else 2**70 + i * 2**66 for i in range(N)], dtype=pl.Int128)),
    "polars categories of a namespace": polars(
        pl.Series(GAPPY.tolist(), dtype=pl.Categorical(pl.Categories("size", "shop", pl.UInt8)))
    ),
    "polars Enum": polars(pl.Series(GAPPY.tolist(), dtype=pl.Enum(list("zyxw")))),
    "polars flag or blank": polars(pl.Series(np.where(WHOLE < 4, "yes", None).tolist(), dtype=pl.Categorical)),
}
every_frame = pytest.mark.parametrize("X", list(FRAMES.values()), ids=list(FRAMES))


def column(X, j):
    return (X.iloc[:, j] if isinstance(X, pd.DataFrame) else X.to_series(j)).to_list()


def is_missing(value):
    return value is None or value is pd.NA or value != value


def assert_same_layout(out, X):
    assert type(out) is type(X)
    assert list(out.dtypes) == list(X.dtypes)
    if isinstance(X, pd.DataFrame):
        pd.testing.assert_index_equal(out.columns, X.columns, exact=True)
        for own, new in zip(X.dtypes, out.dtypes, strict=True):
            assert repr(own) == repr(new)


def assert_at_most_one_cell_of_a_row_changed(out, X):
    changed = np.zeros(len(X), dtype=int)
    for j in range(X.shape[1]):
        pairs = zip(column(X, j), column(out, j), strict=True)
        changed += [not is_missing(own) and own != new for own, new in pairs]
    assert changed.max() <= 1


def assert_observed_kept(out, X):
    for j in range(X.shape[1]):
        pairs = zip(column(X, j), column(out, j), strict=True)
        assert all(own == new for own, new in pairs if not is_missing(own))


@every_frame
def test_rows_come_back_in_the_dtypes_and_the_range_of_fit(X):
    model = vae().fit(X)
    model = pickle.loads(pickle.dumps(model))
    assert_same_layout(model.reconstruct(X), X)
    drawn = model.sample(200, random_state=0)
    assert_same_layout(drawn, X)
    assert np.isfinite(model.score_samples(drawn)).all()
    assert_same_layout(AutoencoderTransformer(2, **QUICK).fit(X).reconstruct(X), X)
    known = [value for value in column(X, 2) if not is_missing(value)]
    if isinstance(known[0], int):
        assert all(min(known) <= value <= max(known) for value in column(drawn, 2) if not is_missing(value))
    share = np.mean([is_missing(value) for value in column(X, 2)])
    assert np.mean([is_missing(value) for value in column(drawn, 2)]) == pytest.approx(share, abs=0.15)


@every_frame
def test_the_schema_survives_json(X):
    schema = vae().fit(X).schema_
    data = schema.to_dict()
    if any(isinstance(value, pd.Interval) for value in column(X, 2)):
        pytest.skip("JSON has no intervals")
    assert type(schema).from_dict(json.loads(json.dumps(data))) == schema


@every_frame
def test_filled_rows_keep_their_dtypes_and_observed_cells(X):
    filler = imputer().fit(X)
    for out in (filler.transform(X), *filler.draw(X, 2, random_state=0)):
        assert_same_layout(out, X)
        assert_observed_kept(out, X)
        assert not any(is_missing(value) for j in range(3) for value in column(out, j))


@every_frame
def test_the_detector_explains_and_completes_them(X):
    model = detector(marginals="normal", bounds=None).fit(X)
    assert np.isfinite(model.explain(X).latent).all()
    out = model.complete(X)
    assert_same_layout(out, X)
    assert_at_most_one_cell_of_a_row_changed(out, X)


@every_frame
def test_any_column_may_be_categorical(X):
    model = vae(likelihood={"s": "categorical"}).fit(X)
    drawn = model.sample(20, random_state=0)
    assert_same_layout(drawn, X)
    known = [value for value in column(X, 2) if not is_missing(value)]
    assert all(value in known for value in column(drawn, 2) if not is_missing(value))


# -- names -------------------------------------------------------------------------------------------------------------

NAMES = [
    [0, 1],
    pd.Index([("a", 0), ("a", 1)], tupleize_cols=False, name="cols"),
    pd.MultiIndex.from_tuples([("a", 0), ("b", 1)], names=["l", "m"]),
    pd.Index(["a", "b"], name="measure"),
    pd.CategoricalIndex(["u", "v"], name="kind"),
]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: type(names).__name__)
def test_column_names_and_their_name_come_back(names):
    X = pd.DataFrame(REAL)
    X.columns = names
    X.iloc[::6, 0] = np.nan
    model = pickle.loads(pickle.dumps(vae().fit(X)))
    for out in (model.reconstruct(X), model.sample(2, random_state=0)):
        assert list(out.columns) == list(X.columns)
        assert type(out.columns) in (type(X.columns), pd.Index)
        assert out.columns.nlevels == X.columns.nlevels
        assert out.columns.names == X.columns.names
    filler = imputer(add_indicator=True).fit(X)
    filled = filler.transform(X)
    assert list(filler.get_feature_names_out()) == list(filled.columns)
    assert list(filled.columns[:2]) == list(X.columns)
    assert filled.columns[2] == f"missingindicator_{next(iter(X.columns))}"


# -- marks of missing cells --------------------------------------------------------------------------------------------

MARKED = np.where(np.arange(N) % 7 == 0, -1, 2**53 + 1 + 2 * WHOLE)
QUERY = np.where(np.arange(N) % 7 == 0, "?", LABELS)
MARKS = [
    *((pandas(pd.Series(MARKED).astype(dtype)), -1) for dtype in ("int64", "Int64", "int64[pyarrow]")),
    *((pandas(pd.Series(MARKED % 97 - 1).astype(dtype)), -1) for dtype in ("int8", "float32", "Float64")),
    *((pandas(pd.Series(MARKED % 97 - 1).astype(pd.SparseDtype("int64", 0))), -1),),
    (pandas(pd.Categorical(QUERY)), "?"),
    (pandas(arrow(QUERY, pa.dictionary(pa.int8(), pa.string()))), "?"),
    (polars(pl.Series(MARKED)), -1),
    (polars(pl.Series(QUERY.tolist(), dtype=pl.Enum(["?", "x", "y", "z"]))), "?"),
    (polars(pl.Series(QUERY.tolist(), dtype=pl.Categorical)), "?"),
]


def test_marks_are_looked_for_beside_a_column_that_holds_nothing():
    X = polars(pl.Series(MARKED)).with_columns(nothing=pl.lit(None))
    out = imputer(missing_values=-1, keep_empty_features=True).fit(X).transform(X)
    assert out["s"].null_count() == 0


@pytest.mark.parametrize(("X", "mark"), MARKS)
def test_marked_cells_are_filled_and_nothing_else_changes(X, mark):
    out = imputer(missing_values=mark).fit(X).transform(X)
    assert list(out.dtypes) == list(X.dtypes)
    for own, new in zip(column(X, 2), column(out, 2), strict=True):
        assert not is_missing(new)
        assert new != mark if own == mark else new == own


def test_a_number_marks_no_flags_and_text_no_numbers():
    X = pandas(WHOLE > 4)
    assert imputer(missing_values=1).fit(X).transform(X)["s"].equals(X["s"])
    X = polars(pl.Series(LABELS.tolist(), dtype=pl.Enum(["x", "y", "z"])))
    assert imputer(missing_values="?").fit(X).transform(X).equals(X)


def test_na_may_be_said_to_mark_missing_cells():
    X = pandas(pd.Series(WHOLE).astype("Int64").mask(WHOLE > 6))
    assert imputer(missing_values=pd.NA).fit_transform(X).notna().all(axis=None)


# -- later frames ------------------------------------------------------------------------------------------------------

LATER = ["y", None, "new", None, "y", None]
KNOWN = pandas(pd.Categorical(LABELS, list("xyz"), ordered=True))
ENUM = polars(pl.Series(LABELS.tolist(), dtype=pl.Enum(list("xyz"))))


@pytest.mark.parametrize("fitted", [KNOWN, ENUM], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    "later",
    [
        pd.Series(LATER, dtype="category"),
        pd.Series(pd.Categorical(LATER, ["y", "new"], ordered=True)),
        pd.Series(LATER, dtype=object),
        pd.Series(LATER, dtype="string[pyarrow]"),
        pd.Series(LATER).astype(pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
        pd.Series([None] * 6, dtype="category"),
        pd.Series([np.nan] * 6),
        pd.Series([None] * 6, dtype="null[pyarrow]"),
        pl.Series(LATER, dtype=pl.Enum(["y", "new"])),
        pl.Series(LATER, dtype=pl.Categorical),
        pl.Series(LATER),
        pl.Series([None] * 6),
    ],
    ids=lambda later: f"{type(later).__module__.split('.')[0]} {later.dtype!r:.20}",
)
def test_no_cell_stays_missing_and_none_is_lost_where_a_later_dtype_lacks_levels(fitted, later):
    frame = pd.DataFrame if isinstance(later, pd.Series) else pl.DataFrame
    rows = frame({"a": REAL[:6, 0], "b": REAL[:6, 1], "s": later})
    filler, model = imputer().fit(fitted), detector().fit(fitted)
    for out in (filler.transform(rows), *filler.draw(rows, 4, random_state=0)):
        assert not any(is_missing(value) for value in column(out, 2))
        assert_observed_kept(out, rows)
    completed = model.complete(rows)
    assert not any(is_missing(value) for value in column(completed, 2))
    assert_at_most_one_cell_of_a_row_changed(completed, rows)


def test_levels_are_added_where_they_stand_in_the_order_of_fit():
    rows = KNOWN.head(30).assign(s=pd.Categorical(["z", None] * 15, ["x", "z"], ordered=True))
    out = pd.concat(imputer().fit(KNOWN).draw(rows, 9, random_state=0))
    dtypes = {tuple(drawn["s"].cat.categories) for drawn in imputer().fit(KNOWN).draw(rows, 9, random_state=0)}
    assert dtypes == {("x", "y", "z")}
    assert (out["s"] == "y").any()


def test_an_array_with_coded_columns_is_completed_by_levels():
    X = np.column_stack([REAL, RNG.integers(2, 5, N) * 10.0])
    out = detector(likelihood={2: "categorical"}).fit(X).complete(X, n_cells=3)
    assert set(out[:, 2]) <= {20.0, 30.0, 40.0}


# -- constant where it is there ----------------------------------------------------------------------------------------

FLAG = pd.DataFrame({"a": REAL[:, 0], "b": REAL[:, 1], "vip": pd.Categorical(np.where(REAL[:, 0] < 0.0, None, "yes"))})


def as_array(X):
    return X.assign(vip=np.where(X["vip"].isna(), np.nan, 7.0)).to_numpy()


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
@pytest.mark.parametrize("X", [FLAG, pl.from_pandas(FLAG), as_array(FLAG)], ids=lambda X: type(X).__name__)
def test_a_column_of_one_value_is_missing_from_draws_as_often_as_from_rows(X, fit):
    model = getattr(vae(), fit)(X)
    model = pickle.loads(pickle.dumps(model))
    missing = np.array([is_missing(value) for value in frame_of(model.sample(500, random_state=0)).iloc[:, 2]])
    assert missing.mean() == pytest.approx(FLAG["vip"].isna().mean(), abs=0.15)
    for out in (
        model.sample(50, missing=False, random_state=0),
        model.sample(50, noise=False, random_state=0),
        model.inverse_transform(model.transform(X)),
        model.reconstruct(X),
        imputer().fit_transform(X),
    ):
        assert frame_of(out).iloc[:, 2].notna().all()


def frame_of(X):
    return X.to_pandas() if isinstance(X, pl.DataFrame) else pd.DataFrame(X)


def test_where_it_is_missing_follows_the_other_columns():
    # With several modes per cell the decoder needs no code for a number that nothing else depends on.
    options = {"likelihood": "student_t", "max_iter": 200, "early_stopping": False, "random_state": 0}
    drawn = VAETransformer(2, **options).fit(FLAG).sample(4000, random_state=0)
    missing = drawn["vip"].isna()
    assert missing[drawn["a"] < -0.7].mean() > missing[drawn["a"] > 0.7].mean() + 0.25


def test_a_condition_has_a_say_in_what_is_missing():
    model = vae().fit(FLAG)
    assert model.sample(50, given={"vip": "yes"}, random_state=0)["vip"].notna().all()
    assert 0.2 < model.sample(300, given={"b": 0.1}, random_state=0)["vip"].isna().mean() < 0.8


def test_a_model_that_kept_missing_cells_by_cell_still_loads():
    X = FLAG.assign(a=FLAG["a"].where(FLAG["b"] > 0.0))
    model = vae().set_params(missingness=None).fit(X)
    state = model.__getstate__()
    engine = dict(state["_engine"])
    posteriors, missing, _ = engine.pop("gaps")
    engine["holes"] = posteriors, missing[:, [cell.column for cell in model.schema_.cells]]
    schema = {name: value for name, value in state["schema_"].items() if name != "header"}
    earlier = VAETransformer()
    earlier.__setstate__(dict(state, _engine=engine, schema_=schema))
    pd.testing.assert_frame_equal(earlier.reconstruct(X), model.reconstruct(X))
    drawn, expected = (m.sample(100, random_state=0) for m in (earlier, model))
    pd.testing.assert_frame_equal(drawn[["a", "b"]], expected[["a", "b"]])
    assert drawn["a"].isna().any()


# -- masked arrays -----------------------------------------------------------------------------------------------------

ESTIMATORS = [vae(), AutoencoderTransformer(2, **QUICK), detector(), imputer()]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_masked_cells_are_missing_for_every_method(estimator, dtype):
    values = RNG.normal(size=(N, 3)).astype(dtype)
    mask = RNG.random((N, 3)) < 0.2
    masked, holed = np.ma.masked_array(np.where(mask, -999.0, values).astype(dtype), mask=mask), values.copy()
    holed[mask] = np.nan
    one, other = pickle.loads(pickle.dumps(estimator)).fit(masked), estimator.fit(holed)
    answers = ("transform", "score_samples", "reconstruct", "predict", "complete", "posterior", "p_values")
    asked = [name for name in answers if hasattr(estimator, name)]
    assert asked
    for name in asked:
        np.testing.assert_array_equal(getattr(one, name)(masked), getattr(other, name)(holed))
        assert not isinstance(getattr(one, name)(masked), np.ma.MaskedArray)


def test_a_masked_array_without_a_mask_is_an_array():
    masked = np.ma.array(REAL)
    np.testing.assert_array_equal(vae().fit(masked).transform(masked), vae().fit(REAL).transform(REAL))


def test_masked_codes_and_weights_are_missing_too_which_is_an_error():
    model = vae().fit(REAL)
    codes = np.ma.masked_array(model.transform(REAL), mask=np.eye(N, 2, dtype=bool))
    with pytest.raises(ValueError, match="contains NaN"):
        model.inverse_transform(codes)
    with pytest.raises(ValueError, match="contains NaN"):
        vae().fit(REAL, sample_weight=np.ma.masked_array(np.ones(N), mask=np.arange(N) < 2))


def test_masked_integers_and_objects_that_are_na_are_missing():
    whole = np.ma.masked_equal(np.column_stack([WHOLE, WHOLE[::-1]]), 0)
    assert (imputer().fit_transform(whole)[whole.mask] > 0.0).all()
    objects = REAL.astype(object)
    objects[0, 0], objects[1, 1] = pd.NA, None
    assert np.isfinite(imputer().fit_transform(objects).astype(float)).all()


# -- extreme numbers ---------------------------------------------------------------------------------------------------

TOO_WIDE = np.column_stack([REAL[:, 0], np.repeat([-1.6e308, 1.6e308], N // 2)])


DEFAULTS = [VAEOutlierDetector(), VAEOutlierDetector(novelty=True), VAEImputer()]


@pytest.mark.parametrize("estimator", [*ESTIMATORS, *DEFAULTS, vae(marginals="normal")], ids=repr)
@pytest.mark.parametrize("X", [TOO_WIDE, pd.DataFrame(TOO_WIDE)], ids=["array", "frame"])
def test_a_range_beyond_floats_is_an_error_that_names_the_column(estimator, X):
    with pytest.raises(ValueError, match=r"Column 1 ranges from -1.6e\+308 to 1.6e\+308.*must not exceed"):
        estimator.fit(X)


@pytest.mark.parametrize("options", [{}, {"marginals": "normal"}, {"bounds": None}, {"bounds": None, "atoms": None}])
def test_numbers_near_the_end_of_floats_work(options):
    X = np.column_stack([REAL[:, 0], np.linspace(-1e305, 1e305, N)])
    model = vae(**options).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.score_samples(TOO_WIDE)).all()  # of later rows, too
    assert np.isfinite(model.reconstruct(TOO_WIDE)).all()
    assert np.isfinite(model.sample(500, random_state=0)).all()


def test_draws_of_single_precision_do_not_overflow():
    X = (np.column_stack([HEAVY, REAL[:, 0]]) * 1e37).astype(np.float32)
    model = VAEOutlierDetector(random_state=0).fit(X)
    assert np.isfinite(model.explain(X).shares).all()
    assert np.isfinite(model.complete(X)).all()


@pytest.mark.parametrize("fee", [np.where(WHOLE < 4, 0.0, 25.0), np.where(np.arange(N) < 1, 25.0, 0.0)])
def test_zeros_and_one_other_value_have_a_logarithm_to_work_with(fee):
    X = pd.DataFrame({"a": REAL[:, 0], "fee": fee})
    model = vae(likelihood={"fee": "log_normal"}).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.score_samples(X.assign(fee=fee + 1.0))).all()
    drawn = model.sample(500, random_state=0)["fee"]
    assert drawn.between(0.0, 25.0).all()
    assert drawn.isin([0.0, 25.0]).mean() > 0.95  # another value has the probability 1 / (n + 1)
