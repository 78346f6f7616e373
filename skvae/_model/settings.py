"""What the parameters of an estimator ask of the model that is to be fitted."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skvae import _engine
from skvae._model.auto import (
    ALPHAS,
    SOLVERS,
    batches_and_epochs,
    by_width,
    columns_with_atoms,
    layer_sizes,
    patience,
    schedule,
)
from skvae._table.inference import Sought

if TYPE_CHECKING:
    from skvae._engine.training import Patience, Plan, RowBound
    from skvae.nn.networks import NetworkFactory
    from skvae.nn.priors import PriorFactory


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of an estimator that say what model is fitted, and how, under their public names.

    The defaults, of what not every estimator has, are those of a model that draws nothing.

    Parameters
    ----------
    likelihood : str, factory or mapping
        As `auto.column_likelihoods` takes it.
    option : str
        The parameter that chooses it, for errors.
    bound : callable
        What is trained, from `_engine.bounds`.
    """

    likelihood: Any
    option: str = "likelihood"
    bound: RowBound
    n_components: int | str
    hidden_layer_sizes: Any
    activation: str
    solver: str
    learning_rate: str
    learning_rate_init: float
    batch_size: int | str
    max_iter: int | str
    early_stopping: bool | str
    validation_fraction: float
    n_iter_no_change: int | str
    tol: float
    alpha: float | str
    encoder: NetworkFactory | None
    decoder: NetworkFactory | None
    device: str
    prior: str | PriorFactory | None = None
    marginals: str = "linear"
    atoms: Any = None
    bounds: str | None = None
    handle_unknown: str = "unlikely"
    missingness: str | None = None
    rules: Any = None
    beta: float = 1.0
    kl_warmup: float = 0.0
    trim: float = 0.0
    n_train_samples: int = 1

    @property
    def is_density(self) -> bool:
        """Whether the bound is one on a density, which is reported in data units."""
        return self.prior is not None

    def sought(self, names: Sequence[Any], unpooled: Container[int]) -> Sought:
        """What is looked for in columns."""
        return Sought(self.marginals, columns_with_atoms(self.atoms, names), self.bounds == "training", unpooled)

    def plan(self, n: int, n_features: int, *, have_levels: bool) -> Plan:
        """How n rows are trained on."""
        solver = self._solver(n_features)
        batch_size, max_iter = batches_and_epochs(
            n, self.batch_size, self.max_iter, solver=solver, has_levels=have_levels
        )
        return _engine.training.Plan(
            batch_size=batch_size,
            max_iter=max_iter,
            reach=schedule(solver, n).reach if solver == "muon" else None,
            learning_rate_init=self.learning_rate_init,
            learning_rate=self.learning_rate,
            alpha=by_width(self.alpha, ALPHAS, n_features),
            beta=self.beta,
            warmup_steps=round(self.kl_warmup * max_iter * math.ceil(n / batch_size)),
            n_draws=self.n_train_samples,
            trim=self.trim,
        )

    def _solver(self, n_features: int) -> str:
        """That which moves anything: Muon has no business where there is no hidden layer but in the user's networks."""
        has_inner = layer_sizes(self.hidden_layer_sizes, n_features) and (self.encoder is None or self.decoder is None)
        return by_width(self.solver, SOLVERS, n_features) if has_inner else "adam"

    def patience(self, max_iter: int) -> Patience:
        """The judge of the held-out scores of so many epochs."""
        epochs = patience(self.n_iter_no_change, max_iter)
        return _engine.training.Patience(epochs, self.tol, math.ceil(self.kl_warmup * max_iter))
