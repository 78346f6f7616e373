"""Bad input: each gets an error that says what was expected, what came and the way out, or works."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError

from skvae import VAETransformer

NAMES = ["a", "b", "c", "d"]


def with_cell(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


def as_array(X):
    return X


def as_pandas(X):
    return pd.DataFrame(X, columns=NAMES)


def as_polars(X):
    return pl.DataFrame(X, schema=NAMES)


containers = pytest.mark.parametrize("container", [as_array, as_pandas, as_polars])


@containers
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_an_error_in_every_method(light, X, container, value):
    bad = container(with_cell(X, value))
    with pytest.raises(ValueError, match="Input X contains infinity"):
        light().fit(bad)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        light().partial_fit(bad)
    model = light().fit(container(X))
    for method in ("transform", "reconstruct", "score_samples", "score"):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            getattr(model, method)(bad)


@pytest.mark.parametrize("dtype", [object, "U4"])
def test_text_in_an_array_is_an_error_with_a_way_out(light, dtype):
    with pytest.raises(
        ValueError, match=r"X must hold numbers. Got text .*'red'.*a data frame in which such columns are categorical"
    ):
        light().fit(np.array([["red", "blue"], ["blue", "red"]] * 10, dtype=dtype))


def test_objects_that_are_no_numbers_are_an_error(light):
    with pytest.raises(TypeError, match=r"argument must be .* string .* number"):
        light().fit(np.array([[{"a": 1}, 2.0], [1.0, 2.0]] * 10, dtype=object))


def test_numbers_and_none_in_an_object_array_work(light, X):
    objects = with_cell(X, np.nan).astype(object)
    objects[3, 1] = None
    np.testing.assert_array_equal(
        light().fit_transform(objects), light().fit_transform(objects.astype(float)), strict=True
    )


EAST = datetime.timezone(datetime.timedelta(hours=3))


@pytest.mark.parametrize(
    ("column", "dtype", "way_out"),
    [
        (pd.Series([b"x", b"y"] * 10), "object and holds .*bytes", "one type"),
        (pd.Series([[1], [2]] * 10), "object and holds .*list", "one type"),
        (pd.Series([1, 2] * 10, dtype=object), "object", "to_numeric"),
        (pd.Series([1, 2.5] * 10, dtype=object), "object", "to_numeric"),
        (pd.Series([1, 2, "x"] * 6 + [1, 2], dtype=object), "object and holds", r"most are numbers: .*to_numeric\(X"),
        (pd.Series([1, "x"] * 10, dtype=object), r"object and holds .* \(int, str\)", "one type.*astype.'category'"),
        (pd.Series([True, 2.5, None, "x"] * 5, dtype=object), r"object and holds .* \(bool, float, str\)", "one type"),
        (
            pd.Series([datetime.datetime(2020, 1, 2, tzinfo=zone) for zone in (datetime.UTC, EAST)] * 10, dtype=object),
            r"object \(datetimes with time zones\)",
            r"one time zone with X\['wrong'\] = pd.to_datetime\(X\['wrong'\], utc=True\)",
        ),
        (
            pd.Series(pd.arrays.ArrowExtensionArray(pa.array([decimal.Decimal("1.25")] * 20).dictionary_encode())),
            "dictionary<values=decimal.*",
            "make its levels text with X.'wrong'..astype.str..astype.'category'",
        ),
        (pd.Series(np.arange(20) + 1j), "complex128", "real and imaginary parts"),
    ],
)
def test_a_pandas_column_that_is_no_number_is_named(light, column, dtype, way_out):
    frame = pd.DataFrame({"fine": np.arange(20.0), "wrong": column})
    with pytest.raises(
        TypeError, match=f"must be numeric or categorical.*Column 'wrong' has dtype ({dtype}).*{way_out}"
    ):
        light().fit(frame)
    good = frame.assign(wrong=np.arange(20.0) ** 2)
    with pytest.raises(TypeError, match=f"Column 'wrong' has dtype ({dtype})"):
        light().fit(good).transform(frame)


@pytest.mark.parametrize(
    ("column", "dtype", "way_out"),
    [
        (pl.Series([b"x", b"y"] * 10), "Binary", "cast it"),
        (pl.Series([[1], [2]] * 10), "List", "cast it"),
    ],
)
def test_a_polars_column_that_is_no_number_is_named(light, column, dtype, way_out):
    frame = pl.DataFrame({"fine": np.arange(20.0), "wrong": column})
    with pytest.raises(TypeError, match=f"must be numeric or categorical.*Column 'wrong' has dtype {dtype}.*{way_out}"):
        light().fit(frame)


def test_a_polars_column_of_nulls_is_missing_throughout(light):
    frame = pl.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0) ** 2, "nothing": [None] * 20})
    model = light().fit(frame)
    np.testing.assert_array_equal(model.score_samples(frame), light().fit(frame).score_samples(frame))
    out = model.reconstruct(frame)
    assert out["nothing"].dtype == pl.Null
    assert out["nothing"].null_count() == 20
    assert np.isfinite(out[["x", "y"]].to_numpy()).all()


def test_a_column_of_numbers_where_fit_saw_categories_holds_unknown_levels(light):
    frame = pd.DataFrame({"fine": np.arange(20.0), "kind": pd.Categorical(["x", "y"] * 10)})
    model = light().fit(frame)
    with pytest.warns(UserWarning, match=r"Most cells of column 'kind' hold levels .* such as 1.0; it saw 'x', 'y'"):
        codes = model.transform(frame.assign(kind=[1.0, 2.0] * 10))
    np.testing.assert_array_equal(codes, model.transform(frame.assign(kind=pd.Categorical([None] * 20))))


def test_categories_where_fit_saw_numbers_are_an_error_with_a_way_out(light):
    frame = pd.DataFrame({"fine": np.arange(20.0), "size": np.arange(20.0) % 7})
    model = light().fit(frame)
    with pytest.raises(TypeError, match=r"Column 'size' has dtype category: fit saw numbers in it: .*to_numeric"):
        model.transform(frame.assign(size=frame["size"].astype("category")))


def test_a_likelihood_of_numbers_for_categories_is_an_error(light_vae):
    frame = pd.DataFrame({"fine": np.arange(20.0), "kind": pd.Categorical(["x", "y"] * 10)})
    with pytest.raises(TypeError, match=r"Column 'kind' has dtype category: choose the likelihood 'categorical' or"):
        light_vae(likelihood={"kind": "gaussian"}).fit(frame)
    ordered = frame.assign(kind=pd.Categorical(["x", "y"] * 10, ordered=True))
    with pytest.raises(TypeError, match=r"Column 'kind' has dtype ordered: choose the likelihood 'categorical' or"):
        light_vae(likelihood={"kind": "poisson"}).fit(ordered)


@pytest.mark.parametrize(
    ("likelihood", "values", "message"),
    [
        ("poisson", [0.0, -1.0], "Negative values in data. A likelihood of counts expects 0, 1, 2.* 'b' holds -1"),
        ("negative_binomial", [0.0, 1.5], "A likelihood of counts expects 0, 1, 2.* Column 'b' holds 1.5"),
        ("zero_inflated_poisson", [2.0, 0.25], "A likelihood of counts expects 0, 1, 2.* Column 'b' holds 0.25"),
        ("log_normal", [2.0, 0.0], "The log-normal likelihood expects values above 0. The least of column 'b' is 0"),
        ("log_normal", [2.0, -4.0], "Negative values in data. The log-normal .* least of column 'b' is -4"),
    ],
)
def test_values_outside_the_support_are_an_error_in_fit_and_later(light_vae, X, likelihood, values, message):
    good = pd.DataFrame(X, columns=NAMES).assign(b=np.arange(60.0) % 9 + 1.0)
    bad = good.copy()
    bad.loc[[3, 4], "b"] = values
    model = light_vae(likelihood={"b": likelihood})
    with pytest.raises(ValueError, match=message):
        model.fit(bad)
    model.fit(good)
    for method in (model.transform, model.score_samples, model.reconstruct):
        with pytest.raises(ValueError, match=message):
            method(bad)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("atoms", "all"), ("atoms", True), ("bounds", "wide"), ("handle_unknown", "ignore"), ("handle_unknown", None)],
)
def test_a_wrong_rule_for_columns_is_an_error(light_vae, X, parameter, value):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of VAETransformer must be"):
        light_vae(**{parameter: value}).fit(X)


def test_atoms_for_a_column_that_is_not_there_are_an_error(light_vae, X):
    with pytest.raises(ValueError, match=r"The 'atoms' parameter names column\(s\) \['zz'\] that X does not have"):
        light_vae(atoms=["a", "zz"]).fit(as_pandas(X))


@pytest.mark.parametrize("dtype", ["M8[D]", "m8[D]"])
def test_an_array_of_dates_is_an_error(light, dtype):
    with pytest.raises(TypeError, match=r"X must hold numbers. Got dtype .*: turn dates into numbers"):
        light().fit(np.arange(40).reshape(20, 2).astype(dtype))


def test_a_lazy_frame_is_an_error(light, X):
    with pytest.raises(TypeError, match=r"Got a polars LazyFrame.*collect\(\)"):
        light().fit(as_polars(X).lazy())


@pytest.mark.parametrize(
    "convert", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array], ids=lambda f: f.__name__
)
def test_sparse_is_an_error(light, X, convert):
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        light().fit(convert(X))


def test_complex_is_an_error(light, X):
    with pytest.raises(ValueError, match="Complex data not supported"):
        light().fit(X + 1j)


@pytest.mark.parametrize("empty", [np.empty((0, 4)), pd.DataFrame(), pd.DataFrame({"a": []}), pl.DataFrame()])
def test_no_rows_is_an_error(light, empty):
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\).*minimum of 2"):
        light().fit(empty)


@pytest.mark.parametrize("empty", [np.empty((20, 0)), pd.DataFrame(index=range(20))], ids=["array", "frame"])
def test_no_columns_is_an_error(light, empty):
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\)"):
        light().fit(empty)


def test_no_rows_to_transform_is_an_error(light, X):
    model = light().fit(X)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        model.transform(X[:0])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        model.inverse_transform(np.empty((0, 2)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((60,), "Expected 2D array, got 1D"), ((5, 12, 1), "Found array with dim 3"), ((), "got scalar array")],
)
def test_wrong_number_of_dimensions_is_an_error(light, shape, message):
    with pytest.raises(ValueError, match=message):
        light().fit(np.ones(shape))
    model = light().fit(np.arange(120.0).reshape(60, 2) ** 2)
    with pytest.raises(ValueError, match=message):
        model.transform(np.ones(shape))
    with pytest.raises(ValueError, match=message):
        model.inverse_transform(np.ones(shape))


def test_a_series_is_an_error(light, X):
    with pytest.raises(ValueError, match=r"Expected 2D array|Expected a 2-dimensional container"):
        light().fit(pd.Series(X[:, 0]))


def test_wrong_width_is_an_error(light, X):
    model = light().fit(X)
    for method in ("transform", "reconstruct", "score_samples", "score", "partial_fit"):
        with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
            getattr(model, method)(X[:, :3])


def test_codes_of_the_wrong_width_are_an_error(light, X):
    model = light().fit(X)
    with pytest.raises(ValueError, match=r"X has 4 columns, .* expects .*n_components_=2 columns"):
        model.inverse_transform(X)
    with pytest.raises(ValueError, match="contains NaN"):
        model.inverse_transform(np.full((2, 2), np.nan))


def test_columns_in_another_order_or_under_other_names_are_an_error(light, X):
    model = light().fit(as_pandas(X))
    with pytest.raises(ValueError, match=r"must be in the same order[\s\S]*from column 0 on: fit had \['a', 'b'"):
        model.transform(as_pandas(X)[["b", "a", "c", "d"]])
    with pytest.raises(
        ValueError, match=r"should match[\s\S]*missing: \['a'\]; not seen in fit: \['z'\]\. X\[model.feat"
    ):
        model.transform(as_pandas(X).rename(columns={"a": "z"}))


def test_repeated_names_are_an_error(light, X):
    with pytest.raises(ValueError, match=r"names must be unique. Got a more than once; rename"):
        light().fit(pd.DataFrame(X, columns=["a", "a", "b", "c"]))


def test_text_and_numbers_as_names_are_an_error(light, X):
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        light().fit(pd.DataFrame(X, columns=["a", 1, "b", 2]))


@pytest.mark.parametrize(("shift", "prefix"), [(1.0, ""), (-1.0, "Negative values in data. ")])
@containers
def test_values_outside_the_unit_interval_are_an_error(light_vae, light_autoencoder, X, container, shift, prefix):
    inside = (X - X.min(0)) / np.ptp(X, axis=0)
    for model in (light_vae(likelihood="bernoulli"), light_autoencoder(loss="cross_entropy")):
        message = f"{prefix}The Bernoulli likelihood expects values in .0, 1.. Column .* ranges from .*MinMaxScaler"
        with pytest.raises(ValueError, match=message):
            model.fit(container(inside + shift))
        model.fit(container(inside))
        with pytest.raises(ValueError, match=message):
            model.transform(container(inside + shift))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(60, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.r_[-1.0, np.ones(59)], "Negative values in data passed to `sample_weight`"),
        (np.zeros(60), "weights must contain at least one non-zero"),
        (np.full(60, np.nan), "sample_weight contains NaN"),
        (np.full(60, np.inf), "sample_weight contains infinity"),
        (np.ones(59), r"sample_weight.shape == \(59,\), expected \(60,\)"),
        (np.ones((60, 2)), "Sample weights must be 1D"),
    ],
)
def test_bad_weights_are_an_error(light, X, weight, message):
    with pytest.raises(ValueError, match=message):
        light().fit(X, sample_weight=weight)
    with pytest.raises(ValueError, match=message):
        light().partial_fit(X, sample_weight=weight)
    with pytest.raises(ValueError, match=message):
        light(early_stopping=True).fit(X, X_val=X, sample_weight_val=weight)


def test_validation_weights_without_validation_rows_are_an_error(light, X):
    with pytest.raises(ValueError, match="sample_weight_val holds the weights of X_val, but X_val is None"):
        light().fit(X, sample_weight_val=np.ones(60))


def test_validation_rows_without_early_stopping_are_an_error(light, X):
    with pytest.raises(ValueError, match="X_val is passed to fit while early_stopping is False"):
        light(early_stopping=False).fit(X, X_val=X)


def test_validation_rows_are_checked_as_rows(light, X):
    with pytest.raises(ValueError, match="X has 2 features, but"):
        light(early_stopping=True).fit(X, X_val=X[:, :2])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        light(early_stopping=True).fit(X, X_val=with_cell(X, np.inf))


@pytest.mark.parametrize("likelihood", ["cauchy", "squared_error", {"a": "cauchy"}, {"a": None}])
def test_an_unknown_likelihood_is_an_error_that_lists_the_known(light_vae, X, likelihood):
    with pytest.raises(
        ValueError, match=r"'likelihood' .* one of \['bernoulli', 'categorical', .*'student_t', .*\].*Got"
    ):
        light_vae(likelihood=likelihood).fit(as_pandas(X))


def test_a_likelihood_for_a_column_that_is_not_there_is_an_error(light_vae, X):
    with pytest.raises(ValueError, match=r"names column\(s\) \['zz'\] that X does not have. .*'a', 'b', 'c', 'd'"):
        light_vae(likelihood={"zz": "gaussian"}).fit(as_pandas(X))
    with pytest.raises(ValueError, match=r"names column\(s\) \[7\] .*those of an array are named by their index"):
        light_vae(likelihood={7: "gaussian"}).fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter .* must be .*Got 0 instead"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must hold positive integers"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must hold positive integers"),
        ({"device": "abacus"}, "'device' parameter must be 'auto' or a device that torch has here.*Got 'abacus'"),
        ({"activation": "step"}, "'activation' parameter .* must be a str among"),
        ({"early_stopping": True, "validation_fraction": 0.99}, "leaves 1 of 60 rows to train on.*smaller"),
    ],
)
def test_a_parameter_out_of_range_is_an_error(light, X, parameters, message):
    with pytest.raises(ValueError, match=message):
        light(**parameters).fit(X)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "two"])
def test_a_number_of_draws_that_is_no_positive_integer_is_an_error(light_vae, X, n_samples):
    model = light_vae().fit(X)
    with pytest.raises(ValueError, match=r"n_samples must be a positive integer. Got"):
        model.sample(n_samples)
    with pytest.raises(ValueError, match=r"n_samples must be a positive integer. Got"):
        model.sample_latent(n_samples)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "reconstruct", "score_samples", "score"])
def test_an_unfitted_estimator_says_so(light, X, method):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(light(), method)(X)


def test_drawing_from_an_unfitted_estimator_says_so(light_vae):
    for method in (light_vae().sample, light_vae().sample_latent):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            method()


def test_one_row_is_an_error(light, X):
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\).*a minimum of 2 is required"):
        light().fit(X[:1])
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\).*a minimum of 2 is required"):
        light().partial_fit(X[:1])


def test_one_row_left_by_the_weights_is_an_error(light, X):
    with pytest.raises(ValueError, match="constant or without a value over its 1 training rows"):
        light().fit(X, sample_weight=np.eye(60)[0])


@pytest.mark.parametrize("n", [2, 3, 33])
def test_few_rows_work(light, X, n):
    model = light(batch_size=32).fit(X[:n])  # 33 leaves a last batch of one row
    assert np.isfinite(model.score_samples(X[:n])).all()
    assert np.isfinite(model.transform(X[:1])).all()


def test_one_column_works(light, X):
    model = light(n_components=1).fit(X[:, :1])
    assert model.reconstruct(X[:, :1]).shape == (60, 1)
    assert np.isfinite(model.score(X[:, :1]))


@containers
def test_constant_columns_only_is_an_error(light, container):
    with pytest.raises(ValueError, match=r"Every column of X is constant .*60 training rows.*differ"):
        light().fit(container(np.full((60, 4), 3.0)))


def test_a_constant_column_stands_outside_the_model(light, X):
    constant = np.c_[X[:, :2], np.full(60, 7.25), X[:, 2:]]
    model, without = light().fit(constant), light().fit(X)
    np.testing.assert_array_equal(model.score_samples(constant), without.score_samples(X))
    np.testing.assert_array_equal(model.transform(constant), without.transform(X))
    assert (model.reconstruct(constant)[:, 2] == 7.25).all()
    assert (model.inverse_transform(np.zeros((3, 2)))[:, 2] == 7.25).all()


def test_a_constant_that_changes_later_costs_one_bounded_penalty_and_is_reported(light_vae, X):
    constant = np.c_[X, np.full(60, 7.25)]
    model = light_vae().fit(pd.DataFrame(constant, columns=[*NAMES, "e"]))
    before = model.score_samples(pd.DataFrame(constant, columns=[*NAMES, "e"]))
    for value in (8.0, 1e30):
        changed = pd.DataFrame(constant, columns=[*NAMES, "e"])
        changed.loc[5, "e"] = value
        with pytest.warns(UserWarning, match=r"Column\(s\) e were constant in training and differ .*4.13 nats"):
            after = model.score_samples(changed)
        expected = np.where(np.arange(60) == 5, np.log(62), 0.0)
        np.testing.assert_allclose(before - after, expected, atol=1e-9)
        np.testing.assert_array_equal(model.transform(changed)[5], model.transform(changed.fillna(0.0))[5])


def test_a_missing_cell_of_a_constant_column_costs_nothing(light_vae, X):
    constant = np.c_[X, np.full(60, 7.25)]
    model = light_vae().fit(constant)
    before = model.score_samples(constant)
    constant[:, 4] = np.nan
    np.testing.assert_array_equal(model.score_samples(constant), before)


def test_a_nearly_constant_column_does_not_explode(light, X):
    spikes = np.c_[X, np.zeros(60)]
    spikes[0, 4] = 1.0
    model = light().fit(spikes)
    assert np.isfinite(model.score_samples(spikes)).all()
    assert np.abs(model.transform(spikes)).max() < 100.0


@pytest.mark.parametrize("scale", [1e30, 1e-30, 1e300, 1e-300])
def test_columns_of_extreme_scale_work(light, X, scale):
    X = X / X.std(0)
    scaled, plain = light().fit(X * scale), light().fit(X)
    np.testing.assert_allclose(scaled.transform(X * scale), plain.transform(X), atol=1e-6)
    np.testing.assert_allclose(scaled.reconstruct(X * scale) / scale, plain.reconstruct(X), rtol=1e-5)
    assert np.isfinite(scaled.score_samples(X * scale)).all()


def test_the_density_counts_an_extreme_scale(light_vae, X):
    scaled, plain = light_vae().fit(X * 1e30), light_vae().fit(X)
    difference = plain.score_samples(X) - scaled.score_samples(X * 1e30)
    np.testing.assert_allclose(difference, 4 * np.log(1e30), atol=1e-4)


def test_single_precision_columns_of_extreme_scale_work(light, X):
    X = (X / X.std(0) * [1e30, 1e-30, 1.0, 1e15]).astype(np.float32)
    model = light().fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("value", [1e6, 1e30, 1e300])
def test_a_row_far_from_the_data_is_scored_and_encoded(light, X, value):
    model = light().fit(X)
    far = with_cell(X, value)
    assert np.isfinite(model.transform(far)).all()
    scores = model.score_samples(far)
    assert np.isfinite(scores).all()
    assert scores[3] < scores[4:].min()


def test_one_extreme_cell_does_not_own_the_fit(light_vae, X):
    outlying = with_cell(X, 1e6 * X[:, 1].std())
    model = light_vae(max_iter=10).fit(outlying)
    others = np.delete(outlying, 3, axis=0)
    assert np.isfinite(model.score_samples(others)).all()
    assert model.score_samples(others).mean() > model.score_samples(outlying)[3]


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.astype(">f8"),
        lambda X: X[::-1, ::-1][::-1, ::-1],
        np.asfortranarray,
        lambda X: X.astype("g"),
        lambda X: X.tolist(),
        lambda X: np.ma.masked_array(X),
    ],
    ids=["big-endian", "strides", "fortran", "long double", "list", "masked array"],
)
def test_the_layout_of_an_array_does_not_matter(light, X, convert):
    np.testing.assert_array_equal(light().fit(convert(X)).transform(convert(X)), light().fit(X).transform(X))


def test_input_is_never_written_to(light, X):
    before = X.copy()
    X.setflags(write=False)
    model = light().fit(X).partial_fit(X)
    model.score_samples(X), model.transform(X), model.reconstruct(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("value", [2.0, 1.0])
def test_masking_every_cell_is_an_error(light_autoencoder, X, value):
    with pytest.raises(ValueError, match="'corruption_level' parameter must be below 1 where corruption='masking'"):
        light_autoencoder(corruption="masking", corruption_level=value).fit(X)


def test_a_wrong_parameter_is_no_error_before_fit():
    assert VAETransformer(n_components=-1).n_components == -1


def test_trimming_keeps_gross_outliers_out_of_the_model():
    rng = np.random.default_rng(0)
    inliers = rng.normal(size=(240, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(240, 5))
    outliers = rng.normal(size=(60, 5)) * 2.0 + [6.0, -6.0, 6.0, -6.0, 6.0]
    linear = {"hidden_layer_sizes": (), "likelihood": "gaussian", "max_iter": 60, "learning_rate_init": 0.02}
    scores = [
        VAETransformer(2, **linear, trim=trim, early_stopping=False, device="cpu", random_state=0)
        .fit(np.vstack([inliers, outliers]))
        .score(inliers)
        for trim in (0.0, 0.3)
    ]
    assert scores[1] > scores[0] + 0.2


@pytest.mark.parametrize("trim", [-0.1, 1.0, "some", None])
def test_a_share_to_trim_out_of_its_range_is_an_error(light_vae, X, trim):
    with pytest.raises(ValueError, match="The 'trim' parameter of VAETransformer must be"):
        light_vae(trim=trim).fit(X)


@pytest.mark.parametrize(("parameter", "value"), [("marginals", "uniform"), ("prior", "posterior")])
def test_an_unknown_name_is_an_error(light_vae, X, parameter, value):
    with pytest.raises(ValueError, match=f"{parameter}"):
        light_vae(**{parameter: value}).fit(X)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("marginals", ["linear", "normal"])
def test_cells_far_outside_the_training_rows_are_scored(light_vae, X, marginals, value):
    model = light_vae(marginals=marginals).fit(X)
    far = X[:4].copy()
    far[:, 0] = np.copysign([1e6, 1e9, 1e12, 1e15], value)
    scores = model.score_samples(far)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0.0).all()
