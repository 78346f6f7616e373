"""What an estimator asks of a model: its parameters, and in place of those it has not, a model that draws nothing."""

from dataclasses import fields

import numpy as np
import pytest
from torch import nn

from skvae import AutoencoderTransformer, VAETransformer
from skvae._members import detector_models, imputer_models
from skvae._model import auto
from skvae._model.auto import layer_sizes
from skvae._model.settings import Settings
from skvae._table import frames
from skvae._table.tables import Table

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
    sought = settings.sought(["a", "b"], ())
    assert (sought.marginals, sought.atoms, sought.bounded) == ("linear", [False, False], False)


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


@pytest.mark.parametrize(
    ("n_features", "solver", "layers", "alpha"), [(20, "muon", (64, 64, 64), 0.1), (21, "adam", (64, 64), 0.2)]
)
def test_auto_follows_the_number_of_columns(n_features, solver, layers, alpha):
    plan = VAETransformer()._settings().plan(500, n_features, have_levels=False)
    assert (plan.reach is not None, plan.alpha) == (solver == "muon", alpha)
    assert layer_sizes("auto", n_features) == layers
    asked = VAETransformer(solver="adam", alpha=0.7)._settings().plan(500, n_features, have_levels=False)
    assert (asked.reach, asked.alpha) == (None, 0.7)
    assert layer_sizes((5,), n_features) == (5,)


def test_the_solver_that_is_asked_for_trains():
    X = np.random.default_rng(0).normal(size=(60, 3))
    curves = [
        VAETransformer(solver=s, max_iter=3, early_stopping=False, random_state=0).fit(X).loss_curve_
        for s in ("auto", "muon", "adam")
    ]
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_members_that_were_chosen_with_adam_train_by_it():
    models = detector_models(100, 5)[:4]
    table = Table(np.ones((40, 3)), frames.NUMPY, range(3), [frames.Dtype("float", "float64")] * 3, np.dtype(float))
    models += imputer_models(table)
    assert {model.solver for model in models} == {"adam"}


@pytest.mark.parametrize(
    ("options", "muon"),
    [
        ({}, True),
        ({"hidden_layer_sizes": ()}, False),
        ({"encoder": nn.Linear}, True),
        ({"encoder": nn.Linear, "decoder": nn.Linear}, False),
    ],
    ids=str,
)
def test_muon_has_a_schedule_of_its_own_where_it_has_matrices_to_move(options, muon):
    settings = VAETransformer(solver="muon", **options)._settings()
    few, many = (settings.plan(n, 5, have_levels=False) for n in (auto.MANY_ROWS - 1, auto.MANY_ROWS))
    assert (few.reach, many.reach) == ((auto.SHORT.reach, auto.LONG.reach) if muon else (None, None))
    assert (few.batch_size, many.batch_size) == ((512, 256) if muon else (256, 256))


@pytest.mark.parametrize("sizes", [(True,), (8, 0), (1.5,)], ids=str)
def test_hidden_layers_have_a_positive_number_of_units(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes must hold positive integers"):
        layer_sizes(sizes, 3)
