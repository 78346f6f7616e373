"""The models behind the imputer and the detector: those that a user gives, copied, or default ones; a seed for each.

The default ones were chosen by `python -m benchmarks.run imputation` and `python -m benchmarks.run outliers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skvae import nn
from skvae._model.reading import read, read_known
from skvae._model.summarising import with_summary
from skvae._model.table_model import VAEModel
from skvae._model.texts import identifiers, warn_of_texts
from skvae._sklearn import MAX_SEED, BaseEstimator, check_parameters
from skvae._table import frames
from skvae._table.tables import Table
from skvae._typing import Seed
from skvae._vae import VAETransformer

MAX_MODELS = 64

# -- of the imputer
IMPUTER_BATCH = 64
IMPUTER_STEPS = (1_000, 2_000)  # of the small network; of the large one, from the first up to the second ...
IMPUTER_STEPS_PER_BATCH = 100  # ... so many for each batch that the rows make
IMPUTER_COMPONENTS = (10, 20)  # from here to there as many as columns
IMPUTER_FEW = 1_000  # rows below which the small network helps
IMPUTER_LARGE: dict[str, Any] = {
    "hidden_layer_sizes": (128, 64),
    "activation": "relu",
    "n_train_samples": 20,
    "alpha": 0.02,
}
IMPUTER_SMALL: dict[str, Any] = {  # it errs in other ways
    "hidden_layer_sizes": (64,),
    "activation": "silu",
    "n_train_samples": 10,
    "alpha": 0.05,
}
IMPUTER_COMMON: dict[str, Any] = {
    "objective": "dreg",
    "marginals": "linear",
    "solver": "adam",
    "batch_size": IMPUTER_BATCH,
    "early_stopping": False,
}

# -- of the detector
DETECTOR_WEIGHTS = (2.0, 1.0, 1.0, 1.0, 1.0)  # what each member counts
DETECTOR_BATCH = 128
DETECTOR_EPOCHS = 400  # at most, of a table that is a batch by itself
DETECTOR_COMPONENTS = 60  # at most, of the linear members
COARSE_STEPS, LINEAR_STEPS, DENSITY_STEPS = 500, 600, 600
WIDE = 300  # columns from which the density is trained for fewer steps, as each takes longer
ATOMS_FROM = 200  # rows from which the density has atoms: in fewer it is chance which values repeat often enough
GAUSSIAN_NOISE = 0.1  # standard deviations: the least that the normal member allows in any direction
DETECTOR_COMMON: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "objective": "elbo",
    "n_train_samples": 1,
    "n_importance_samples": 8,
    "solver": "adam",
    "learning_rate_init": 5e-3,
    "atoms": None,
    "bounds": None,
    "alpha": 0.01,
    "batch_size": DETECTOR_BATCH,
    "early_stopping": False,
    "missingness": None,
}
SOLVED: dict[str, Any] = {"max_iter": 1, "learning_rate_init": 1e-9, "alpha": 0.0}  # what starts where it ends


class HoldsModels(BaseEstimator):
    """What the imputer and the detector share: several models, and the reading of rows for them."""

    estimator: VAETransformer | list[VAETransformer] | None
    device: str
    random_state: Seed
    verbose: int

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    estimators_: list[VAETransformer]
    _left_out: list[Hashable]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [VAETransformer, list, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _training_table(self, X: Any) -> Table:
        """Rows to fit to; refused where default models cannot read a column: no likelihood can be chosen for them."""
        table = read(self, X, reset=True)
        if self.estimator is None and table.is_frame:
            coded = [dtype.is_category or dtype.is_text for dtype in table.dtypes]
            frames.refuse_unreadable(table.X, coded, [None] * len(coded))
        given = [self.estimator] if isinstance(self.estimator, VAETransformer) else self.estimator or []
        asked = [getattr(model, "likelihood", None) for model in given]
        self._left_out = identifiers(table, {name for own in asked if isinstance(own, Mapping) for name in own})
        warn_of_texts(table, self._left_out)
        return table

    def _members(self, defaults: Callable[..., list[VAETransformer]], *of: Any) -> list[VAETransformer]:
        """Unfitted copies of the models in the parameter `estimator`, or the defaults of a table.

        Raises
        ------
        TypeError
            If it is neither a VAETransformer nor a list of 1 to MAX_MODELS of them.
        ValueError
            If these differ in `handle_unknown` or in `rules`.
        """
        given = self.estimator is not None
        members = self._given() if given else defaults(*of, device=self.device, verbose=self.verbose)
        for member in members:
            member._left_out = self._left_out
        return members

    def _given(self) -> list[VAETransformer]:
        models: list[Any] = self.estimator if isinstance(self.estimator, list) else [self.estimator]
        if not 1 <= len(models) <= MAX_MODELS or not all(isinstance(model, VAETransformer) for model in models):
            kinds = [type(model).__name__ for model in models]
            raise TypeError(
                f"The 'estimator' parameter must be a VAETransformer or a list of 1 to {MAX_MODELS} of them. Got a "
                f"list of {kinds!r} instead."
            )
        if len({model.handle_unknown for model in models}) > 1:
            raise ValueError(
                "The models in the 'estimator' parameter must have the same handle_unknown, or a new level would count "
                f"in some of them only. Got {[model.handle_unknown for model in models]!r} instead."
            )
        if len({repr(model.rules) for model in models}) > 1:
            raise ValueError(
                f"The models in the 'estimator' parameter must have the same rules. Got "
                f"{[model.rules for model in models]!r} instead."
            )
        return [clone(model) for model in models]

    @property
    def _models(self) -> list[VAEModel]:
        """The fitted models of the members."""
        return [member._model for member in self.estimators_]

    def _table(self, X: Any) -> Table:
        """Rows in data units; the models read these, so that X is validated once."""
        check_is_fitted(self)
        model = self._models[0]
        return read_known(self, X, model.schema, model.unknown)

    def summary(self, X: Any = None) -> Any:
        """How the models read a table: a row for each column.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), default=None
            Rows to look at, as `fit` would before it trains. None asks for what the last fit found.

        Returns
        -------
        pandas.DataFrame
            As `VAETransformer.summary` describes it; where there are several models, of the last one: of the detector's
            default models the density, of the imputer's the one with the smallest network.

        Raises
        ------
        NotFittedError
            If X is None before a fit.
        TypeError, ValueError
            As in `fit`, for what can be known before training.

        Warns
        -----
        UserWarning
            As in `fit`, for what can be known before training.
        """
        if X is None:
            check_is_fitted(self)
            return self.estimators_[-1].summary()
        check_parameters(self)
        fresh = clone(self)
        table = fresh._training_table(X)
        return fresh._unfitted(table)[-1].summary(X)

    def _unfitted(self, table: Table) -> list[VAETransformer]:
        """The models that a fit to a table would train."""
        raise NotImplementedError(f"{type(self).__name__} defines _unfitted")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return with_summary(self, super()._repr_mimebundle_(**kwargs))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def model_seeds(random_state: np.random.RandomState) -> np.ndarray:
    """A seed for each of at most MAX_MODELS models."""
    return random_state.randint(MAX_SEED, size=MAX_MODELS)


def seeded(models: list[VAETransformer], seeds: np.ndarray) -> list[VAETransformer]:
    """The models; those without a `random_state` of their own get a seed."""
    for model, seed in zip(models, seeds, strict=False):
        if model.random_state is None:
            model.set_params(random_state=int(seed))
    return models


def imputer_models(table: Table, **options: Any) -> list[VAETransformer]:
    """Models that fill the missing cells of a table."""
    p, n_batches = len(table.names), math.ceil(len(table) / IMPUTER_BATCH)
    each = zip(table.names, table.dtypes, strict=True)
    numbers = [name for name, dtype in each if dtype.is_number and dtype.family != "bool"]
    shared: dict[str, Any] = {
        "n_components": int(np.clip(p, *IMPUTER_COMPONENTS)),
        "likelihood": dict.fromkeys(numbers, nn.likelihoods.SmoothGaussian),
        **IMPUTER_COMMON,
    }
    networks = [(float(np.clip(IMPUTER_STEPS_PER_BATCH * n_batches, *IMPUTER_STEPS)), IMPUTER_LARGE)]
    networks += [(IMPUTER_STEPS[0], IMPUTER_SMALL)] if len(table) < IMPUTER_FEW else []
    return [
        VAETransformer(max_iter=math.ceil(steps / n_batches), **shared, **network, **options)._without_warnings()
        for steps, network in networks
    ]


def detector_models(
    n: int,
    p: int,
    *,
    has_levels: bool = False,
    has_missing: bool = False,
    noises: dict[str, float] | None = None,
    **options: Any,
) -> list[VAETransformer]:
    """Models that see a table of n rows and p columns in different ways.

    Those of exemplars have the noise of the table or, by what their `marginals` are, given `noises`.

    A coarse one: marginal distributions and the strongest dependencies. A normal distribution. Two of exemplars, of
    the columns and of their normal scores, which come close to kernel density estimates. And the density itself.
    """
    solved = {"max_iter": _epochs(LINEAR_STEPS, n)} if has_levels or has_missing else SOLVED
    linear: dict[str, Any] = {**DETECTOR_COMMON, "n_components": min(p, DETECTOR_COMPONENTS), **solved, **options}
    linear |= {"marginals": "linear"}

    def exemplars(marginals: Literal["linear", "normal"]) -> VAETransformer:
        noise = "leave_one_out" if noises is None else noises[marginals]
        cells = partial(nn.likelihoods.Gaussian, scale=noise)
        return VAETransformer(**linear | {"marginals": marginals}, likelihood=cells, prior="aggregated")

    members = [
        VAETransformer(
            **DETECTOR_COMMON,
            n_components="auto" if has_levels else max(2, min(10, p // 2)),
            marginals="normal",
            likelihood=partial(nn.likelihoods.Gaussian, scale="column", min_scale=0.5),
            trim=0.35,
            max_iter=_epochs(COARSE_STEPS, n),
            **options,
        ),
        VAETransformer(
            **linear, likelihood=partial(nn.likelihoods.Gaussian, scale=GAUSSIAN_NOISE), prior="standard_normal"
        ),
        exemplars("linear"),
        exemplars("normal"),
        VAETransformer(
            batch_size=DETECTOR_BATCH,
            max_iter=_epochs(round(DENSITY_STEPS * min(1.0, WIDE / p)), n),
            early_stopping=False,
            n_importance_samples=16,
            marginals="linear",
            missingness=None,
            atoms="auto" if n >= ATOMS_FROM else None,
            **options,
        ),
    ]
    return [member._without_warnings() for member in members]


def _epochs(steps: int, n: int) -> int:
    return min(DETECTOR_EPOCHS, math.ceil(steps / math.ceil(n / DETECTOR_BATCH)))
