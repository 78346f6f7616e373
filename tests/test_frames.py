"""Frames in, the same frames out: container, names, dtypes and index."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal

N = 40


@pytest.fixture
def columns():
    """A float, a single-precision float, a small integer, an unsigned one and a boolean, all related."""
    rng = np.random.RandomState(0)
    z = rng.normal(size=N)
    return {
        "length": 10.0 * z + rng.normal(size=N),
        "width": (z - rng.normal(size=N)).astype(np.float32),
        "rooms": np.round(3.0 + z + rng.normal(size=N)).astype(np.int16),
        "visits": np.round(np.exp(z) + 1.0).astype(np.uint8),
        "member": z + rng.normal(size=N) > 0.0,
    }


def numpy_dtypes(columns):
    return pd.DataFrame(columns)


def nullable_dtypes(columns):
    frame = pd.DataFrame(columns).astype(
        {"length": "Float64", "width": "Float32", "rooms": "Int64", "visits": "UInt8", "member": "boolean"}
    )
    frame.iloc[3] = pd.NA
    frame.iloc[4, 2] = pd.NA
    return frame


def arrow_dtypes(columns):
    frame = pd.DataFrame(columns).astype(
        {
            "length": "double[pyarrow]",
            "width": "float[pyarrow]",
            "rooms": "int16[pyarrow]",
            "visits": "uint8[pyarrow]",
            "member": "bool[pyarrow]",
        }
    )
    frame.iloc[4, 2] = pd.NA
    return frame


def polars_dtypes(columns):
    return pl.DataFrame(columns)


def polars_with_nulls(columns):
    frame = pl.DataFrame(columns)
    return frame.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise(pl.all()).name.keep())


MAKERS = [numpy_dtypes, nullable_dtypes, arrow_dtypes, polars_dtypes, polars_with_nulls]
frames = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def dtypes(frame):
    return dict(zip(frame.columns, frame.dtypes, strict=True))


def same_layout(out, frame):
    return type(out) is type(frame) and dtypes(out) == dtypes(frame)


@frames
def test_what_comes_back_has_the_layout_of_what_was_fitted(light, columns, make):
    frame = make(columns)
    model = light(n_components=2).fit(frame)
    codes = model.transform(frame)
    assert isinstance(codes, np.ndarray)
    assert codes.dtype == np.float64
    for out in (model.reconstruct(frame), model.inverse_transform(codes)):
        assert same_layout(out, frame)
        assert len(out) == N


@frames
def test_draws_have_the_layout_of_what_was_fitted(light_vae, columns, make):
    frame = make(columns)
    model = light_vae().fit(frame)
    for noise in (True, False):
        assert same_layout(model.sample(7, noise=noise, random_state=0), frame)


@frames
def test_a_frame_is_read_as_its_numbers(light, columns, make):
    frame = make(columns)
    numbers = np.column_stack(
        [pd.Series(frame[name]).astype("Float64").to_numpy(float, na_value=np.nan) for name in columns]
    )
    assert np.isnan(numbers).any() == (make not in (numpy_dtypes, polars_dtypes))
    model = light(early_stopping=False).fit(frame)
    plain = pd.DataFrame(numbers, columns=list(columns))
    np.testing.assert_array_equal(model.transform(frame), model.transform(plain))
    np.testing.assert_array_equal(model.score_samples(frame), model.score_samples(plain))


def test_reconstruct_keeps_the_index_and_codes_have_none(light, columns):
    frame = numpy_dtypes(columns).set_index(pd.Index([f"row {i}" for i in range(N)], name="id"))
    model = light().fit(frame)
    assert model.reconstruct(frame).index.equals(frame.index)
    assert model.reconstruct(frame.iloc[5:9]).index.equals(frame.index[5:9])
    assert model.inverse_transform(model.transform(frame)).index.equals(pd.RangeIndex(N))


def test_integers_stay_in_the_range_of_their_dtype(light_vae):
    values = np.arange(N) % 2 * 255
    frame = pd.DataFrame({"small": values.astype(np.uint8), "real": np.arange(float(N))})
    drawn = light_vae().fit(frame).sample(500, random_state=0)["small"]
    assert drawn.dtype == np.uint8
    # Draws beyond the range are cut at it; wrapped ones would fall in the middle of the range.
    assert (drawn == 0).mean() > 0.1
    assert (drawn == 255).mean() > 0.1


def test_integers_are_rounded_not_cut(light):
    frame = pd.DataFrame({"whole": np.repeat([1, 2, 9], [15, 15, 10]), "real": np.arange(float(N))})
    model = light().fit(frame)
    codes = np.random.RandomState(0).normal(size=(50, 2))
    whole = model.inverse_transform(codes)["whole"]
    real = light().fit(frame.astype(float)).inverse_transform(codes)["whole"]
    np.testing.assert_array_equal(whole, real.round())
    assert (real.round() != np.trunc(real)).any()


def test_a_boolean_column_is_bernoulli_and_others_are_not(light_vae, columns):
    for frame in (numpy_dtypes(columns), polars_dtypes(columns)):
        schema = light_vae().fit(frame).schema_
        assert [column.kind for column in schema.columns] == ["continuous"] * 4 + ["binary"]


def test_the_likelihood_is_read_off_the_dtype_never_off_values(light_vae, columns):
    zeros_and_ones = numpy_dtypes(columns).assign(member=lambda frame: frame["member"].astype(int))
    schema = light_vae().fit(zeros_and_ones).schema_
    assert schema.columns[-1].kind == "continuous"


def test_a_boolean_array_is_bernoulli(light_vae):
    X = np.random.RandomState(0).uniform(size=(50, 4)) > [0.2, 0.4, 0.6, 0.8]
    model = light_vae().fit(X)
    assert {column.kind for column in model.schema_.columns} == {"binary"}
    assert set(np.unique(model.sample(100, random_state=0))) == {0.0, 1.0}


def test_columns_of_a_dict_may_be_named(light_vae, columns):
    frame = numpy_dtypes(columns)
    frame["share"] = (frame["length"] - frame["length"].min()) / np.ptp(frame["length"])
    schema = light_vae(likelihood={"share": "bernoulli", "width": "gaussian"}).fit(frame).schema_
    assert [column.kind for column in schema.columns] == ["continuous"] * 4 + ["binary"] * 2


def test_single_precision_frames_give_single_precision_codes(light, columns):
    single = pd.DataFrame({"a": columns["width"], "b": columns["width"][::-1]})
    for frame in (
        single,
        single.astype("float[pyarrow]"),
        pl.DataFrame(single.to_dict("list"), schema_overrides={"a": pl.Float32, "b": pl.Float32}),
    ):
        assert light().fit(frame).transform(frame).dtype == np.float32


def test_integer_names_work(light, X):
    frame = pd.DataFrame(X)
    model = light().fit(frame)
    assert_frame_equal(model.reconstruct(frame), pd.DataFrame(light().fit(X).reconstruct(X)))


def test_a_model_of_an_array_answers_in_arrays(light, X):
    model = light().fit(X)
    assert isinstance(model.inverse_transform(model.transform(X)), np.ndarray)
    assert isinstance(model.reconstruct(X), np.ndarray)


def test_a_column_that_was_never_observed_comes_back_missing(light, columns):
    frame = numpy_dtypes(columns).assign(unknown=np.nan)
    model = light().fit(frame)
    out = model.reconstruct(frame)
    assert out["unknown"].isna().all()
    assert out.drop(columns="unknown").notna().all(axis=None)


def test_an_integer_column_that_was_never_observed_comes_back_missing(light, columns):
    frame = nullable_dtypes(columns).assign(unknown=pd.array([pd.NA] * N, dtype="Int64"))
    out = light().fit(frame).reconstruct(frame)
    assert out["unknown"].isna().all()
    assert out["rooms"].dtype == "Int64"


def test_a_sparse_column_of_a_frame_works(light, columns):
    frame = numpy_dtypes(columns).assign(sparse=pd.arrays.SparseArray(np.arange(N) % 3 * 1.0))
    out = light().fit(frame).reconstruct(frame)
    assert out["sparse"].dtype == frame["sparse"].dtype


def test_polars_decimals_come_back_as_decimals(light, columns):
    frame = polars_dtypes(columns).with_columns(price=pl.Series(np.arange(N) * 0.25).cast(pl.Decimal(10, 2)))
    assert light().fit(frame).reconstruct(frame).schema == frame.schema
