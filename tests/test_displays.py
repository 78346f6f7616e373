"""The displays: what they compute, what they draw, and what they say when they cannot."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors, pyplot
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae.displays import ImageGridDisplay, LatentSpaceDisplay, LossCurveDisplay, ReconstructionDisplay

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


def of_loss(model, X, **options):
    return LossCurveDisplay.from_estimator(model, **options)


def of_codes(model, X, **options):
    return LatentSpaceDisplay.from_estimator(model, X, **options)


def of_rows(model, X, **options):
    return ReconstructionDisplay.from_estimator(model, X, **options)


def of_prior(model, X, **options):
    return ImageGridDisplay.from_estimator(model, image_shape=SHAPE, grid_shape=(2, 3), random_state=0, **options)


# -- the convention ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [of_loss, of_codes, of_rows, of_prior])
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
    expected = model.sample(6, noise=False, random_state=0).reshape(2, 3, *SHAPE)
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
    expected = scaler.inverse_transform(pipeline[-1].sample(6, noise=False, random_state=0))
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
