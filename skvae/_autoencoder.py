"""AutoencoderTransformer: the deterministic sibling."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skvae import _engine
from skvae._base import BaseAutoencoder
from skvae._model.settings import Settings
from skvae._sklearn import Interval, StrOptions
from skvae._typing import Activation, Floats, LayerSizes, NetworkFactory, Seed

if TYPE_CHECKING:
    from skvae._engine.engine import AutoencoderEngine


class AutoencoderTransformer(BaseAutoencoder):
    r"""Plain or denoising autoencoder for tables of numbers and categories.

    An encoder maps each row to a code and a decoder maps the code back; both are trained to reproduce the row, or, with
    `corruption`, to restore the clean row from a damaged one [1]_. It shares the table, the networks and the training
    of :class:`VAETransformer` but is no probabilistic model: there is no prior, so no `sample`, and `score_samples` is
    minus a reconstruction error.

    Columns are standardised inside, so that none dominates the squared error. NaN (None, NA) marks a missing cell: it
    is left out of the loss, and the encoder is told that it is missing.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Size of the code. "auto" is half the number of columns, but at least 2 and at most 10; of a table
        with categories half the number of its columns and levels, but at most 16.

    hidden_layer_sizes : int, array-like of int or "auto", default=(128, 64)
        Units of the encoder's hidden layers; the decoder has them in reverse. Both networks also have a linear
        shortcut from input to output. With an empty tuple only the shortcut is left: with the squared error the best
        codes then span those of PCA of the standardised columns. "auto" is (64, 64, 64) for up to 20 columns and
        (64, 64) for more.

    activation : {"relu", "tanh", "silu", "gelu", "elu", "softplus", "logistic"}, default="silu"
        Nonlinearity of the hidden layers.

    loss : {"squared_error", "cross_entropy"}, default="squared_error"
        Reconstruction error of a cell: the squared error in standardised units, or the cross-entropy in nats, for
        values in [0, 1]. In columns of categorical dtypes it is the cross-entropy of the level in either case.

    corruption : {"masking", "gaussian"} or None, default=None
        Damage done to the rows that the encoder sees in training. "masking" replaces each cell with probability
        `corruption_level` by 0 (which for the squared error is the column's mean), and hides a category; "gaussian"
        adds normal noise of standard deviation `corruption_level`, in standardised units, to numbers only.

    corruption_level : float, default=0.2
        Strength of the corruption.

    solver : {"auto", "muon", "adam"}, default="adam"
        How a step follows the gradient. "adam" scales it number by number. "muon" moves the matrices between a
        network's input and its last hidden layer by their orthogonalised momentum [2]_, so that all directions of a
        matrix learn at one speed, and the rest, and networks of your own, as "adam" does. "auto" is "muon" for up to 20
        columns, and "adam" for more. Without a hidden layer there is nothing for "muon" to move, and it is "adam".

    learning_rate : {"one_cycle", "constant"}, default="one_cycle"
        Schedule of the learning rate: a rise over the first tenth of the steps and then a cosine down to 0 at
        `max_iter`, or constant. `partial_fit` is always constant.

    learning_rate_init : float, default=1e-2
        The learning rate at its peak.

    batch_size : int or "auto", default="auto"
        Rows per training step. "auto" is the power of two nearest to a sixteenth of the training rows, from 32 to 256
        (of fewer than 5000 rows with "muon" an eighth, from 64 to 512), but at least 64 where a column has levels, and
        never more than there are rows.

    max_iter : int or "auto", default="auto"
        Largest number of epochs. "auto" is what 2000 steps take (of fewer than 5000 rows with "muon" 1000), but at
        least 3 epochs, and at most 130 where a column has levels (of 5000 rows or more with "muon" what 4000 steps
        take).

    early_stopping : bool or "auto", default="auto"
        Whether to judge each epoch by the error on held-out rows, stop when it no longer falls, and keep the weights
        of the best epoch. "auto" is True if `X_val` is given to `fit` or X has from 50 to 999 rows and no column of
        levels.

    validation_fraction : float, default=0.1
        Share of the rows that early stopping sets aside where no `X_val` is given. The model is not trained on them;
        the columns' location, scale and levels are nevertheless those of all rows of X.

    n_iter_no_change : int or "auto", default="auto"
        Epochs in a row without a gain of more than `tol` after which early stopping ends the fit. "auto" is a fifth of
        `max_iter`, but at least 5.

    tol : float, default=1e-2
        Smallest gain that counts, in units of the loss per row.

    alpha : float or "auto", default=0.2
        Weight decay: each step shrinks the weight matrices by the factor ``1 - learning_rate * alpha``. "auto" is 0.1
        for up to 20 columns and 0.2 for more.

    warm_start : bool, default=False
        Whether `fit` starts from the weights of the last fit. What the first fit learned of the columns and the
        networks' sizes then stay.

    encoder, decoder : callable or None, default=None
        Network of your own: ``factory(n_in, n_out)`` returns a ``torch.nn.Module`` from (..., n_in) to (..., n_out).
        For the encoder n_in is the number of number columns in the model (twice that where missing cells are marked),
        plus one per level of each category (16 in all if there are more than 32), and n_out is `n_components`; for the
        decoder n_in is `n_components` and n_out one per number column and per level, or two per ordered category. It is
        called with torch's random stream seeded from `random_state`, and must be picklable for the estimator to be.

    device : str, default="auto"
        Where torch works: "cpu", "cuda", ... "auto" is CUDA where it is there and X has at least 1,000,000 cells.

    random_state : int, RandomState instance or None, default=None
        Of the start values, the rows set aside, the order of the rows and the corruption. With an int, the same data,
        machine, device and number of threads give the same model.

    verbose : int, default=0
        1 prints a line for about every twentieth of the epochs, 2 for every epoch.

    Attributes
    ----------
    n_components_ : int
        Size of the code.

    n_iter_ : int
        Epochs trained.

    n_features_in_ : int
        Number of columns seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns. Defined only if X has column names that are all strings.

    loss_curve_ : list of float
        Reconstruction error per row in each epoch, a weighted mean over its steps.

    validation_scores_ : list of float
        Minus the reconstruction error per held-out row after each epoch, 0 for a row without an observed cell. Empty
        without early stopping. With `corruption` the held-out rows are damaged too, in the same way each time.

    converged_ : bool
        False if early stopping was on and the held-out score still rose by more than `tol` in the last twentieth of the
        epochs, or if the fit was cut short by a callback, by Ctrl-C or by a loss that was not finite.

    schema_ : TableSchema
        What fit learned about the table: names, dtypes, and location and scale of each column.

    See Also
    --------
    VAETransformer : The probabilistic sibling, with densities and sampling.
    sklearn.decomposition.PCA : The linear case.

    Notes
    -----
    With an encoder f, a decoder g and a row x of observed cells j, the loss is

    .. math:: \sum_j L(x_j, g_j(f(\tilde x)))

    where :math:`\tilde x` is the row as corrupted (x itself without `corruption`) and L the squared error or the
    cross-entropy. It is a sum over cells, so that a wider table has a larger loss.

    Codes have no order and no scale of their own, and those of two fits are not comparable.

    A column that is constant in the training rows stays outside the model; it is given back as that constant.

    References
    ----------
    .. [1] Vincent, P., Larochelle, H., Bengio, Y. and Manzagol, P.-A. (2008). "Extracting and Composing Robust
       Features with Denoising Autoencoders". Proceedings of the 25th International Conference on Machine Learning.
    .. [2] Jordan, K. et al. (2024). "Muon: An optimizer for hidden layers in neural networks".
       https://kellerjordan.github.io/posts/muon.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skvae import AutoencoderTransformer
    >>> X, _ = load_breast_cancer(return_X_y=True)
    >>> model = AutoencoderTransformer(n_components=4, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> model.transform(X).shape
    (569, 4)
    >>> model.reconstruct(X).shape
    (569, 30)
    """

    _likelihood_option = "loss"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "loss": [StrOptions({"squared_error", "cross_entropy"})],
        "corruption": [StrOptions({"masking", "gaussian"}), None],
        "corruption_level": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        hidden_layer_sizes: LayerSizes = (128, 64),
        activation: Activation = "silu",
        loss: Literal["squared_error", "cross_entropy"] = "squared_error",
        corruption: Literal["masking", "gaussian"] | None = None,
        corruption_level: float = 0.2,
        solver: Literal["auto", "muon", "adam"] = "adam",
        learning_rate: Literal["one_cycle", "constant"] = "one_cycle",
        learning_rate_init: float = 1e-2,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | Literal["auto"] = "auto",
        tol: float = 1e-2,
        alpha: float | Literal["auto"] = 0.2,
        warm_start: bool = False,
        encoder: NetworkFactory | None = None,
        decoder: NetworkFactory | None = None,
        device: str = "auto",
        random_state: Seed = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.solver = solver
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

    def score_samples(self, X: Any) -> Floats:
        """Score each row by minus its reconstruction error, which is no density.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus the sum over observed cells of the squared error in standardised units, or of the cross-entropy in
            nats (for a category always); higher is more usual, and 0 is the most there is. It is no log-density: it
            ignores how likely the code is and how precise the decoder is, and rows with more missing cells score
            higher. One of the rare levels that share a code has its share of that code's probability. A cell that
            differs from a constant column of training, or holds a level that fit did not see, costs log(n + 2), n
            being the number of rows trained on.

        Raises
        ------
        ValueError
            If X does not have the columns of fit, holds infinity, or values outside [0, 1] with the cross-entropy.
        """
        return self._model.negative_error(self._table(X))

    # -- what the base class asks ----------------------------------------------------------------------------------

    @property
    def _engine_class(self) -> type[AutoencoderEngine]:
        return _engine.engine.AutoencoderEngine

    def _settings(self) -> Settings:
        if self.corruption == "masking" and self.corruption_level >= 1.0:
            raise ValueError(
                f"The 'corruption_level' parameter must be below 1 where corruption='masking': it is the share of "
                f"cells that are masked. Got {self.corruption_level!r} instead."
            )
        return self._settings_with(
            likelihood="bernoulli" if self.loss == "cross_entropy" else self.loss,
            option="loss",
            bound=_engine.bounds.ReconstructionBound(self.corruption, self.corruption_level),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.loss == "cross_entropy"
        return tags
