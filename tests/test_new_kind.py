"""A kind of column that the package does not know costs a class for its columns and a likelihood that serves it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, special

from skvae import VAETransformer
from skvae._table.kinds import KINDS, Bend, Continuous, Count, UnorderedLevels
from skvae.nn import likelihoods


class Even(Count):
    """0, 2, 4, ...: what comes in pairs."""

    @staticmethod
    def accept(values, name):
        if np.any(values % 2.0) or values.min(initial=0.0) < 0.0:
            raise ValueError(f"Column {name!r} holds what is no pair.")


class Pairs(likelihoods.Poisson):
    """A Poisson number of pairs."""

    kind = "even"

    def log_prob(self, outputs, x):
        return super().log_prob(outputs, 0.5 * x)

    def mean(self, outputs):
        return 2.0 * super().mean(outputs)

    def expectation(self, outputs, back):
        return back(self.mean(outputs))

    def sample(self, outputs, generator):
        return 2.0 * super().sample(outputs, generator)


def logit(values):
    inside = np.where((values > 0.0) & (values < 1.0), values, np.nan)
    return np.log(inside) - np.log1p(-inside)


class Fraction(Continuous):
    """Numbers between 0 and 1, of which the logit is standardised."""

    bend = Bend(logit, special.expit, lambda bent: np.logaddexp(0.0, bent) + np.logaddexp(0.0, -bent))

    @staticmethod
    def accept(values, name):
        if not ((values > 0.0) & (values < 1.0)).all():
            raise ValueError(f"Column {name!r} holds what is no fraction.")


class LogitNormal(likelihoods.Gaussian):
    kind = "fraction"


class Shared(UnorderedLevels):
    """Levels like any, under another name."""


class OfShared(likelihoods.Categorical):
    kind = "shared"


MADE_UP = {"even": (Even, Pairs), "fraction": (Fraction, LogitNormal), "shared": (Shared, OfShared)}


def column_of(kind, z, rng):
    """A column that goes with z."""
    return {
        "even": lambda: 2 * rng.poisson(np.exp(z)),
        "fraction": lambda: np.where(rng.random(len(z)) < 0.2, 0.0, special.expit(z)),
        "shared": lambda: pd.Categorical(np.where(rng.random(len(z)) < 1.0 / (1.0 + np.exp(-3.0 * z)), "up", "down")),
    }[kind]()


@pytest.mark.parametrize("kind", MADE_UP)
def test_a_kind_and_its_likelihood_are_all_that_it_takes(kind, monkeypatch):
    made_up, likelihood = MADE_UP[kind]
    monkeypatch.setitem(KINDS, kind, made_up)
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    frame = pd.DataFrame({"z": z, "own": column_of(kind, z, rng), "other": rng.normal(size=300)})
    model = VAETransformer(2, max_iter=30, early_stopping=False, likelihood={"own": likelihood}, random_state=0).fit(
        frame
    )
    column = model.schema_.columns[1]
    assert column.kind == kind
    encoding = model._engine.model.encoding
    assert (encoding.seen_as, encoding.n_hot) == {"even": (("log1p",), 0), "fraction": ((), 2), "shared": ((), 2)}[kind]

    drawn, expected = model.sample(200, random_state=0), model.reconstruct(frame)
    assert dict(drawn.dtypes) == dict(expected.dtypes) == dict(frame.dtypes)
    if made_up.is_coded:
        assert set(drawn["own"]) == set(frame["own"])
    else:
        made_up.accept(drawn["own"][~drawn["own"].isin(column.atoms)].to_numpy(float), "own")
    of_z = pd.Series(expected["own"]).astype("category").cat.codes.corr(frame["z"])
    assert of_z > 0.5

    shuffled = frame.assign(own=frame["own"].sample(frac=1.0, random_state=0).to_numpy())
    assert model.score(frame) > model.score(shuffled.astype(frame.dtypes)) + 0.05
    given = model.sample(5, given={"own": frame["own"][0]}, random_state=0)
    assert (given["own"] == frame["own"][0]).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(frame), model.score_samples(frame))


def test_the_density_of_a_new_kind_integrates_to_one(monkeypatch):
    monkeypatch.setitem(KINDS, "fraction", Fraction)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"own": column_of("fraction", rng.normal(size=300), rng), "other": rng.normal(size=300)})
    options = {"max_iter": 5, "early_stopping": False, "n_importance_samples": 1024, "random_state": 0}
    model = VAETransformer(2, likelihood={"own": LogitNormal}, **options).fit(frame)
    grid = np.linspace(0.0, 1.0, 402)[:-1]
    density = np.exp(model.score_samples(pd.DataFrame({"own": grid, "other": np.nan})))
    assert model.schema_.columns[0].atoms == (0.0,)
    assert density[0] + density[1:].sum() / 401 == pytest.approx(1.0, abs=0.02)


def test_what_a_new_kind_refuses_is_refused(monkeypatch):
    monkeypatch.setitem(KINDS, "even", Even)
    with pytest.raises(ValueError, match="Column 'own' holds what is no pair"):
        VAETransformer(likelihood={"own": Pairs}).fit(pd.DataFrame({"own": [0, 2, 3], "z": [0.0, 1.0, 2.0]}))


def test_zeros_of_a_new_kind_need_not_be_stored(monkeypatch):
    monkeypatch.setitem(KINDS, "even", Even)
    X = 2.0 * np.random.default_rng(0).poisson(0.5, size=(100, 4))
    model = VAETransformer(2, max_iter=2, early_stopping=False, likelihood=Pairs, random_state=0)
    scores = model.fit(sparse.csr_matrix(X)).score_samples(X)
    np.testing.assert_allclose(scores, model.fit(X).score_samples(X), rtol=1e-4)
