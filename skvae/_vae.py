"""VAETransformer: the variational autoencoder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skvae._base import MAX_SEED, BaseAutoencoder, Rows, unchanged_on_error
from skvae._engine.build import likelihood_kind
from skvae._engine.engine import VAEEngine
from skvae._sklearn import Interval, StrOptions, validated_fit
from skvae._table import frames

ACTIVE = 0.01  # nats of KL above which a component carries something

AUTO_LIKELIHOOD = {"float": "student_t", "integer": "student_t", "bool": "bernoulli"}


class VAETransformer(BaseAutoencoder):
    """Variational autoencoder.
    """

    _engine_class = VAEEngine

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [str, dict, callable],
        "prior": [StrOptions({"standard_normal", "mixture"}), callable],
        "objective": [StrOptions({"elbo", "iwae"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "n_train_samples": [Interval(Integral, 1, None, closed="left")],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components="auto",
        *,
        hidden_layer_sizes=(128, 64),
        activation="silu",
        likelihood="auto",
        prior="mixture",
        objective="iwae",
        beta=1.0,
        kl_warmup=0.0,
        free_bits=0.0,
        n_train_samples=5,
        n_importance_samples=64,
        learning_rate="one_cycle",
        learning_rate_init=3e-3,
        batch_size="auto",
        max_iter="auto",
        early_stopping="auto",
        validation_fraction=0.1,
        n_iter_no_change="auto",
        tol=1e-2,
        alpha=0.1,
        warm_start=False,
        encoder=None,
        decoder=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.prior = prior
        self.objective = objective
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits
        self.n_train_samples = n_train_samples
        self.n_importance_samples = n_importance_samples
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.alpha = alpha
        self.warm_start = warm_start
        self.encoder = encoder
        self.decoder = decoder
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @validated_fit
    def fit(self, X, y=None, sample_weight=None, *, X_val=None, sample_weight_val=None):
        """Fit the model to rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Training rows in data units; NaN marks a missing cell.
        y : Ignored
            Present by convention; passed on to callbacks.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the objective and in the columns' location and scale. Weight 0 is removal.
        X_val : array-like or data frame of shape (n_validation_samples, n_features), default=None
            Held-out rows for early stopping; without them `validation_fraction` of X may be used.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the held-out rows.

        Returns
        -------
        self : VAETransformer
            The fitted estimator.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight, X_val, sample_weight_val)
        return self

    @validated_fit
    def partial_fit(self, X, y=None, sample_weight=None):
        """Take one pass over a chunk of rows.

        The first chunk fixes the number of components and each column's location and scale. The learning rate is
        constant; the optimiser goes on where the last chunk left it, also after the estimator was saved and loaded.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell. The first chunk needs at least 2 rows.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : VAETransformer
            The fitted estimator.
        """
        with unchanged_on_error(self):
            self._partial_fit(X, sample_weight)
        return self

    def posterior(self, X):
        """Mean and standard deviation of the approximate posterior q(z|x).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        mean, std : ndarray of shape (n_samples, n_components_)
            In units of the latent space. A row without an observed cell has the prior's mean and standard deviation.
        """
        _, encoded = self._encoded(X)
        return self._engine.posterior(encoded)

    def score_samples(self, X):
        """Log-likelihood of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows, encoded = self._encoded(X)
        schema = self.schema_
        surprises = schema.surprises(rows)
        if surprises.any():
            names = [str(schema.columns[j].name) for j in np.flatnonzero(surprises.any(axis=0))]
            warnings.warn(
                f"Column(s) {', '.join(names[:5])} were constant in training and differ here; each such cell costs "
                f"log(n + 2) = {schema.surprise:.2f} nats.",
                UserWarning,
                stacklevel=2,
            )
        scores = self._engine.log_likelihood(encoded, self.n_importance_samples)
        return scores + schema.log_jacobian(rows) - schema.surprise * surprises.sum(axis=1)

    def score(self, X, y=None):
        """Mean log-likelihood per row: the mean of `score_samples`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.
        y : Ignored
            Present by convention.

        Returns
        -------
        float
            In nats per row; higher is better.
        """
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples=1, *, noise=True, random_state=None):
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        noise : bool, default=True
            Whether to draw from p(x|z), which is what the model thinks rows look like; False gives E[x|z], which is
            smoother than any row (for pictures).
        random_state : int, RandomState instance or None, default=None
            None draws other rows at each call.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            In data units and in the container of fit.
        """
        random_state = check_random_state(random_state)
        z = self.sample_latent(n_samples, random_state=random_state)
        if noise:
            encoded = self._engine.sample(z, int(random_state.randint(MAX_SEED)))
        else:
            encoded = self._engine.decode(z)
        return self.schema_.restore(self.schema_.decode(encoded))

    def sample_latent(self, n_samples=1, *, random_state=None):
        """Draw codes from the prior.

        Parameters
        ----------
        n_samples : int, default=1
            Number of codes.
        random_state : int, RandomState instance or None, default=None
            None draws other codes at each call.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Codes, for `inverse_transform`.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a positive integer. Got {n_samples!r} instead.")
        seed = int(check_random_state(random_state).randint(MAX_SEED))
        return self._engine.sample_latent(int(n_samples), seed)

    # -- what the base class asks ----------------------------------------------------------------------------------

    def _column_likelihoods(self, rows: Rows) -> list[Any]:
        auto = [AUTO_LIKELIHOOD[dtype.split(":", 1)[0]] for dtype in rows.dtypes]
        if not isinstance(self.likelihood, Mapping):
            return auto if self.likelihood == "auto" else [self.likelihood] * len(auto)
        unknown = [key for key in self.likelihood if key not in rows.names]
        if unknown:
            has = "columns are named" if rows.container != frames.NUMPY else "an array's columns are the integers"
            raise ValueError(
                f"The 'likelihood' parameter names column(s) {unknown!r} that X does not have; {has} {rows.names[:10]!r}"
                f"{' ...' if len(rows.names) > 10 else ''}."
            )
        asked = [self.likelihood.get(name, "auto") for name in rows.names]
        return [own if want == "auto" else want for want, own in zip(asked, auto, strict=True)]

    def _kinds(self, likelihoods: list[Any]) -> list[str]:
        known: dict[Any, str] = {}
        for likelihood in likelihoods:
            if likelihood not in known:
                known[likelihood] = likelihood_kind(likelihood, "likelihood")
        return [known[likelihood] for likelihood in likelihoods]

    def _prior(self) -> Any:
        return self.prior

    def _objective(self) -> Any:
        return VAEEngine.objective(self.objective, self.n_train_samples, self.free_bits)

    def _kl_weight(self, n_steps: int) -> dict[str, Any]:
        return {"beta": self.beta, "warmup_steps": round(self.kl_warmup * n_steps)}

    def _fitted_attributes(self, engine: VAEEngine, encoded: np.ndarray, weight: Any, offset: float) -> dict[str, Any]:
        engine.align(encoded, engine.kl_per_component(encoded, weight))
        kl = engine.kl_per_component(encoded, weight)
        bound = engine.mean_bound(encoded, weight, self._objective())
        n_active = int((kl > ACTIVE).sum())
        if n_active == 0 and bound <= engine.marginal_log_likelihood(encoded, weight) + self.tol:
            warnings.warn(
                "Every latent component is inactive and the model is no better than independent columns. If columns "
                "depend on one another, train longer (max_iter), lower beta, or set kl_warmup or free_bits above 0.",
                ConvergenceWarning,
                stacklevel=5,
            )
        return {"kl_per_component_": kl, "n_active_components_": n_active, "lower_bound_": bound + offset}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.likelihood == "bernoulli"
        return tags
