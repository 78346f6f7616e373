"""What an estimator asks of a model: its parameters, and in place of those it has not, a model that draws nothing."""

from dataclasses import fields

import numpy as np
import pytest

from skvae import AutoencoderTransformer, VAETransformer
from skvae._model.settings import Settings

ABSENT = sorted(set(VAETransformer().get_params()) - set(AutoencoderTransformer().get_params()))


def test_settings_are_the_parameters_under_their_public_names():
    settings = VAETransformer(trim=0.1, beta=2.0, alpha=0.3, prior="aggregated", atoms=None)._settings()
    public = VAETransformer().get_params()
    assert {field.name for field in fields(Settings)} - set(public) == {"option", "bound"}
    assert (settings.trim, settings.beta, settings.alpha, settings.prior) == (0.1, 2.0, 0.3, "aggregated")
    assert settings.is_density


def test_an_autoencoder_asks_for_a_model_that_draws_nothing():
    settings = AutoencoderTransformer()._settings()
    assert (settings.prior, settings.beta, settings.trim, settings.n_train_samples) == (None, 1.0, 0.0, 1)
    assert (settings.likelihood, settings.option) == ("squared_error", "loss")
    assert not settings.is_density
    rules = settings.rules(["a", "b"])
    assert (rules.marginals, rules.atoms, rules.bounded) == ("linear", [False, False], False)


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_no_parameter_is_no_attribute(name):
    assert not hasattr(AutoencoderTransformer(), name)


def test_an_attribute_that_is_no_parameter_changes_nothing(light_autoencoder, X):
    model, plain = light_autoencoder(), light_autoencoder().fit(X)
    other = {"trim": 0.5, "beta": 9.0, "marginals": "normal", "atoms": "auto", "n_train_samples": 3}
    for name in ABSENT:
        setattr(model, name, other.get(name, "standard_normal"))
    np.testing.assert_array_equal(model.fit(X).transform(X), plain.transform(X))
    np.testing.assert_array_equal(model.score_samples(X), plain.score_samples(X))
