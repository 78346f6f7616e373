"""``python -m skvae``: fit pipelines on real data that ship with scikit-learn, print a table and write pictures.

All methods see the same rows, 80 % to fit and 20 % held out; every number in the table is of held-out rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator, clone
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import skvae
from skvae import VAETransformer
from skvae.displays import ImageGridDisplay, LatentSpaceDisplay, LossCurveDisplay, ReconstructionDisplay

N_CODES = 10
MALIGNANT, BENIGN = 0, 1
IMAGE_SHAPE = (8, 8)


class Split(NamedTuple):
    """The rows to fit and the held-out rows of a table, with their classes."""

    train: np.ndarray
    test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


class Result(NamedTuple):
    """What a method reaches on held-out rows; None where it offers no such number."""

    method: str
    log_likelihood: float | None
    accuracy: float | None
    auroc: float | None


class FullGaussian(LedoitWolf):
    """One Gaussian with a full covariance, shrunk by Ledoit and Wolf's rule."""

    def score_samples(self, X: np.ndarray) -> np.ndarray:
        """Log-density of each row."""
        density: np.ndarray = multivariate_normal(self.location_, self.covariance_).logpdf(X)
        return density


class BernoulliMarginals(BaseEstimator):
    """Independent Bernoulli columns, smoothed by Laplace's rule."""

    def fit(self, X: np.ndarray, y: Any = None) -> BernoulliMarginals:
        """Take the mean of each column."""
        self.mean_ = (X.sum(axis=0) + 1.0) / (len(X) + 2.0)
        return self

    def score_samples(self, X: np.ndarray) -> np.ndarray:
        """Log-likelihood of each row; of fractions the expected one."""
        scores: np.ndarray = (X * np.log(self.mean_) + (1.0 - X) * np.log1p(-self.mean_)).sum(axis=1)
        return scores


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None takes those of the command line.
    """
    options = parse(argv)
    started = time.perf_counter()
    packages = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "torch", "numpy"))
    print(f"skvae {skvae.__version__} ({packages}), seed {options.seed}")
    training = {"random_state": options.seed} | ({} if options.max_iter is None else {"max_iter": options.max_iter})

    cancer = split_of(load_breast_cancer(), options.seed)
    cancer_models = cancer_pipelines(training)
    cancer_results = [run_cancer(name, pipeline, cancer) for name, pipeline in cancer_models.items()]
    digits = split_of(load_digits(), options.seed, largest=16.0)
    digits_models = digits_pipelines(training)
    digits_results = [run_digits(name, pipeline, digits) for name, pipeline in digits_models.items()]
    with step("digits", "VAETransformer with 2 components, for the map and the manifold"):
        flat_model = digits_vae(2, training, prior="standard_normal").fit(digits.train)

    print_table(
        "Breast cancer; outliers are malignant rows, the model is fitted on benign ones", cancer, cancer_results
    )
    print_table("Digits, 8x8 pixels from 0 to 1, Bernoulli likelihood", digits, digits_results)
    vae = "VAETransformer"
    write_pictures(options.out, (cancer_models[vae], cancer), (digits_models[vae], flat_model, digits), options.seed)
    print(f"{time.perf_counter() - started:.0f} s in all")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m skvae", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("skvae-pictures"), help="folder of the pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and the models (%(default)s)")
    parser.add_argument(
        "--max-iter", type=int, help="epochs of each model, for a quick look (default: the models' own)"
    )
    return parser.parse_args(argv)


# -- data and models ---------------------------------------------------------------------------------------------------


def split_of(data: Any, seed: int, largest: float = 1.0) -> Split:
    """Split a data set of scikit-learn's, its values divided by `largest`."""
    parts = train_test_split(data.data / largest, data.target, test_size=0.2, stratify=data.target, random_state=seed)
    return Split(*parts)


def cancer_pipelines(training: dict[str, Any]) -> dict[str, Pipeline]:
    """Densities of real numbers, each on standardised columns."""
    models = {
        "VAETransformer": VAETransformer(N_CODES, **training),
        "PCA (probabilistic)": PCA(N_CODES),
        "full-covariance Gaussian": FullGaussian(),
        "Gaussian marginals": GaussianMixture(1, covariance_type="diag"),
    }
    return {name: make_pipeline(StandardScaler(), model) for name, model in models.items()}


def digits_pipelines(training: dict[str, Any]) -> dict[str, Pipeline]:
    """Models of the pixels; those that never change in the rows to fit are left out for all."""
    return {
        "VAETransformer": digits_vae(N_CODES, training),
        "PCA": make_pipeline(VarianceThreshold(), PCA(N_CODES)),
        "Bernoulli marginals": make_pipeline(VarianceThreshold(), BernoulliMarginals()),
    }


def digits_vae(n_components: int, training: dict[str, Any], **parameters: Any) -> Pipeline:
    """A VAE of the pixels, trained on the plain bound: quicker than the default's, and good for codes and pictures."""
    plain: dict[str, Any] = {"likelihood": "bernoulli", "objective": "elbo", "n_train_samples": 1}
    plain |= {"max_iter": 200, "batch_size": 128}
    return make_pipeline(VarianceThreshold(), VAETransformer(n_components, **(plain | parameters | training)))


# -- numbers -----------------------------------------------------------------------------------------------------------


def run_cancer(name: str, pipeline: Pipeline, split: Split) -> Result:
    """Fit on all rows for density and codes, and on benign rows for outliers."""
    with step("breast cancer", name):
        pipeline.fit(split.train)
        benign = clone(pipeline).fit(split.train[split.y_train == BENIGN])
        auroc = roc_auc_score(split.y_test == MALIGNANT, -benign.score_samples(split.test))
        jacobian = -np.log(pipeline[0].scale_).sum()  # from standardised units to those of the data
        log_likelihood = pipeline.score_samples(split.test).mean() + jacobian
        return Result(name, log_likelihood, accuracy_of_codes(pipeline, split), auroc)


def run_digits(name: str, pipeline: Pipeline, split: Split) -> Result:
    """Fit on all rows."""
    with step("digits", name):
        pipeline.fit(split.train)
        # PCA's density is one of real numbers: not comparable with probabilities of pixels.
        log_likelihood = None if name == "PCA" else pipeline.score_samples(split.test).mean()
        return Result(name, log_likelihood, accuracy_of_codes(pipeline, split), None)


def accuracy_of_codes(pipeline: Pipeline, split: Split) -> float | None:
    """Accuracy of a logistic regression on the codes, None for a model that has none."""
    if not hasattr(pipeline, "transform"):
        return None
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(pipeline.transform(split.train), split.y_train)
    return float(classifier.score(pipeline.transform(split.test), split.y_test))


# -- what the reader sees ----------------------------------------------------------------------------------------------


@contextmanager
def step(data: str, what: str) -> Iterator[None]:
    """Print what is being done, and its seconds when it is."""
    started = time.perf_counter()
    print(f"  {data}: {what} ...", end="", flush=True)
    yield
    print(f" {time.perf_counter() - started:.1f} s")


def print_table(title: str, split: Split, results: Sequence[Result]) -> None:
    """Print one line per method."""
    print(f"\n{title}\n{len(split.train)} rows to fit, {len(split.test)} held out, {split.train.shape[1]} columns\n")
    print(f"{'':26}{'log-likelihood':>16}{'accuracy of a':>20}{'AUROC of':>12}")
    print(f"{'':26}{'nats per row':>16}{f'line on {N_CODES} codes':>20}{'outliers':>12}")
    for result in results:
        cells = (number(result.log_likelihood, ".2f"), number(result.accuracy, ".3f"), number(result.auroc, ".3f"))
        print("{:26}{:>16}{:>20}{:>12}".format(result.method, *cells))


def number(value: float | None, form: str) -> str:
    """The formatted number, or a dash."""
    return "-" if value is None else format(value, form)


def write_pictures(
    folder: Path, cancer: tuple[Pipeline, Split], digits: tuple[Pipeline, Pipeline, Split], seed: int
) -> None:
    """Write the pictures, or say how to get them."""
    try:
        import matplotlib
    except ImportError:
        print('\nNo pictures: matplotlib is not installed. Get them with: pip install "skvae[plot]"')
        return
    matplotlib.use("Agg")  # files only: works without a screen
    folder.mkdir(parents=True, exist_ok=True)
    print(f"\nPictures in {folder}/:")
    for name, display in (draw_cancer(*cancer) | draw_digits(*digits, seed)).items():
        display.figure_.savefig(folder / f"{name}.png", dpi=150)
        print(f"  {name}.png")


def draw_cancer(model: Pipeline, split: Split) -> dict[str, Any]:
    """The training, and the held-out rows in the latent space."""
    diagnosis = np.array(["malignant", "benign"])[split.y_test]
    return {
        "loss_curve": LossCurveDisplay.from_estimator(model, name="Breast cancer: training"),
        "latent_cancer": LatentSpaceDisplay.from_estimator(
            model, split.test, y=diagnosis, name="Breast cancer: held-out rows in the latent space"
        ),
    }


def draw_digits(model: Pipeline, flat_model: Pipeline, split: Split, seed: int) -> dict[str, Any]:
    """Reconstructions and draws of the large model; the map and the manifold of the one with 2 components."""
    image: dict[str, Any] = {"image_shape": IMAGE_SHAPE, "vmin": 0.0, "vmax": 1.0}
    return {
        "latent_digits": LatentSpaceDisplay.from_estimator(
            flat_model, split.test, y=split.y_test, name="Digits: held-out images in the latent space"
        ),
        "reconstructions": ReconstructionDisplay.from_estimator(
            model, split.test, **image, name="Digits: held-out images and their reconstructions"
        ),
        "prior": ImageGridDisplay.from_estimator(model, **image, random_state=seed, name="Digits drawn from the prior"),
        "manifold": ImageGridDisplay.from_estimator(
            flat_model, kind="manifold", grid_shape=(15, 15), **image, name="The 2-D manifold of digits"
        ),
    }


if __name__ == "__main__":
    with threadpool_limits(1):  # networks this small gain nothing from a second thread, and lose much on a busy machine
        main()
