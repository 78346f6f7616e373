"""What notebooks show of the estimators."""

import re

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

import skvae
from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer

LINK = re.compile(r'href="(http[^"]*)"')
LIGHT = {"n_components": 2, "max_iter": 2, "early_stopping": False}
ESTIMATORS = [
    VAETransformer(**LIGHT),
    AutoencoderTransformer(**LIGHT),
    VAEOutlierDetector(estimator=VAETransformer(**LIGHT)),
    VAEImputer(VAETransformer(**LIGHT)),
]

every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)


def test_all_estimators_are_here():
    assert {type(estimator).__name__ for estimator in ESTIMATORS} >= {n for n in skvae.__all__ if n.startswith("VAE")}


@every_estimator
def test_no_link_leads_to_a_page_of_scikit_learn_that_does_not_exist(estimator, X):
    for shown in (estimator, estimator.fit(X), type(estimator)()):
        for html in (estimator_html_repr(shown), shown._repr_mimebundle_()["text/html"]):
            assert type(estimator).__name__ in html
            assert LINK.findall(html) == []


@every_estimator
def test_a_pipeline_links_to_its_steps_of_scikit_learn_only(estimator, X):
    html = estimator_html_repr(make_pipeline(StandardScaler(), estimator).fit(X))
    assert type(estimator).__name__ in html
    assert LINK.findall(html)
    assert [link for link in LINK.findall(html) if "skvae" in link or "VAE" in link or "Autoenc" in link] == []


def test_the_pattern_sees_links():
    assert LINK.findall(estimator_html_repr(StandardScaler()))
