"""What a user may get wrong: mypy and pyright report each marked line, and no other. Nothing here is run."""

import numpy as np

import skvae
from skvae import AutoencoderTransformer, Explanation, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.displays import LossCurveDisplay

X = np.zeros((10, 3))


def names() -> None:
    VAETransformer(n_component=3)  # error
    AutoencoderTransformer(likelihood="gaussian")  # error
    VAEOutlierDetector(contamintion=0.1)  # error
    VAEImputer(stratgy="mean")  # error
    skvae.VAETransformr()  # error
    VAETransformer(2, 3)  # error


def types() -> None:
    VAETransformer(prior=3)  # error
    VAETransformer(n_components=2.5)  # error
    VAETransformer(n_components="all")  # error
    VAETransformer(hidden_layer_sizes="128")  # error
    VAETransformer(objective="elbw")  # error
    VAETransformer(likelihood=["gaussian"])  # error
    VAETransformer(atoms="income")  # error
    VAETransformer(beta="1")  # error
    VAETransformer(random_state="0")  # error
    VAETransformer(encoder=3)  # error
    AutoencoderTransformer(corruption="noise")  # error
    VAEOutlierDetector(contamination="5 %")  # error
    VAEOutlierDetector(estimator=AutoencoderTransformer())  # error
    VAEImputer(VAEOutlierDetector())  # error
    VAEImputer(strategy="mode")  # error
    VAEImputer(n_importance_samples="many")  # error


def methods() -> None:
    vae = VAETransformer().fit(X)
    vae.fit_trasform(X)  # error
    vae.fit(X, sample_weights=np.ones(10))  # error
    vae.predict(X)  # error
    vae.sample("3")  # error
    vae.sample(codes="posterior")  # error
    vae.set_output(transform="dask")  # error
    vae.set_output(transform="pandas").fitt(X)  # error
    vae.score_samples(X).as_frame()  # error
    vae.score(X).mean()  # error
    vae.losscurve_.copy()  # error
    vae.kl_per_component_.keys()  # error
    AutoencoderTransformer().fit(X).sample(3)  # error
    VAEOutlierDetector().fit(X).transform(X)  # error
    VAEOutlierDetector().fit(X).explain(X).share.sum()  # error
    VAEOutlierDetector().fit_predict(X).keys()  # error
    VAEOutlierDetector().select_outliers(X, fdr="0.1")  # error
    VAEImputer().fit(X).predict(X)  # error
    VAEImputer().fit(X).draw(X, n_draws="5")  # error
    Explanation(X)  # error
    LossCurveDisplay.from_estimators(vae)  # error
