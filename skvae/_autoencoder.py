"""AutoencoderTransformer: the deterministic sibling."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from skvae._base import BaseAutoencoder, Rows, unchanged_on_error
from skvae._engine.build import likelihood_kind
from skvae._engine.engine import AutoencoderEngine
from skvae._sklearn import Interval, StrOptions, validated_fit


class AutoencoderTransformer(BaseAutoencoder):
    """Plain or denoising autoencoder.
    """

    _engine_class = AutoencoderEngine

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseAutoencoder._parameter_constraints,
        "loss": [StrOptions({"squared_error", "cross_entropy"})],
        "corruption": [StrOptions({"masking", "gaussian"}), None],
        "corruption_level": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components="auto",
        *,
        hidden_layer_sizes=(128, 64),
        activation="silu",
        loss="squared_error",
        corruption=None,
        corruption_level=0.2,
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
        self.loss = loss
        self.corruption = corruption
        self.corruption_level = corruption_level
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
            Weight of each row in the loss and in the columns' location and scale. Weight 0 is removal.
        X_val : array-like or data frame of shape (n_validation_samples, n_features), default=None
            Held-out rows for early stopping; without them `validation_fraction` of X may be used.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the held-out rows.

        Returns
        -------
        self : AutoencoderTransformer
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
        self : AutoencoderTransformer
            The fitted estimator.
        """
        with unchanged_on_error(self):
            self._partial_fit(X, sample_weight)
        return self

    def score_samples(self, X):
        """Minus the reconstruction error of each row; not a density.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus the sum over observed cells of the squared error in standardised units, or of the cross-entropy in
            nats; higher is more usual. It is no log-density: it ignores how likely the code is, and rows with more
            missing cells score higher.
        """
        _, encoded = self._encoded(X)
        return self._engine.score(encoded)

    def score(self, X, y=None):
        """Mean of `score_samples`: minus the mean reconstruction error per row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.
        y : Ignored
            Present by convention.

        Returns
        -------
        float
            Higher is better.
        """
        return float(np.mean(self.score_samples(X)))

    # -- what the base class asks ----------------------------------------------------------------------------------

    def _column_likelihoods(self, rows: Rows) -> list[Any]:
        return [self.loss if self.loss != "cross_entropy" else "bernoulli"] * len(rows.names)

    def _kinds(self, likelihoods: list[Any]) -> list[str]:
        return [likelihood_kind(likelihoods[0], "loss")] * len(likelihoods)

    def _objective(self) -> Any:
        return AutoencoderEngine.objective(self.corruption, self.corruption_level)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.loss == "cross_entropy"
        return tags
