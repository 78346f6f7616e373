"""What a user may write: mypy --strict and pyright find nothing in it, and it runs (tests/test_typing.py)."""

from functools import partial
from typing import assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skvae import AutoencoderTransformer, Explanation, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.displays import ExplanationDisplay, LatentSpaceDisplay, LossCurveDisplay
from skvae.metrics import SyntheticReport, detection_auc, synthetic_report
from skvae.nn.likelihoods import Categorical, Gaussian
from skvae.nn.priors import Mixture, Prior, StandardNormal

Floats = NDArray[np.float64]
X = np.random.default_rng(0).normal(size=(60, 3))
frame = pd.DataFrame(X, columns=["a", "b", "c"])
seed = np.random.default_rng(0).integers(100)


class Linear(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, rows: object) -> object:
        return self.layer(rows)


def light(n_components: int = 2, beta: float = 1.0) -> VAETransformer:
    return VAETransformer(n_components, beta=beta, hidden_layer_sizes=[8], max_iter=2, tol=9)


def constructors() -> list[VAETransformer]:
    likelihoods = {"a": "gaussian", "b": partial(Gaussian, scale="column")}
    return [
        VAETransformer("auto", likelihood="student_t", prior="aggregated", atoms=None, bounds=None),
        VAETransformer(likelihood=likelihoods, atoms=["c"], random_state=seed),
        VAETransformer(likelihood=Categorical, prior=StandardNormal, hidden_layer_sizes=()),
        VAETransformer(prior=lambda n: Mixture(n), encoder=Linear, decoder=Linear, tol=0),
        VAETransformer(random_state=np.random.RandomState(0), max_iter="auto", early_stopping="auto"),
    ]


def prior_of_mine(n_components: int) -> Prior:
    return StandardNormal(n_components)


def transformers() -> None:
    vae = light().set_params(prior=prior_of_mine).fit(X, sample_weight=np.ones(60), X_val=X[:9])
    assert_type(vae, VAETransformer)
    codes = vae.transform(X)
    means, stds = vae.posterior(X)
    print(codes.shape, means - stds)
    scores = vae.score_samples(X)
    assert_type(scores, Floats)
    assert_type(vae.score(X), float)
    print(
        scores.mean(), min(vae.loss_curve_), vae.kl_per_component_.round(2), vae.n_components_ + 1, vae.schema_.columns
    )
    rows, sizes = vae.sample(3, given={0: 0.5}, return_ess=True, random_state=0)
    print(rows.shape, sizes, vae.sample_latent(2, codes="prior").shape, vae.inverse_transform(codes)[0])
    autoencoder = AutoencoderTransformer(loss="squared_error", corruption="masking", max_iter=2, early_stopping=False)
    assert_type(autoencoder.fit(X), AutoencoderTransformer)
    named = light().set_output(transform="pandas")
    assert_type(named, VAETransformer)
    print(named.fit_transform(frame).iloc[0], named.get_feature_names_out().tolist(), named.get_params()["beta"])
    with config_context(enable_metadata_routing=True):
        print(light().set_fit_request(sample_weight=True).partial_fit(X).n_iter_)


def detector_and_imputer() -> None:
    detector = VAEOutlierDetector(estimator=[light(), light(3)], contamination=0.1).fit(frame)
    assert_type(detector, VAEOutlierDetector)
    labels = detector.predict(frame)
    print(
        frame[labels == -1],
        detector.offset_ + 1.0,
        detector.estimators_[0].n_components_,
        detector.fit_predict(X).sum(),
    )
    print(detector.fit(X).p_values(X) < 0.05, ~detector.select_outliers(X, fdr=0.2), detector.decision_function(X) < 0)
    explanation = detector.explain(X[:2])
    assert_type(explanation, Explanation)
    assert_type(explanation.latent, Floats)
    shares, latent, expected = explanation
    print(shares.sum(axis=1) + latent, expected.is_integer(), detector.set_contamination("auto").complete(X[:2]).shape)
    imputer = VAEImputer(light(), missing_values=-1, add_indicator=True, n_importance_samples=20).fit(X)
    assert_type(imputer, VAEImputer)
    print(imputer.fit_transform(X).shape, [filled.shape for filled in imputer.draw(X, 2, random_state=0)])


def score_of(model: BaseEstimator) -> object:
    return model


def scikit_learn() -> None:
    score_of(light())
    pipeline = make_pipeline(StandardScaler(), PCA(3), light()).fit(X)
    print(pipeline.score(X), cross_val_score(light(), X, cv=2))
    print(GridSearchCV(light(), {"beta": [0.5, 1.0]}, cv=2).fit(X).best_params_)


def displays() -> None:
    vae = light().fit(X)
    assert_type(LossCurveDisplay.from_estimator(vae), LossCurveDisplay)
    print(LatentSpaceDisplay.from_estimator(vae, X, y=X[:, 0] > 0).ax_.get_title())
    detector = VAEOutlierDetector(estimator=light()).fit(X)
    print(ExplanationDisplay.from_estimator(detector, X, row=1).figure_)


def rules_and_metrics() -> None:
    ordered = np.sort(X, axis=1)
    vae = light().set_params(rules=[(0, "<=", 1)], marginals="linear").fit(ordered)
    drawn = vae.sample(20, random_state=0)
    assert_type(detection_auc(ordered, drawn, random_state=0), float)
    assert_type(synthetic_report(ordered, drawn, random_state=0), SyntheticReport)
    print(VAEImputer(light(), rules=None), VAETransformer(rules=[("a", "<=", "b")]).rules)


EVERYTHING = (constructors, transformers, detector_and_imputer, scikit_learn, displays, rules_and_metrics)
