"""``python -m skvae``: its table, its pictures, and its numbers."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import __main__ as command
from skvae import __version__

PICTURES = ["latent_cancer", "latent_digits", "loss_curve", "manifold", "prior", "reconstructions"]


@pytest.fixture(scope="module")
def cancer():
    return command.split_of(load_breast_cancer(), seed=0)


def run(*arguments, code="from skvae.__main__ import main; main()"):
    """Run the command in a process of its own and return what it printed."""
    python = [sys.executable, *(["-m", "skvae"] if code is None else ["-c", code])]
    done = subprocess.run([*python, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prints_a_table_and_writes_pictures(tmp_path):
    printed = run("--out", str(tmp_path / "new" / "folder"), "--max-iter", "1", "--seed", "3", code=None)
    assert sorted(path.stem for path in (tmp_path / "new" / "folder").iterdir()) == PICTURES
    assert all(path.stat().st_size > 5_000 for path in (tmp_path / "new" / "folder").iterdir())
    first = printed.splitlines()[0]
    assert first.startswith(f"skvae {__version__} (scikit-learn ")
    assert first.endswith("seed 3")
    for method in ("VAETransformer", "PCA", "full-covariance Gaussian", "Gaussian marginals", "Bernoulli marginals"):
        assert f"\n{method} " in printed
    assert "breast cancer: VAETransformer ... " in printed
    assert printed.rstrip().endswith("s in all")


def test_without_matplotlib_it_says_how_to_get_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    command.write_pictures(tmp_path / "pictures", None, None, seed=0)
    assert 'pip install "skvae[plot]"' in capsys.readouterr().out
    assert not (tmp_path / "pictures").exists()


def test_splits_are_disjoint_and_seeded():
    data = load_breast_cancer()
    first, again, other = (command.split_of(data, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)
    assert len(first.train) + len(first.test) == len(data.data)
    assert not set(map(tuple, first.train)) & set(map(tuple, first.test))


def test_log_likelihood_is_of_held_out_rows_in_data_units(cancer, capsys):
    marginals = command.cancer_pipelines({})["Gaussian marginals"]
    result = command.run_cancer("Gaussian marginals", marginals, cancer)
    by_hand = norm.logpdf(cancer.test, cancer.train.mean(axis=0), cancer.train.std(axis=0)).sum(axis=1).mean()
    assert result.log_likelihood == pytest.approx(by_hand, abs=1e-2)  # the mixture adds 1e-6 to each variance
    assert result.accuracy is None


def test_outliers_are_scored_by_a_model_of_benign_rows(cancer, capsys):
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(1, random_state=0))
    result = command.run_cancer("one Gaussian", pipeline, cancer)
    benign = GaussianMixture(1, reg_covar=1e-12).fit(StandardScaler().fit_transform(cancer.train[cancer.y_train == 1]))
    scaler = StandardScaler().fit(cancer.train[cancer.y_train == 1])
    by_hand = roc_auc_score(cancer.y_test == 0, -benign.score_samples(scaler.transform(cancer.test)))
    assert result.auroc == pytest.approx(by_hand, abs=0.01)
    assert result.auroc > 0.8


def test_full_gaussian_is_the_shrunk_one(cancer):
    model = command.FullGaussian().fit(cancer.train[:, :3])
    # LedoitWolf.score is the mean log-density of the same Gaussian.
    assert model.score_samples(cancer.test[:, :3]).mean() == pytest.approx(model.score(cancer.test[:, :3]))


def test_bernoulli_marginals_sum_to_one():
    model = command.BernoulliMarginals().fit(np.array([[0.0, 1.0], [0.0, 0.5], [1.0, 1.0]]))
    everything = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert np.exp(model.score_samples(everything)).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(model.mean_, [0.4, 0.7])


def test_all_digit_models_see_the_same_pixels():
    pipelines = command.digits_pipelines({"max_iter": 1, "random_state": 0})
    assert len({repr(pipeline[0]) for pipeline in pipelines.values()}) == 1


def test_max_iter_and_seed_reach_every_vae():
    training = {"max_iter": 7, "random_state": 5}
    for pipeline in (command.cancer_pipelines(training), command.digits_pipelines(training)):
        parameters = pipeline["VAETransformer"][-1].get_params()
        assert (parameters["max_iter"], parameters["random_state"]) == (7, 5)


def test_a_missing_number_is_a_dash():
    assert command.number(None, ".2f") == "-"
    assert command.number(1.0, ".2f") == "1.00"
