"""The displays on mixed frames: levels, flags, missing cells, constants, any index; and rows without a class."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from matplotlib import colors, pyplot

from skvae import AutoencoderTransformer, VAEOutlierDetector, VAETransformer
from skvae.displays import (
    ExplanationDisplay,
    ImageGridDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    OutlierScoreDisplay,
    ReconstructionDisplay,
    SyntheticReportDisplay,
)

LIGHT = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False, "random_state": 0}
N = 80
GRADES = ["low", "mid", "high", "none"]
GREY = colors.to_rgba("#C4C4C4")


@pytest.fixture(autouse=True)
def _headless():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def mixed():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "price ($) of $x_$": rng.normal(size=N),
            "visits": rng.poisson(3, N),
            "smoker": rng.random(N) < 0.3,
            "ward": pd.Categorical(rng.choice(["north", "a ward with a very long name indeed, in the west"], N)),
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "high"], N), ["low", "mid", "high", "none"], ordered=True
            ),
            "floor": pd.Categorical(rng.integers(1, 4, N)),
            "constant": 1.0,
            "rooms": pd.array(rng.integers(0, 9, N), dtype="Int64"),
        },
        index=rng.permutation(N) + 500,
    )
    return frame.mask(rng.random(frame.shape) < 0.1)


@pytest.mark.parametrize("make", [lambda v: pd.Series(v, dtype=pd.ArrowDtype(pa.decimal128(10, 2))), pl.Series])
def test_decimals_are_numbers_and_an_empty_category_is_a_panel(make):
    coins = make([Decimal(i) / 4 for i in range(N)])
    frame = pl.DataFrame if isinstance(coins, pl.Series) else pd.DataFrame
    nothing = (
        pl.Series([None] * N, dtype=pl.Enum(["p"])) if frame is pl.DataFrame else pd.Categorical([None] * N, ["p"])
    )
    X = frame({"a": np.random.default_rng(0).normal(size=N), "coins": coins, "nothing": nothing})
    display = ReconstructionDisplay.from_estimator(VAETransformer(**LIGHT).fit(X), X)
    assert display.levels[:2] == [None, None]
    assert display.observed[5, 1] == 1.25


def as_polars(frame):
    return pl.from_pandas(frame.astype({"floor": object}).astype({"floor": str}).reset_index(drop=True)).with_columns(
        pl.col("grade").cast(pl.Enum(GRADES)), pl.col("floor").cast(pl.Categorical)
    )


def as_arrow(frame):
    return frame.drop(columns=["ward", "grade", "floor"]).convert_dtypes(dtype_backend="pyarrow")


@pytest.fixture(scope="module", params=[lambda frame: frame, as_polars, as_arrow], ids=["pandas", "polars", "arrow"])
def case(request):
    rows = request.param(mixed())
    detector = VAEOutlierDetector(estimator=VAETransformer(**LIGHT), random_state=0).fit(rows)
    return rows, VAETransformer(**LIGHT).fit(rows), AutoencoderTransformer(**LIGHT).fit(rows), detector


def drawn(display):
    display.figure_.draw_without_rendering()  # with every label set
    return display


def first(rows, n=1):
    return rows[:n] if isinstance(rows, pl.DataFrame) else rows.iloc[:n]


def test_every_display_draws_mixed_rows(case):
    rows, vae, autoencoder, detector = case
    for model in (vae, autoencoder):
        drawn(LossCurveDisplay.from_estimator(model))
        assert len(drawn(ReconstructionDisplay.from_estimator(model, rows)).axes_) == rows.shape[1]
        assert len(drawn(LatentSpaceDisplay.from_estimator(model, rows)).codes) == N
    assert len(drawn(OutlierScoreDisplay.from_estimator(detector, rows)).scores) == N
    display = drawn(SyntheticReportDisplay.from_estimator(vae, rows, random_state=0))
    assert display.shown_ == list(rows.columns)


def test_every_display_draws_one_row(case):
    rows, vae, _, detector = case
    row = first(rows)
    assert len(drawn(ReconstructionDisplay.from_estimator(vae, row)).axes_) == rows.shape[1]
    assert drawn(LatentSpaceDisplay.from_estimator(vae, row, y=[0.5])).codes.shape == (1, 2)
    score = detector.score_samples(row)
    np.testing.assert_allclose(drawn(OutlierScoreDisplay.from_estimator(detector, row)).scores, score)
    np.testing.assert_allclose(drawn(ExplanationDisplay.from_estimator(detector, row)).ends_.get_xdata()[1], score[0])


def test_the_cells_of_a_mixed_row_are_named(case):
    rows, _, _, detector = case
    explanation = detector.explain(rows)
    for i in range(0, N, 16):
        display = drawn(ExplanationDisplay.from_estimator(detector, rows, row=i, max_display=20))
        labels = [label.get_text() for label in display.ax_.get_yticklabels()][1:-2]
        present = {name: value for name, value in row_of(rows, i).items() if value is not None}
        assert {label.rpartition(" = ")[0] for label in labels} == set(present)
        for label in labels:
            name, _, written = label.rpartition(" = ")
            assert written.replace("\N{MINUS SIGN}", "-") == written_as(present[name])
        np.testing.assert_allclose(display.ends_.get_xdata()[1], detector.score_samples(rows)[i])
        np.testing.assert_allclose(display.latent, explanation.latent[i])


def row_of(rows, i):
    values = rows.row(i, named=True) if isinstance(rows, pl.DataFrame) else rows.iloc[i].to_dict()
    return {name: None if pd.isna(value) else value for name, value in values.items()}


def written_as(value):
    if isinstance(value, (bool, np.bool_, str)):
        text = str(value)
        return text if len(text) <= 40 else text[:39] + "\N{HORIZONTAL ELLIPSIS}"
    return f"{value:.4g}"


def test_marks_of_levels_count_their_rows():
    rows = mixed()
    vae = VAETransformer(**LIGHT | {"max_iter": 40}).fit(rows)
    display = drawn(ReconstructionDisplay.from_estimator(vae, rows))
    j = list(rows.columns).index("grade")
    assert display.levels[j] == ["low", "mid", "high"]  # those that occur, in the order of the dtype
    decoded = vae.reconstruct(rows)["grade"]
    table = pd.crosstab(rows["grade"], decoded)
    marks = display.scatter_[j]
    sizes = marks.get_sizes() / marks.get_sizes().max() * table.to_numpy().max()
    for (x, y), size in zip(marks.get_offsets(), sizes, strict=True):
        assert round(size) == table.loc[display.levels[j][int(x)], display.levels[j][int(y)]]
    assert sum(map(round, sizes)) == rows["grade"].notna().sum()
    assert [label.get_text() for label in display.axes_[j].get_xticklabels()] == ["low", "mid", "high"]
    assert display.levels[0] is None
    assert display.levels[2] == [False, True]
    assert display.levels[5] == [1, 2, 3]


def test_many_levels_have_no_ticks():
    rows = pd.DataFrame({"a": np.arange(90.0), "b": pd.Categorical([f"level {i % 30}" for i in range(90)])})
    display = drawn(ReconstructionDisplay.from_estimator(VAETransformer(**LIGHT).fit(rows), rows))
    assert len(display.axes_[1].get_xticks()) == 0


def test_a_column_without_a_value_has_an_empty_panel():
    rows = pd.DataFrame({"a": np.arange(40.0), "b": np.nan, "c": np.arange(40.0) % 7})
    display = drawn(ReconstructionDisplay.from_estimator(VAETransformer(**LIGHT).fit(rows), rows))
    assert np.ma.getmaskarray(display.scatter_[1].get_offsets()).all()


GAPS = {
    "text": np.array(["a", "b", None] * 20, dtype=object),
    "text with nan": pd.Series(["a", "b", np.nan] * 20),
    "string": pd.Series(["a", "b", None] * 20, dtype="string"),
    "category": pd.Series(pd.Categorical(["a", "b", None] * 20)),
    "nullable": pd.Series([1, 0, None] * 20, dtype="Int64"),
    "boolean": pd.Series([True, False, None] * 20, dtype="boolean"),
    "integers as floats": [1.0, 0.0, np.nan] * 20,
    "polars": pl.Series(["a", "b", None] * 20),
    "polars integers": pl.Series([1, 0, None] * 20),
}


@pytest.mark.parametrize("y", GAPS.values(), ids=GAPS.keys())
def test_rows_without_a_class_are_drawn_grey(y, light_vae, X):
    display = drawn(LatentSpaceDisplay.from_estimator(light_vae().fit(X), X, y=y, alpha=1.0))
    assert len(display.scatter_.get_offsets()) == 60
    grey = (display.scatter_.get_facecolors() == GREY).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(grey), np.arange(2, 60, 3))
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert texts[-1] == "no value (20 rows)"
    assert texts[:-1] in (["a", "b"], ["0", "1"], ["False", "True"])
    assert display.legend_.legend_handles[-1].get_color() == "#C4C4C4"


@pytest.mark.parametrize("y", [np.where(np.arange(60) % 3 == 2, np.nan, np.linspace(0.1, 1.0, 60)),
                               pd.Series([0.5, 1.5, None] * 20, dtype="Float64", name="age")])  # fmt: skip
def test_rows_without_a_number_are_drawn_grey(y, light_vae, X):
    display = drawn(LatentSpaceDisplay.from_estimator(light_vae().fit(X), X, y=y, alpha=1.0, cmap="plasma"))
    display.scatter_.update_scalarmappable()
    grey = (display.scatter_.get_facecolors() == GREY).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(grey), np.arange(2, 60, 3))
    assert [text.get_text() for text in display.legend_.get_texts()] == ["no value (20 rows)"]
    assert display.colorbar_.ax.get_ylabel() == (getattr(y, "name", None) or "")
    assert display.scatter_.get_cmap().name == "plasma"


def test_no_row_has_a_class(light_vae, X):
    display = drawn(LatentSpaceDisplay.from_estimator(light_vae().fit(X), X, y=[None] * 60))
    assert [text.get_text() for text in display.legend_.get_texts()] == ["no value (60 rows)"]


def test_a_table_is_no_class(light_vae, X):
    with pytest.raises(ValueError, match=r"y must have one value per row\. Got shape \(60, 2\)"):
        LatentSpaceDisplay.from_estimator(light_vae().fit(X), X, y=np.ones((60, 2)))


def test_images_of_the_prior_are_of_the_prior(light_vae, digits):
    model = light_vae(likelihood="bernoulli", max_iter=10).fit(digits[0][:200])
    grid = ImageGridDisplay.from_estimator(model, image_shape=(8, 8), grid_shape=(3, 3), random_state=0)
    codes = model.sample_latent(9, codes="prior", random_state=0)
    np.testing.assert_allclose(grid.images.reshape(9, 64), model.inverse_transform(codes))
