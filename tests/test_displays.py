"""The displays: what they compute, what they draw, and what they say when they cannot."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import colors, pyplot
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer
from skvae.displays import (
    ExplanationDisplay,
    ImageGridDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    OutlierScoreDisplay,
    ReconstructionDisplay,
    SyntheticReportDisplay,
)
from skvae.metrics import column_errors, noise_floor, pair_errors

SHAPE = (8, 8)


@pytest.fixture(autouse=True)
def _headless():
    """Draw without a screen, and leave no figure behind."""
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.fixture
def axes():
    return Figure(layout="constrained").subplots()


@pytest.fixture
def fitted(light_vae, X):
    return light_vae().fit(X)


@pytest.fixture
def images(light_vae, digits):
    """A model of images with the standard normal prior, and its rows."""
    X = digits[0][:60]
    return light_vae(likelihood="bernoulli", prior="standard_normal").fit(X), X


@pytest.fixture(scope="module")
def light_detector():
    """A small, quick VAEOutlierDetector; keyword arguments override."""
    vae = VAETransformer(max_iter=3, hidden_layer_sizes=(8,), device="cpu", early_stopping=False)
    return lambda **parameters: VAEOutlierDetector(**({"estimator": vae, "random_state": 0} | parameters))


@pytest.fixture(scope="module")
def judged(light_detector, cancer):
    """A detector fitted to benign rows, and a frame of 40 benign rows before 20 malignant ones."""
    X, y = cancer
    X = pd.DataFrame(X, columns=[f"c{j}" for j in range(8)])
    rows = pd.concat([X[y == 1].tail(40), X[y == 0].head(20)], ignore_index=True)
    return light_detector(novelty=True).fit(X[y == 1].head(150)), rows


def of_loss(model, X, **options):
    return LossCurveDisplay.from_estimator(model, **options)


def of_codes(model, X, **options):
    return LatentSpaceDisplay.from_estimator(model, X, **options)


def of_rows(model, X, **options):
    return ReconstructionDisplay.from_estimator(model, X, **options)


def of_prior(model, X, **options):
    return ImageGridDisplay.from_estimator(model, image_shape=SHAPE, grid_shape=(2, 3), random_state=0, **options)


def of_draws(model, X, **options):
    return SyntheticReportDisplay.from_estimator(model, X, random_state=0, **options)


# -- the convention ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [of_loss, of_codes, of_rows, of_prior, of_draws])
class TestConvention:
    def test_draws_into_the_given_axes(self, draw, images, axes):
        display = draw(*images, ax=axes)
        assert display.ax_ is axes
        assert display.figure_ is axes.figure
        axes.figure.draw_without_rendering()

    def test_makes_a_figure_of_its_own(self, draw, images):
        display = draw(*images)
        assert display.figure_ is pyplot.figure(display.figure_.number)

    def test_plot_draws_again_and_returns_itself(self, draw, images, axes):
        display = draw(*images)
        assert display.plot(ax=axes) is display
        assert display.ax_ is axes

    def test_a_pipeline_is_read_by_its_last_step(self, draw, images, axes):
        model, X = images
        display = draw(make_pipeline("passthrough", model), X, ax=axes)
        assert display.name == "VAETransformer"

    def test_name_is_the_title(self, draw, images):
        display = draw(*images, name="My picture")
        title = display.ax_.get_title() or display.figure_.get_suptitle()
        assert title == "My picture"

    def test_unfitted(self, draw, light_vae, X):
        with pytest.raises(NotFittedError, match="not fitted"):
            draw(light_vae(), X)

    def test_without_matplotlib(self, draw, images, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r'draws with matplotlib.*pip install "skvae\[plot\]"'):
            draw(*images)


def of_scores(model, X, **options):
    return OutlierScoreDisplay.from_estimator(model, X, **options)


def of_shares(model, X, **options):
    return ExplanationDisplay.from_estimator(model, X, **options)


@pytest.mark.parametrize("draw", [of_scores, of_shares])
class TestConventionOfDetectors:
    def test_draws_into_the_given_axes(self, draw, judged, axes):
        display = draw(*judged, ax=axes)
        assert display.ax_ is axes
        assert display.figure_ is axes.figure
        axes.figure.draw_without_rendering()

    def test_makes_a_figure_of_its_own(self, draw, judged):
        display = draw(*judged)
        assert display.figure_ is pyplot.figure(display.figure_.number)

    def test_plot_draws_again_and_returns_itself(self, draw, judged, axes):
        display = draw(*judged)
        assert display.plot(axes, name="again") is display
        assert display.ax_ is axes
        assert axes.get_title() == "again"

    def test_a_pipeline_is_read_by_its_last_step(self, draw, judged):
        detector, X = judged
        display = draw(make_pipeline("passthrough", detector), X)
        assert display.name.startswith("VAEOutlierDetector")
        assert draw(make_pipeline(detector), X).offset == display.offset == detector.offset_

    def test_name_is_the_title(self, draw, judged):
        assert draw(*judged, name="My picture").ax_.get_title() == "My picture"

    def test_unfitted(self, draw, light_detector, X):
        with pytest.raises(NotFittedError, match="not fitted"):
            draw(light_detector(), X)

    def test_another_estimator(self, draw, X):
        with pytest.raises(TypeError, match=r"Display draws a VAEOutlierDetector or .* Got PCA"):
            draw(PCA(2).fit(X), X)

    def test_without_matplotlib(self, draw, judged, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ImportError, match=r'draws with matplotlib.*pip install "skvae\[plot\]"'):
            draw(*judged)


def test_importing_needs_neither_matplotlib_nor_torch():
    code = "import sys, skvae.displays; print([m for m in ('matplotlib', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- the loss curve ----------------------------------------------------------------------------------------------------


def test_loss_curves_are_the_models(light_vae, X):
    model = light_vae(early_stopping=True, max_iter=4, tol=1e6).fit(X)
    display = LossCurveDisplay.from_estimator(model)
    expected = {
        "line_": model.loss_curve_,
        "reconstruction_line_": model.reconstruction_curve_,
        "kl_line_": model.kl_curve_,
        "validation_line_": np.negative(model.validation_scores_),
    }
    for attribute, values in expected.items():
        epochs, drawn = getattr(display, attribute).get_data()
        np.testing.assert_array_equal(epochs, np.arange(1, model.n_iter_ + 1))
        np.testing.assert_array_equal(drawn, values)
    assert display.kl_line_.axes is display.ax_kl_


def test_loss_axes_are_labelled(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "loss (nats per row)"
    assert display.ax_kl_.get_ylabel() == "KL divergence (nats per row)"
    legend = display.ax_kl_.get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["loss (training)", "reconstruction", "KL divergence (right)"]


def test_autoencoder_has_one_curve_in_its_own_unit(light_autoencoder, X):
    display = LossCurveDisplay.from_estimator(light_autoencoder().fit(X))
    assert display.ax_kl_ is display.kl_line_ is display.reconstruction_line_ is display.validation_line_ is None
    assert display.ax_.get_ylabel() == "loss (squared error per row)"


def test_loss_line_kwargs_win(fitted):
    assert LossCurveDisplay.from_estimator(fitted, linestyle=":").kl_line_.get_linestyle() == ":"


def test_loss_of_another_model(X):
    with pytest.raises(TypeError, match=r"draws a VAETransformer, .* Got PCA"):
        LossCurveDisplay.from_estimator(PCA(2).fit(X))


# -- the latent space --------------------------------------------------------------------------------------------------


def test_codes_are_drawn_in_the_order_of_the_rows(fitted, X):
    display = LatentSpaceDisplay.from_estimator(fitted, X, y=np.arange(len(X)) % 3)
    np.testing.assert_array_equal(display.scatter_.get_offsets(), fitted.transform(X))


def test_codes_of_a_pipeline_go_through_all_of_it(light_vae, X):
    pipeline = make_pipeline(StandardScaler(), light_vae()).set_output(transform="pandas")
    display = LatentSpaceDisplay.from_estimator(pipeline.fit(X), X)
    np.testing.assert_array_equal(display.scatter_.get_offsets(), pipeline.transform(X))


def test_components_can_be_chosen(light_vae, X):
    model = light_vae(n_components=3).fit(X)
    display = LatentSpaceDisplay.from_estimator(model, X, components=(2, 0))
    np.testing.assert_array_equal(display.codes, model.transform(X)[:, [2, 0]])
    kl = model.kl_per_component_
    assert display.ax_.get_xlabel() == f"component 2 (KL {kl[2]:.2f} nats)"
    assert display.ax_.get_ylabel() == f"component 0 (KL {kl[0]:.2f} nats)"


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.arange(60) % 3, ["0", "1", "2"]),
        (np.array(["no", "yes"])[np.arange(60) % 2], ["no", "yes"]),
        (np.arange(60) % 2 == 0, ["False", "True"]),
        (pd.Series(["a", "b"] * 30, name="kind", dtype="category"), ["a", "b"]),
        (np.arange(60) % 14, [str(i) for i in range(14)]),
    ],
    ids=["integers", "strings", "booleans", "categorical", "more than ten"],
)
def test_classes_have_a_colour_each_and_a_legend(fitted, X, y, classes):
    display = LatentSpaceDisplay.from_estimator(fitted, X, y=y)
    assert [text.get_text() for text in display.legend_.get_texts()] == classes
    assert display.legend_.get_title().get_text() == getattr(y, "name", "")
    assert display.colorbar_ is None
    colours = {
        str(label): {tuple(c) for c in display.scatter_.get_facecolors()[np.asarray(y) == label]} for label in set(y)
    }
    assert all(len(own) == 1 for own in colours.values())
    assert len(set.union(*colours.values())) == len(classes)


def test_legend_and_points_agree(fitted, X):
    y = np.arange(60) % 3
    display = LatentSpaceDisplay.from_estimator(fitted, X, y=y, alpha=1.0)
    for label, handle in enumerate(display.legend_.legend_handles):
        shown = colors.to_rgba(handle.get_color())
        np.testing.assert_allclose(display.scatter_.get_facecolors()[y == label], [shown] * 20)


@pytest.mark.parametrize("y", [np.linspace(0.0, 1.0, 60), np.arange(60)], ids=["floats", "many integers"])
def test_numbers_have_a_colour_bar(fitted, X, y):
    display = LatentSpaceDisplay.from_estimator(fitted, X, y=pd.Series(y, name="age"))
    np.testing.assert_array_equal(display.scatter_.get_array(), y)
    assert display.colorbar_.ax.get_ylabel() == "age"
    assert display.legend_ is None


def test_latent_space_of_any_transformer(X):
    assert LatentSpaceDisplay.from_estimator(PCA(2).fit(X), X).ax_.get_xlabel() == "component 0"


@pytest.mark.parametrize("components", [(0, 2), (-1, 0)])
def test_components_that_are_not_there(fitted, X, components):
    with pytest.raises(ValueError, match=r"must be two of the 2 that the codes have.*n_components=2 or more"):
        LatentSpaceDisplay.from_estimator(fitted, X, components=components)


def test_classes_of_another_length(fitted, X):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LatentSpaceDisplay.from_estimator(fitted, X, y=[0, 1])


# -- reconstructions ---------------------------------------------------------------------------------------------------


def test_scatters_show_observed_against_reconstructed_in_data_units(light_vae, X):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    pipeline = make_pipeline(StandardScaler(), light_vae()).fit(frame)
    display = ReconstructionDisplay.from_estimator(pipeline, frame, max_panels=3)
    expected = pipeline[0].inverse_transform(pipeline[1].reconstruct(pipeline[0].transform(frame)))
    assert [panel.get_title() for panel in display.axes_] == ["a", "b", "c"]
    for j, scatter in enumerate(display.scatter_):
        np.testing.assert_allclose(scatter.get_offsets(), np.column_stack([X[:, j], expected[:, j]]))
    assert display.image_ is None


def test_scatters_leave_out_missing_cells(light_vae, X):
    X[3, 0] = np.nan
    display = ReconstructionDisplay.from_estimator(light_vae().fit(X), X)
    assert np.ma.getmaskarray(display.scatter_[0].get_offsets()).any(axis=1).sum() == 1
    assert not np.ma.getmaskarray(display.scatter_[1].get_offsets()).any()


def test_panels_share_the_labels_of_their_row_and_column(light_vae, cancer):
    X = cancer[0][:60, :6]
    panels = ReconstructionDisplay.from_estimator(light_vae().fit(X), X).axes_
    assert [panel.get_ylabel() for panel in panels] == ["reconstructed", "", "", "", "reconstructed", ""]
    assert [panel.get_xlabel() for panel in panels] == ["", "", "observed", "observed", "observed", "observed"]


def test_scatters_need_axes_in_a_grid(fitted, X):
    free = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    with pytest.raises(ValueError, match="ax must stand in a grid of its figure"):
        ReconstructionDisplay.from_estimator(fitted, X, ax=free)


def test_images_stand_above_their_reconstructions(images):
    model, X = images
    display = ReconstructionDisplay.from_estimator(model, X, image_shape=SHAPE, max_panels=5)
    canvas = display.image_.get_array()
    assert canvas.shape == (2 * 9, 5 * 9)
    for j in range(5):
        np.testing.assert_array_equal(canvas[:8, 9 * j : 9 * j + 8].ravel(), X[j])
        np.testing.assert_allclose(canvas[9:17, 9 * j : 9 * j + 8].ravel(), model.reconstruct(X[[j]])[0])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["observed", "reconstructed"]
    assert display.axes_ == display.scatter_ == []


def test_colour_images(light_vae, digits):
    X = digits[0][:20, :48]
    model = light_vae(likelihood="bernoulli").fit(X)
    display = ReconstructionDisplay.from_estimator(model, X, image_shape=(4, 4, 3), max_panels=2)
    canvas = display.image_.get_array()
    np.testing.assert_array_equal(canvas[:4, :4], X[0].reshape(4, 4, 3))
    display.figure_.draw_without_rendering()


def test_image_shape_that_does_not_fit(images):
    with pytest.raises(ValueError, match=r"image_shape=\(7, 8\) has 56 cells, but the rows have 64 columns"):
        ReconstructionDisplay.from_estimator(*images, image_shape=(7, 8))


# -- grids of images ---------------------------------------------------------------------------------------------------


def test_draws_from_the_prior_are_decoded_and_repeatable(images):
    model, X = images
    display = of_prior(model, X)
    expected = model.sample(6, noise=False, codes="prior", random_state=0).reshape(2, 3, *SHAPE)
    np.testing.assert_allclose(display.images, expected)
    canvas = display.image_.get_array()
    np.testing.assert_array_equal(canvas[9:17, 18:26], display.images[1, 2])


def test_manifold_is_even_in_probability(images):
    model, _ = images
    display = ImageGridDisplay.from_estimator(model, image_shape=SHAPE, kind="manifold", grid_shape=(3, 4))
    across, up = norm.ppf([1 / 8, 3 / 8, 5 / 8, 7 / 8]), norm.ppf([1 / 6, 3 / 6, 5 / 6])
    for i, j in [(0, 0), (0, 3), (2, 1)]:
        expected = model.inverse_transform([[across[j], up[2 - i]]])  # upwards, as on the axes of a map
        np.testing.assert_allclose(display.images[i, j].ravel(), expected[0])
    assert display.column_labels == ["-1.2", "-0.3", "0.3", "1.2"]
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == display.row_labels == ["1.0", "0.0", "-1.0"]
    assert display.ax_.get_xlabel().startswith("component 0 (KL ")


def test_manifold_leaves_further_components_at_zero(light_vae, digits):
    model = light_vae(n_components=3, likelihood="bernoulli", prior="standard_normal").fit(digits[0][:60])
    display = ImageGridDisplay.from_estimator(model, image_shape=SHAPE, kind="manifold", grid_shape=(1, 1))
    np.testing.assert_allclose(display.images.ravel(), model.inverse_transform(np.zeros((1, 3)))[0])


def test_grid_of_a_pipeline_is_in_the_units_of_its_input(images, digits):
    X = 16.0 * images[1] + 3.0
    scaler = StandardScaler(with_std=False).fit(X)
    pipeline = make_pipeline(scaler, type(images[0])(**images[0].get_params() | {"likelihood": "gaussian"})).fit(X)
    display = of_prior(pipeline, X)
    expected = scaler.inverse_transform(pipeline[-1].sample(6, noise=False, codes="prior", random_state=0))
    np.testing.assert_allclose(display.images.reshape(6, 64), expected)


@pytest.mark.parametrize("parameters", [{"prior": "mixture"}, {"prior": "standard_normal", "n_components": 1}])
def test_manifold_needs_two_normal_components(light_vae, digits, parameters):
    model = light_vae(likelihood="bernoulli", **parameters).fit(digits[0][:60])
    with pytest.raises(ValueError, match="needs prior='standard_normal' and n_components of 2 or more"):
        ImageGridDisplay.from_estimator(model, image_shape=SHAPE, kind="manifold")


def test_unknown_kind(images):
    with pytest.raises(ValueError, match=r"kind must be 'prior' or 'manifold'\. Got 'posterior'"):
        ImageGridDisplay.from_estimator(images[0], image_shape=SHAPE, kind="posterior")


def test_grid_of_a_model_without_prior(light_autoencoder, digits):
    model = light_autoencoder().fit(digits[0][:60])
    with pytest.raises(TypeError, match="Got AutoencoderTransformer, which has no prior"):
        ImageGridDisplay.from_estimator(model, image_shape=SHAPE)


# -- the scores of an outlier detector ---------------------------------------------------------------------------------

CLASSES = np.repeat([0, 1], [40, 20])  # of the rows of `judged`: 1 is malignant


def texts_of(legend):
    return [text.get_text() for text in legend.get_texts()]


def heights_of(container):
    return np.array([bar.get_height() for bar in container])


def test_scores_and_threshold_are_the_detectors(judged):
    detector, X = judged
    display = OutlierScoreDisplay.from_estimator(detector, X)
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(display.scores, scores)
    assert heights_of(display.patches_[0]).sum() == len(X)
    assert set(display.line_.get_xdata()) == {detector.offset_}
    below = np.count_nonzero(detector.predict(X) == -1)
    assert texts_of(display.legend_)[0].endswith(f": {below} of 60 rows below")
    assert display.ax_.get_xlabel() == "score (nats)"
    assert display.ax_.get_ylabel() == "rows"


@pytest.mark.parametrize(
    "y",
    [CLASSES, CLASSES == 1, np.where(CLASSES == 1, -1, 1), pd.Series(CLASSES), list(CLASSES)],
    ids=["0 and 1", "booleans", "as predict", "series", "list"],
)
def test_classes_have_a_histogram_each(judged, y):
    detector, X = judged
    display = OutlierScoreDisplay.from_estimator(detector, X, y)
    normal, outliers = (detector.predict(X)[CLASSES == k] == -1 for k in (0, 1))
    threshold = f"threshold {detector.offset_:,.1f}".replace("-", "\N{MINUS SIGN}")
    assert texts_of(display.legend_) == [
        f"normal: {normal.sum()} of 40 rows below",
        f"outliers: {outliers.sum()} of 20 rows below",
        threshold,
    ]
    for container in display.patches_:
        np.testing.assert_allclose(heights_of(container).sum(), 1.0)
    assert display.ax_.get_ylabel() == "share of the class"


def test_scores_that_are_there_already(judged):
    detector, X = judged
    scores = detector.score_samples(X)
    display = OutlierScoreDisplay.from_predictions(list(scores), offset=detector.offset_, y=CLASSES, name="Cells")
    of_estimator = OutlierScoreDisplay.from_estimator(detector, X, CLASSES)
    for drawn, expected in zip(display.patches_, of_estimator.patches_, strict=True):
        np.testing.assert_array_equal(heights_of(drawn), heights_of(expected))
    assert display.ax_.get_title() == "Cells"
    assert OutlierScoreDisplay.from_predictions(scores, offset=0.0).ax_.get_title() == ""


@pytest.mark.parametrize("y", [["bad", np.nan, "good"], [1, 0, None], [1, 1, 1], [0.0, 1.0, np.nan]])
def test_classes_that_are_no_labels_are_an_error(y):
    with pytest.raises(ValueError, match="y must hold two values: -1 for outliers"):
        OutlierScoreDisplay.from_predictions([1.0, 2.0, 3.0], offset=0.0, y=np.array(y, dtype=object))


@pytest.mark.parametrize("share", [0.01, 0.4])
def test_extreme_scores_stand_in_a_bin_of_their_own(share):
    normal = np.random.RandomState(0).normal(-20.0, 5.0, size=500)
    extreme = np.full(int(share * 500), -1e6)
    display = OutlierScoreDisplay.from_predictions(np.append(normal, extreme), offset=-40.0)
    bars = display.patches_[0]
    assert bars[0].get_height() == len(extreme)
    assert bars[1].get_height() == 0  # the gap before the axis
    assert heights_of(bars).sum() == 500 + len(extreme)
    low, high = display.ax_.get_xlim()
    assert -400.0 < low < -40.0 < high < 10.0
    marked = display.ax_.get_xticklabels()[0]
    cut = float(marked.get_text().removeprefix("below\n").replace("\N{MINUS SIGN}", "-"))
    assert cut == pytest.approx(bars[2].get_x(), abs=0.06)
    assert bars[0].get_x() < marked.get_position()[0] < cut
    display.figure_.draw_without_rendering()


def test_scores_without_extremes_are_all_on_the_axis():
    scores = np.random.RandomState(0).normal(size=200)
    display = OutlierScoreDisplay.from_predictions(scores, offset=-2.0)
    assert display.patches_[0][0].get_x() == scores.min()
    assert not [label for label in display.ax_.get_xticklabels() if "below" in label.get_text()]


def test_threshold_far_below_stands_at_the_edge():
    scores = np.append(np.random.RandomState(0).normal(size=200), np.full(10, -1e6))
    display = OutlierScoreDisplay.from_predictions(scores, offset=-5e5)
    assert texts_of(display.legend_) == ["threshold \N{MINUS SIGN}500,000 (further down): 10 of 210 rows below"]
    assert display.line_.get_xdata()[0] == display.patches_[0][0].get_x() > -100.0


def test_threshold_below_all_scores_is_in_sight():
    display = OutlierScoreDisplay.from_predictions(np.random.RandomState(0).normal(size=200), offset=-9.0)
    assert display.line_.get_xdata()[0] == -9.0 > display.ax_.get_xlim()[0]


def test_equal_scores_are_drawn():
    display = OutlierScoreDisplay.from_predictions(np.full(5, -3.0), offset=-3.0)
    display.figure_.draw_without_rendering()
    assert sum(heights_of(display.patches_[0])) == 5


def test_score_styles_win(judged):
    style = {"hist_kwargs": {"bins": 7, "density": True, "color": "red"}, "line_kwargs": {"linestyle": ":"}}
    display = OutlierScoreDisplay.from_predictions(np.arange(50.0), offset=3.0, **style)
    assert len(display.patches_[0]) == 7
    assert display.patches_[0][0].get_facecolor() == colors.to_rgba("red")
    assert display.ax_.get_ylabel() == "density"
    assert display.line_.get_linestyle() == ":"
    edges = np.arange(10.0, 60.0, 10.0)
    display = OutlierScoreDisplay.from_predictions(np.arange(50.0), offset=3.0, hist_kwargs={"bins": edges})
    np.testing.assert_array_equal(heights_of(display.patches_[0]), [10, 0, 10, 10, 10, 10])
    assert OutlierScoreDisplay.from_estimator(*judged, **style).line_.get_linestyle() == ":"


def test_scores_of_another_detector(X):
    forest = IsolationForest(n_estimators=5, random_state=0).fit(X)
    display = OutlierScoreDisplay.from_estimator(make_pipeline(StandardScaler().fit(X), forest), X)
    assert display.ax_.get_xlabel() == "score"
    assert display.name == "IsolationForest"


@pytest.mark.parametrize("y", [[0, 1, 2], [1, 1, 1], ["a", "b", "a"], [0.0, 1.0, np.nan]])
def test_labels_that_do_not_say_which_are_outliers(y):
    with pytest.raises(ValueError, match="y must hold two values: -1 for outliers and 1 for normal rows, or 1 for"):
        OutlierScoreDisplay.from_predictions(np.arange(3.0), offset=1.0, y=y)


def test_scores_that_cannot_be_drawn(judged):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        OutlierScoreDisplay.from_estimator(*judged, y=[0, 1])
    with pytest.raises(ValueError, match="scores contains NaN"):
        OutlierScoreDisplay.from_predictions([0.0, np.nan], offset=0.0)


def test_scikit_learns_displays_take_the_scores(judged, axes):
    detector, X = judged
    outlyingness = -detector.score_samples(X)
    roc = RocCurveDisplay.from_predictions(CLASSES, outlyingness, ax=axes)
    precision = PrecisionRecallDisplay.from_predictions(CLASSES, outlyingness, ax=axes)
    assert roc.roc_auc == pytest.approx(roc_auc_score(CLASSES, outlyingness))
    assert roc.roc_auc > 0.9
    assert precision.average_precision == pytest.approx(average_precision_score(CLASSES, outlyingness))


# -- the explanation of a score ----------------------------------------------------------------------------------------


def labels_of(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def widths_of(display):
    return np.array([bar.get_width() for bar in display.bars_])


def test_waterfall_leads_from_the_expected_score_to_the_rows(judged):
    detector, X = judged
    display = ExplanationDisplay.from_estimator(detector, X, row=45)
    explanation = detector.explain(X)
    shares = explanation.shares.to_numpy()[45]
    order = np.argsort(-np.abs(shares))
    latent = explanation.latent[45] - explanation.expected_score
    np.testing.assert_allclose(widths_of(display), [*shares[order], latent], atol=1e-9)
    starts = [bar.get_x() for bar in display.bars_]
    np.testing.assert_allclose(starts[0], explanation.expected_score)
    np.testing.assert_allclose(starts[1:], (starts + widths_of(display))[:-1])
    score = detector.score_samples(X)[45]
    np.testing.assert_allclose(display.ends_.get_xdata(), [explanation.expected_score, score])
    cells = [f"c{j} = {X.iloc[45, j]:.4g}" for j in order]
    assert labels_of(display) == ["expected score", *cells, "latent space", "score"]
    assert display.ax_.get_xlabel() == "score (nats)"
    assert display.ax_.get_title() == "VAEOutlierDetector, row 45"


def test_numbers_stand_beside_the_bars(judged):
    display = ExplanationDisplay.from_estimator(*judged, row=45)
    ends = display.ends_.get_xdata()
    written = [
        float(text.get_text().replace("\N{MINUS SIGN}", "-").replace(",", "")) for text in display.ax_.texts[:11]
    ]
    np.testing.assert_allclose(written, [*widths_of(display), *ends], atol=0.06)


def test_columns_without_room_are_summed(judged):
    detector, X = judged
    display = ExplanationDisplay.from_estimator(detector, X, row=45, max_display=3)
    shares = np.sort(np.abs(detector.explain(X).shares.to_numpy()[45]))[::-1]
    widths = widths_of(display)
    np.testing.assert_allclose(np.abs(widths[:3]), shares[:3], atol=1e-9)
    np.testing.assert_allclose(display.expected_score + widths.sum(), detector.score_samples(X)[45])
    assert labels_of(display)[4:] == ["5 other columns", "latent space", "score"]
    assert labels_of(display.plot(max_display=7))[8] == "1 other column"


def test_missing_cells_are_left_out(judged):
    detector, X = judged
    X = X.copy()
    X.loc[0, ["c2", "c5"]] = np.nan
    display = ExplanationDisplay.from_estimator(detector, X)
    assert len(display.bars_) == 6 + 1
    assert not [label for label in labels_of(display) if label.startswith(("c2", "c5"))]
    np.testing.assert_allclose(display.ends_.get_xdata()[1], detector.score_samples(X)[0])


@pytest.mark.parametrize("convert", [np.asarray, pl.from_pandas, lambda X: X.set_axis(range(60, 0, -1))])
def test_any_container_is_explained_by_position(judged, convert):
    detector, X = judged
    expected = ExplanationDisplay.from_estimator(detector, X, row=50)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        display = ExplanationDisplay.from_estimator(detector, convert(X), row=np.int64(50))
    np.testing.assert_allclose(widths_of(display), widths_of(expected), atol=1e-9)
    assert labels_of(display) == labels_of(expected)  # of an array: the names of fit


def test_names_of_columns(light_detector, X):
    detector = light_detector().fit(X)
    X[0, 0] = 12345.678
    assert "column 0 = 12346" in labels_of(ExplanationDisplay.from_estimator(detector, X))
    names = ["a" * 50, "b", "c", "d"]
    labels = labels_of(ExplanationDisplay.from_estimator(detector, X, feature_names=names))
    assert f"{'a' * 39}\N{HORIZONTAL ELLIPSIS} = 12346" in labels
    with pytest.raises(ValueError, match=r"one name for each of the 4 columns\. Got 2"):
        ExplanationDisplay.from_estimator(detector, X, feature_names=["a", "b"])


def test_explanation_of_a_pipeline_shows_what_its_last_step_sees(light_detector, X):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    pipeline = make_pipeline(StandardScaler(), light_detector()).set_output(transform="pandas").fit(frame)
    display = ExplanationDisplay.from_estimator(pipeline, frame, row=3)
    np.testing.assert_allclose(display.values, pipeline[0].transform(frame).iloc[3])
    np.testing.assert_allclose(display.ends_.get_xdata()[1], pipeline.score_samples(frame)[3])
    assert display.feature_names == ["a", "b", "c", "d"]


def test_threshold_is_drawn_where_it_is_in_sight(judged):
    detector, X = judged
    parts = (np.ones(2), np.array([-5.0, 1.0]), -10.0, -10.0, ["a", "b"])
    near = ExplanationDisplay(*parts, offset=-12.0).plot()
    assert set(near.line_.get_xdata()) == {-12.0}
    assert near.ax_.texts[-1].get_text() == "threshold \N{MINUS SIGN}12.0"
    assert ExplanationDisplay(*parts, offset=-99.0).plot().line_ is None
    assert ExplanationDisplay(*parts).plot().line_ is None
    worst = int(np.argmin(detector.score_samples(X)))
    assert set(ExplanationDisplay.from_estimator(detector, X, row=worst).line_.get_xdata()) == {detector.offset_}


def test_numbers_do_not_cover_each_other_nor_the_edges(judged):
    display = ExplanationDisplay.from_estimator(*judged, row=45)
    display.figure_.draw_without_rendering()
    boxes = [text.get_window_extent() for text in [*display.ax_.texts, *display.ax_.get_yticklabels()]]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert all(display.figure_.bbox.x0 <= box.x0 and box.x1 <= display.figure_.bbox.x1 for box in boxes)


def test_extreme_shares_are_written_in_few_digits():
    display = ExplanationDisplay(np.ones(2), np.array([-2e28, 0.25]), -10.0, -10.0, ["a", "b"]).plot()
    written = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in display.ax_.texts]
    assert written == ["-2e+28", "+0.25", "+0.00", "-10.0", "-2e+28"]
    display.figure_.draw_without_rendering()


def test_bar_styles_win(judged):
    display = ExplanationDisplay.from_estimator(*judged, color="red")
    assert display.bars_[0].get_facecolor() == colors.to_rgba("red")


@pytest.mark.parametrize("row", [-1, 60, 1.5])
def test_row_that_is_not_there(judged, row):
    with pytest.raises(ValueError, match="row must be the position of one of the 60 rows of X"):
        ExplanationDisplay.from_estimator(*judged, row=row)


@pytest.mark.parametrize("max_display", [0, 2.5])
def test_too_few_columns_to_display(judged, max_display):
    with pytest.raises(ValueError, match="max_display must be an integer of 1 or more"):
        ExplanationDisplay.from_estimator(*judged, max_display=max_display)


# -- real rows beside drawn ones ---------------------------------------------------------------------------------------


@pytest.fixture
def numbers_and_levels():
    """Real and drawn rows: whole numbers with missing cells, many levels, ordered levels, dates."""
    rng = np.random.default_rng(0)

    def rows(n, share):
        frame = pd.DataFrame(
            {
                "visits": rng.integers(0, 5, n) * 1.0,
                "town": [f"town {i}" for i in rng.permutation(np.arange(n) % 20)],
                "grade": pd.Categorical(
                    rng.choice(["low", "high"], n, p=[share, 1 - share]), ["low", "high"], ordered=True
                ),
                "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, n), unit="D"),
            }
        )
        return frame.assign(visits=frame["visits"].mask(rng.random(n) < 0.2))

    return rows(200, 0.3), rows(100, 0.6)


def test_panels_have_the_shares_of_both(numbers_and_levels):
    real, drawn = numbers_and_levels
    display = SyntheticReportDisplay.from_samples(real, drawn, random_state=0)
    assert display.shown_ == ["visits", "town", "grade", "day"]
    for artists, rows in ((display.real_, real), (display.drawn_, drawn)):
        values, edges, _ = artists[0].get_data()
        np.testing.assert_array_equal(edges, np.arange(-0.5, 5.0))
        np.testing.assert_allclose(values, [(rows["visits"] == visits).mean() for visits in range(5)])
        widths = [bar.get_width() for bar in artists[2]]
        np.testing.assert_allclose(widths, [(rows["grade"] == grade).mean() for grade in ("low", "high")])
        assert sum(bar.get_width() for bar in artists[1]) == pytest.approx(1.0)
        assert artists[3].get_data().values.sum() == pytest.approx(1.0)
    gaps = [patch.get_data().values[0] for patch in display.axes_[0].patches[2:]]
    np.testing.assert_allclose(gaps, [real["visits"].isna().mean(), drawn["visits"].isna().mean()])


def test_ticks_of_levels_and_dates(numbers_and_levels):
    display = SyntheticReportDisplay.from_samples(*numbers_and_levels)
    _, town, grade, day = display.axes_
    assert [label.get_text() for label in town.get_yticklabels()][-1] == "13 others"
    assert len(town.get_yticklabels()) == 8
    assert [label.get_text() for label in grade.get_yticklabels()] == ["low", "high"]
    assert [label.get_text().strip() for label in day.get_xticklabels()] == ["2024-01-01", "2024-02-29"]


def test_errors_are_those_of_the_metrics(numbers_and_levels):
    real, drawn = numbers_and_levels
    display = SyntheticReportDisplay.from_samples(real, drawn, random_state=0)
    floor = noise_floor(real, len(drawn), random_state=0)
    errors = column_errors(real, drawn)
    np.testing.assert_array_equal(display.errors, errors)
    np.testing.assert_array_equal(display.floors, floor.columns)
    assert display.axes_[1].texts[0].get_text() == f"{errors['town']:.3f} ({floor.columns['town']:.3f})"
    below = np.tri(4, k=-1, dtype=bool)
    shown = display.image_.get_array()
    np.testing.assert_array_equal(shown[below], pair_errors(real, drawn).to_numpy()[below])
    np.testing.assert_array_equal(shown[below.T], floor.pairs.to_numpy()[below.T])
    assert np.ma.getmaskarray(shown).diagonal().all()


def test_the_worst_of_many_columns_are_shown():
    rng = np.random.default_rng(0)
    real = pd.DataFrame(rng.normal(size=(100, 30)), columns=[f"column {j} of a table" for j in range(30)])
    drawn = real + np.linspace(0.0, 3.0, 30)
    display = SyntheticReportDisplay.from_samples(real, drawn, random_state=0)
    worst = column_errors(real, drawn).sort_values(ascending=False, kind="stable").index[:12]
    assert display.shown_ == list(worst)
    assert display.legend_.get_texts()[-1].get_text().startswith("the 12 worst of 30 columns")
    assert display.image_.get_array().shape == (24, 24)
    assert "24 of 30 columns" in display.ax_pairs_.get_title(loc="left")
    assert len(display.plot(max_panels=2).axes_) == 2


def test_small_axes_have_room_for_few(axes):
    X = np.random.default_rng(0).normal(size=(50, 30))
    display = SyntheticReportDisplay.from_samples(X, X, ax=axes)
    axes.figure.draw_without_rendering()
    assert len(display.axes_) == 2
    assert display.legend_.get_texts()[-1].get_text().startswith("the 2 worst of 30 columns")


def test_one_column_has_no_pairs():
    display = SyntheticReportDisplay.from_samples(np.arange(20.0)[:, None], np.arange(20.0)[:, None])
    display.figure_.draw_without_rendering()
    assert display.ax_pairs_ is display.image_ is display.colorbar_ is None


@pytest.mark.parametrize("values", [[0.0] * 30, [7.5] * 30, [np.nan] * 30, [1e-9, 1e300] * 15, [0.0] * 28 + [1.0, 1e6]])
def test_numbers_of_any_size(values):
    X = np.column_stack([values, np.arange(30.0)])
    display = SyntheticReportDisplay.from_samples(X, X[::2])
    display.figure_.draw_without_rendering()
    shares, edges, _ = display.real_[0].get_data()
    assert shares.sum() == pytest.approx(np.isfinite(values).mean())
    assert (np.diff(edges) > 0.0).all()


def test_most_rows_in_one_bin_are_drawn_on_a_logarithmic_axis():
    X = np.append(np.zeros(90), np.linspace(1.0, 100.0, 10))[:, None]
    display = SyntheticReportDisplay.from_samples(np.hstack([X, np.arange(100.0)[:, None]]), np.hstack([X, X]))
    assert [panel.get_yscale() for panel in display.axes_] == ["log", "log"]
    flat = np.arange(100.0)[:, None]
    assert SyntheticReportDisplay.from_samples(flat, flat).axes_[0].get_yscale() == "linear"


def test_draws_are_as_many_as_asked(fitted, X):
    display = SyntheticReportDisplay.from_estimator(fitted, X, n_samples=17, random_state=1)
    np.testing.assert_array_equal(display.rows["X_drawn"], fitted.sample(17, random_state=1))
    assert len(SyntheticReportDisplay.from_estimator(fitted, X).rows["X_drawn"]) == len(X)


def test_draws_of_a_pipeline_are_seen_as_its_last_step_sees_them(light_vae, X):
    pipeline = make_pipeline(StandardScaler(), light_vae()).fit(X)
    display = SyntheticReportDisplay.from_estimator(pipeline, X)
    np.testing.assert_allclose(display.rows["X"], StandardScaler().fit_transform(X))
    assert display.errors.max() < 0.6


def test_a_model_that_draws_nothing(X):
    with pytest.raises(TypeError, match=r"draws a VAETransformer or another model that can sample\. Got PCA"):
        SyntheticReportDisplay.from_estimator(PCA(2).fit(X), X)
