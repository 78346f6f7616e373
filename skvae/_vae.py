"""VAETransformer: the variational autoencoder."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from skvae import _engine
from skvae._base import BaseAutoencoder
from skvae._model.conditioning import Condition, conditioned, warn_of_few
from skvae._model.fitting import Prepared, informative
from skvae._model.ranking import ranked
from skvae._model.reading import Weighted
from skvae._model.settings import Settings
from skvae._model.table_model import VAEModel
from skvae._model.wanting import Asked, accepted, exactly
from skvae._sklearn import Interval, StrOptions, check_parameters, check_random_state, drawn_seed
from skvae._typing import (
    Activation,
    Codes,
    Floats,
    LayerSizes,
    Likelihoods,
    NetworkFactory,
    PriorFactory,
    Rules,
    Seed,
)
from skvae._warnings import warn

if TYPE_CHECKING:
    from skvae._engine.vae import VAEEngine

ACTIVE = 0.01  # nats of KL above which a component carries something


def check_n_samples(n_samples: Any) -> int:
    """A number of rows to draw."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples must be a positive integer. Got {n_samples!r} instead.")
    return int(n_samples)


class VAETransformer(BaseAutoencoder):
    r"""Variational autoencoder for tables of numbers and categories.

    A latent variable model of the rows, p(x) = E_{z ~ p(z)} p(x|z), whose decoder p(x|z) and approximate posterior
    q(z|x) are neural networks trained together on a lower bound of the log-likelihood [1]_. One fitted model gives
    codes (`transform`), reconstructions, new rows (`sample`) and log-densities (`score_samples`).

    Rows may be an array, a sparse matrix of counts or bits, or a pandas or polars frame with categories; draws and
    reconstructions come back as what the training rows were. Columns are standardised inside, so no scaler is needed in
    front. NaN (None, NA) marks a missing cell: it is left out of the likelihood, and the encoder is told that it is
    missing. Bounds, scores and divergences are in nats per row.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Size of the code z. "auto" is the number of columns, but at least 2 and at most 10; of a table
        with categories half the number of its columns and levels, but at most 16.

    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Units of the encoder's hidden layers; the decoder has them in reverse. Both networks also have a linear
        shortcut from input to output. With an empty tuple only the shortcut is left, and encoder and decoder are
        linear. "auto" is (64, 64, 64) for up to 20 columns and (64, 64) for more.

    activation : {"relu", "tanh", "silu", "gelu", "elu", "softplus", "logistic"}, default="silu"
        Nonlinearity of the hidden layers.

    likelihood : str, callable or dict, default="auto"
        What p(x|z) is for a cell.

        - "auto" reads dtypes and counts rows: boolean columns are "bernoulli", categorical dtypes "categorical",
          ordered ones "ordinal", text "categorical", other numbers "student_t_mixture" in a table of at least 20 rows
          per column and "student_t" in a smaller one. Dates and durations are numbers of seconds. Text in which most
          cells are one of a kind is left out of the model, with a warning.
        - "gaussian" and "student_t" are for real numbers, "log_normal" for positive ones; the decoder gives each cell a
          location and a scale.
        - "gaussian_mixture" and "student_t_mixture" are for real numbers, too; the decoder gives each cell five modes
          (three where they serve more than 20 columns) with a weight, a location and a scale each [10]_.
          ``functools.partial(StudentTMixture, n_modes=8)`` has eight.
        - "bernoulli" is for 0/1 data, and takes fractions in [0, 1] (see Notes).
        - "poisson", "negative_binomial", "zero_inflated_poisson" and "zero_inflated_negative_binomial" are for counts.
        - "categorical" (a probability per level) and "ordinal" (a proportional-odds model [7]_) are for levels: of a
          categorical dtype, or asked for, the distinct values of any column. Beyond 256 levels without order the rarest
          share a code; the probability of one of these is that of the code times its share of their training rows.
        - A callable ``likelihood(n_columns)`` returns a ``skvae.nn.likelihoods.Likelihood``; for example
          ``functools.partial(Gaussian, scale="column")`` learns one standard deviation per column. A callable must
          be picklable for the estimator to be.
        - A dict maps columns (names of a frame, integers for an array) to any of these; a column that it does not
          name is "auto". What is not a dict is for all columns but those of categorical dtypes.

    prior : {"standard_normal", "mixture", "aggregated"} or callable, default="mixture"
        Distribution p(z) of the codes: N(0, I); a mixture of 8 Gaussians with diagonal covariances that is learned
        with the rest; or N(0, I) in training and after it the aggregated posterior [5]_, the mean of q(z|x) over the
        training rows (at most 2,048, evenly spaced). A callable ``prior(n_components)`` returns a
        ``skvae.nn.priors.Prior``.

    marginals : {"auto", "linear", "normal"}, default="auto"
        What the networks see of a continuous column. "linear": its standardised values. "normal": their normal scores,
        which have a standard normal distribution whatever that of the column is (see Notes). "auto": standardised
        logarithms, if there are at least 50 values, all positive, that span orders of magnitude, and else as "linear".
        Scores and draws are in data units whatever it is.

    atoms : "auto", list of columns or None, default="auto"
        Columns of real numbers in which single values may have a probability of their own, beside the density of the
        others: zeros of an income, a 40-hour week. In these columns a value is an atom if it holds at least 2 % of the
        training rows that have one, 20 rows, and four times the median share of the four values on either side of it
        (the last not in a column of at most 16 distinct values). "auto" is every column; None is none.

    bounds : {"training", None}, default="training"
        "training" keeps the numbers that `sample`, `inverse_transform` and `reconstruct` give within the range of the
        training rows, and draws to multiples of the largest step (5, 2 or 1 times a power of ten, from 0.000001 to
        5,000) that all of these are multiples of. Where most rows of a column share their value with four others, and
        these values lie further apart than the step (prices of a list, ages in years beside some in months), draws
        near such a value become it. After `fit` draws of a column that is no count are mapped, rank by rank, to the
        distribution of its training rows (not with ``codes="prior"``). None leaves the numbers where the model puts
        them.

    handle_unknown : {"unlikely", "missing", "error", "infrequent_if_exist"}, default="unlikely"
        What a level is that fit did not see. "unlikely": something that had to be expected with probability 1 / (n + 2)
        after n rows, so that the cell costs log(n + 2) nats; to the networks it is missing. "missing": a missing cell,
        which costs nothing. "error": an error. "infrequent_if_exist": where the column has more than 256 levels one of
        the rare ones, as probable as the rarest of these; else as "unlikely".

    missingness : {"draws", "informative"} or None, default="draws"
        What is made of which cells are missing. "draws": each column that is sometimes missing has a probability of
        being so, which the decoder gives from the same code as its values, and `sample` leaves cells out as rows like
        the drawn ones do; where a level of a column, or its numbers on one side of a value, always go with a missing
        cell, or never, so do the draws. Scores and completions are of the observed values alone. "informative": these
        take in, too, which cells are missing, as where the values that are missing are why [12]_; also if it is set
        after fit. None: nothing is learned of it.

    rules : list of tuples or None, default=None
        What is known of columns, by their names (of an array, their indices), and kept by all draws and completions.
        ``("check_in", "<=", "check_out")`` (also "<", ">=", ">", and longer chains) orders numbers, dates, durations,
        or categories that share their ordered levels. ``("total", "=", "net", "+", "tax")`` (also "-") adds up numbers,
        or dates and durations, and ``("copy", "=", "column")`` is a sum of one. ``("city", "country")`` says that
        values stand together as they do in a training row, and no others. All training rows must keep them; what is
        missing breaks none. Rows that are scored may break them. Of an order the model sees one of the two columns as
        its difference to the other, where both are real numbers, so that a row with the other missing says nothing of
        it; its density is the same. Sums are worked out, and rows that break something else are drawn again given the
        same code, and in the end mended.

    objective : {"elbo", "iwae", "dreg"}, default="iwae"
        Bound that is trained: the evidence lower bound [1]_ or the importance-weighted bound [2]_, each from
        `n_train_samples` draws. With one draw the two are the same in expectation at ``beta=1``. "dreg" is the bound of
        "iwae" with a gradient to the encoder that varies less: the doubly reparameterised one [9]_.

    beta : float, default=1.0
        Weight of the divergence from the prior. Only 1 trains a bound of the log-likelihood; less gives finer
        reconstructions, more gives simpler codes.

    kl_warmup : float, default=0.0
        Share of the training steps in which the weight of the divergence rises from 0 to `beta`. Early stopping
        does not judge these epochs.

    free_bits : float, default=0.0
        Nats per component below which the divergence, averaged over the batch, is not pushed further down [3]_.

    trim : float, default=0.0
        Share of the weight of each batch, in the rows of the lowest bound, that a training step leaves out (the trimmed
        likelihood of [6]_). Above 0 it keeps a model from learning the outliers in its training rows.

    n_train_samples : int, default=2
        Draws of z per row and training step.

    n_importance_samples : int, default=64
        Draws of z per row in `score_samples` and `score`. It may be changed after fit (with `set_params`).

    solver : {"auto", "muon", "adam"}, default="auto"
        How a step follows the gradient. "adam" scales it number by number. "muon" moves the matrices between a
        network's input and its last hidden layer by their orthogonalised momentum [11]_, so that all directions of a
        matrix learn at one speed, and the rest, and networks of your own, as "adam" does. "auto" is "muon" for up to 20
        columns, and "adam" for more, where "muon" also learns what is peculiar to the training rows. Without a hidden
        layer there is nothing for "muon" to move, and it is "adam".

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
        Whether to judge each epoch by the bound on held-out rows, stop when it no longer rises, and keep the weights
        of the best epoch. "auto" is True if `X_val` is given to `fit` or X has from 50 to 999 rows and no column of
        levels.

    validation_fraction : float, default=0.1
        Share of the rows that early stopping sets aside where no `X_val` is given. The model is not trained on them;
        the columns' location, scale and levels are nevertheless those of all rows of X.

    n_iter_no_change : int or "auto", default="auto"
        Epochs in a row without a gain of more than `tol` after which early stopping ends the fit. "auto" is a fifth of
        `max_iter`, but at least 5.

    tol : float, default=1e-2
        Smallest gain that counts, in nats per row.

    alpha : float or "auto", default="auto"
        Weight decay: each step shrinks the weight matrices by the factor ``1 - learning_rate * alpha``. "auto" is 0.1
        for up to 20 columns and 0.2 for more.

    warm_start : bool, default=False
        Whether `fit` starts from the weights of the last fit. What the first fit learned of the columns and the
        networks' sizes then stay.

    encoder, decoder : callable or None, default=None
        Network of your own: ``factory(n_in, n_out)`` returns a ``torch.nn.Module`` from (..., n_in) to (..., n_out).
        For the encoder n_in is the number of number columns in the model (twice that where missing cells are marked),
        plus one per level of each category (16 in all if there are more than 32) and, likewise, one per atom of a
        column and one for none of them; n_out is ``2 * n_components``: means, then log standard deviations. For the
        decoder n_in is `n_components` and n_out the number of parameters of all likelihoods. It is called with torch's
        random stream seeded from `random_state`, and must be picklable for the estimator to be.

    device : str, default="auto"
        Where torch works: "cpu", "cuda", ... "auto" is CUDA where it is there and X has at least 1,000,000 cells.

    random_state : int, RandomState instance or None, default=None
        Of the start values, the rows set aside, the order of the rows and the noise. With an int, the same data,
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
        Minus the training objective of each epoch, a weighted mean over its steps, per row and in data units. It is
        ``reconstruction + beta * kl`` for the evidence lower bound without free bits, and less than that for the
        importance-weighted bound.

    reconstruction_curve_ : list of float
        The part of each epoch's loss that is minus the mean of log p(x|z), in data units.

    kl_curve_ : list of float
        Divergence of q(z|x) from the prior in each epoch, in nats per row, before `beta`.

    validation_scores_ : list of float
        Training objective on the held-out rows after each epoch (at ``beta=1``, under the same noise each time) in
        nats per row and data units; a row of X_val without an observed cell counts as 0, as in `score`. Empty
        without early stopping.

    kl_per_component_ : ndarray of shape (`n_components_`,)
        KL(q(z_j|x) || p(z_j)) of each component in nats, averaged over training rows (at most 4,096, evenly spaced);
        descending.

    n_active_components_ : int
        Components with more than 0.01 nats: those that carry anything about the rows.

    lower_bound_ : float
        Training objective of the kept model at ``beta=1``, averaged over training rows (at most 4,096, evenly spaced),
        in nats per row and data units.

    converged_ : bool
        False if early stopping was on and the held-out score still rose by more than `tol` in the last twentieth of the
        epochs, or if the fit was cut short by a callback, by Ctrl-C or by a loss that was not finite.

    schema_ : TableSchema
        What fit learned about the table: names, dtypes, and location and scale of each column.

    See Also
    --------
    AutoencoderTransformer : The deterministic sibling: a plain or denoising autoencoder.
    sklearn.decomposition.PCA : Linear codes, ordered by variance.
    sklearn.decomposition.FactorAnalysis : The linear Gaussian case with one noise variance per column.
    sklearn.mixture.GaussianMixture : Log-densities in the same units.

    Notes
    -----
    With z = mu(x) + sigma(x) * eps, eps ~ N(0, I) and

    .. math:: \log w = \log p(x|z) + \log p(z) - \log q(z|x),

    the evidence lower bound is the mean of log w over q [1]_ and the importance-weighted bound is
    :math:`\log \frac{1}{S} \sum_{s=1}^S w_s` [2]_. Neither exceeds log p(x) in expectation. With the standard normal
    prior the divergence in the first has the closed form of [1]_, appendix B.

    Without hidden layers, ``Gaussian(scale="column")`` and the standard normal prior make the model factor
    analysis; ``scale="shared"`` makes it probabilistic PCA [4]_ of the standardised columns.

    A standard deviation never falls below exp(-8), 0.034 %, of its column's, unless it is fixed. Student's t has its
    degrees of freedom, above 2, learned per column. A mixture's log-density is that of the sum of its modes' densities,
    :math:`\log \sum_k w_k(z) \, t_\nu((x - m_k(z)) / s_k(z)) / s_k(z)`; modes start in the middles of equal shares of
    the column's training values.

    With ``marginals="auto"`` the logarithm of a column is standardised if the distance from its median to its 99th
    percentile is more than 8 times that from its first percentile to its median, and of its logarithm neither is more
    than three times the other. Below the least training value the map goes on as its tangent, so that later rows may
    hold zeros and negative numbers.

    With ``marginals="normal"`` a column is mapped by u = Phi^-1(F(x)), where F is 95 % a kernel estimate of its
    distribution function (normal kernels, a tenth of the column's standard deviation wide, or where its values are
    sparse a quarter of the distance that a tenth of them spans) and 5 % a Cauchy distribution, for values unlike those
    of the training rows. The density of x counts du/dx.

    A column with atoms is a mixture: log p(x) is the log-probability of the atom that x is, or else that of being none
    plus the log-density of x. Scores of tables that have atoms, counts or levels add log-probabilities and
    log-densities, and compare with those of other models of the same kind only. A missing cell adds 0. With missing
    cells the importance-weighted bound is the MIWAE bound [8]_.

    With ``prior="aggregated"`` training rows score a little too high: each row's own posterior is a part of the
    prior. `lower_bound_` and `kl_per_component_` are those of training, under N(0, I). After `partial_fit` the prior
    is that of the last chunk.

    The Bernoulli likelihood is a probability for 0/1 data. On fractions it is the expected one: minus the
    cross-entropy, the customary loss for grey values in [0, 1], but no density.

    Components are ordered by `kl_per_component_`, and each is positive in the direction of the column that it goes
    with most closely. The codes of two fits are nevertheless not comparable: a refit may turn and bend the space.

    A column that is constant in the training rows stays outside the model; it is given back as that constant. Where it
    was missing in some of them, draws have it missing as often (`sample`).

    References
    ----------
    .. [1] Kingma, D. P. and Welling, M. (2013). "Auto-Encoding Variational Bayes". arXiv:1312.6114.
    .. [2] Burda, Y., Grosse, R. and Salakhutdinov, R. (2015). "Importance Weighted Autoencoders".
       arXiv:1509.00519.
    .. [3] Kingma, D. P., Salimans, T., Jozefowicz, R., Chen, X., Sutskever, I. and Welling, M. (2016). "Improving
       Variational Inference with Inverse Autoregressive Flow". arXiv:1606.04934.
    .. [4] Tipping, M. E. and Bishop, C. M. (1999). "Probabilistic Principal Component Analysis". Journal of the
       Royal Statistical Society B 61(3), 611-622.
    .. [5] Tomczak, J. M. and Welling, M. (2018). "VAE with a VampPrior". AISTATS. arXiv:1705.07120.
    .. [6] Hadi, A. S. and Luceño, A. (1997). "Maximum trimmed likelihood estimators: a unified
       approach, examples, and algorithms". Computational Statistics and Data Analysis 25(3), 251-272.
    .. [7] McCullagh, P. (1980). "Regression models for ordinal data". Journal of the Royal Statistical Society B 42(2),
       109-142.
    .. [8] Mattei, P.-A. and Frellsen, J. (2019). "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
       Sets". ICML. arXiv:1812.02633.
    .. [9] Tucker, G., Lawson, D., Gu, S. and Maddison, C. J. (2019). "Doubly Reparameterized Gradient Estimators for
       Monte Carlo Objectives". ICLR. arXiv:1810.04152.
    .. [10] Bishop, C. M. (1994). "Mixture density networks". Aston University, NCRG/94/004.
    .. [11] Jordan, K. et al. (2024). "Muon: An optimizer for hidden layers in neural networks".
       https://kellerjordan.github.io/posts/muon.
    .. [12] Ipsen, N. B., Mattei, P.-A. and Frellsen, J. (2021). "not-MIWAE: Deep generative modelling with missing not
       at random data". ICLR, arXiv 2006.12871.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skvae import VAETransformer
    >>> X, _ = load_breast_cancer(return_X_y=True)
    >>> vae = VAETransformer(n_components=4, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (569, 4)
    >>> vae.score_samples(X).shape
    (569,)
    >>> vae.sample(3, random_state=0).shape
    (3, 30)
    """

    reconstruction_curve_: list[float]
    kl_curve_: list[float]
    kl_per_component_: Floats
    n_active_components_: int
    lower_bound_: float

    _curves = ("loss_curve", "reconstruction_curve", "kl_curve", "validation_scores")
    _likelihood_option = "likelihood"
    _warns_of_collapse = True  # the detector's models may well see nothing but marginals

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [str, dict, callable],
        "prior": [StrOptions({"standard_normal", "mixture", "aggregated"}), callable],
        "marginals": [StrOptions({"auto", "linear", "normal"})],
        "atoms": [StrOptions({"auto"}), list, tuple, None],
        "bounds": [StrOptions({"training"}), None],
        "handle_unknown": [StrOptions({"unlikely", "missing", "error", "infrequent_if_exist"})],
        "missingness": [StrOptions({"draws", "informative"}), None],
        "rules": [list, tuple, None],
        "objective": [StrOptions({"elbo", "iwae", "dreg"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "trim": [Interval(Real, 0, 1, closed="left")],
        "n_train_samples": [Interval(Integral, 1, None, closed="left")],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: Activation = "silu",
        likelihood: Likelihoods = "auto",
        prior: Literal["standard_normal", "mixture", "aggregated"] | PriorFactory = "mixture",
        marginals: Literal["auto", "linear", "normal"] = "auto",
        atoms: Literal["auto"] | list[Any] | tuple[Any, ...] | None = "auto",
        bounds: Literal["training"] | None = "training",
        handle_unknown: Literal["unlikely", "missing", "error", "infrequent_if_exist"] = "unlikely",
        missingness: Literal["draws", "informative"] | None = "draws",
        rules: Rules = None,
        objective: Literal["elbo", "iwae", "dreg"] = "iwae",
        beta: float = 1.0,
        kl_warmup: float = 0.0,
        free_bits: float = 0.0,
        trim: float = 0.0,
        n_train_samples: int = 2,
        n_importance_samples: int = 64,
        solver: Literal["auto", "muon", "adam"] = "auto",
        learning_rate: Literal["one_cycle", "constant"] = "one_cycle",
        learning_rate_init: float = 1e-2,
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int | Literal["auto"] = "auto",
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | Literal["auto"] = "auto",
        tol: float = 1e-2,
        alpha: float | Literal["auto"] = "auto",
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
        self.likelihood = likelihood
        self.prior = prior
        self.marginals = marginals
        self.atoms = atoms
        self.bounds = bounds
        self.handle_unknown = handle_unknown
        self.missingness = missingness
        self.rules = rules
        self.objective = objective
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits
        self.trim = trim
        self.n_train_samples = n_train_samples
        self.n_importance_samples = n_importance_samples
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

    def _without_warnings(self) -> VAETransformer:
        """The same, for a model that may well find its columns independent."""
        self._warns_of_collapse = False
        return self

    def posterior(self, X: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and standard deviation of the approximate posterior q(z|x).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        mean, std : ndarray of shape (n_samples, n_components_)
            In units of the latent space, in the order of `transform`, whose codes are the means. A row without an
            observed cell has the prior's mean and standard deviation.
        """
        return self._model.posterior(self._table(X))

    def score_samples(self, X: Any) -> Floats:
        r"""Log-likelihood of each row.

        The importance-weighted estimate of log p(x) from S = `n_importance_samples` draws of z from q(z|x),

        .. math:: \log \frac{1}{S} \sum_{s=1}^S \frac{p(x|z_s)\, p(z_s)}{q(z_s|x)}.

        In expectation it is a lower bound of log p(x) (Burda et al. 2015, arXiv 1509.00519, theorem 1) that tightens
        with S; it is looser for more components. Where the decoder is linear (no hidden layers), all cells are
        `Gaussian` with a scale that is not the decoder's, and the prior has one or few widths ("standard_normal", a
        mixture), log p(x) is computed as it is.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats, in float64; higher is more usual. The density is that of X in its own units: the Jacobian of the
            inner standardisation is counted, so that scores compare with those of ``GaussianMixture`` where all columns
            are real numbers without atoms. A scaler in front of the estimator changes them by its own Jacobian.

        Raises
        ------
        ValueError
            If X does not have the columns of fit, holds infinity, or values that the likelihood of their column cannot
            take.

        Warns
        -----
        UserWarning
            If a column that was constant in training holds another value, or most cells of a column hold levels that
            fit did not see.

        Notes
        -----
        - The draws are one scrambled Sobol sequence, fixed at fit and the same for every row. A row gets the same score
          at each call, whatever rows stand beside it; more draws extend the sequence.
        - With missing cells it is the log-density of the observed cells. If training rows had none missing, z is drawn
          for such a row from proposals that adapt to it (Cornuet et al. 2012, arXiv 0907.1254) and not from the encoder
          alone. A row without an observed cell scores 0, so rows with different cells missing do not compare.
        - A boolean or other Bernoulli column adds a log-probability. On fractions it adds minus an expected
          cross-entropy, which is no density.
        - A cell of a column that was constant in training costs 0 if it has that value and log(n + 2) nats if not, n
          being the number of rows of X in fit that had a weight and an observed cell: the probability of what did
          not occur in n rows is 1 / (n + 2) by Laplace's rule of succession. A level that fit did not see costs as
          much (see `handle_unknown`).
        """
        return self._model.log_density(self._table(X))

    def score_uncertainty(self, X: Any, *, return_pareto_k: bool = False) -> tuple[Floats, ...]:
        """How well `n_importance_samples` draws determine each score.

        Each row is scored anew by batches of its draws, and by more draws where these are fewer than 256.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.
        return_pareto_k : bool, default=False
            Whether to return the tail index of the importance weights as well.

        Returns
        -------
        standard_error : ndarray of shape (n_samples,)
            Of `score_samples`, in nats: from the root mean square distance of the batches' scores (eight or more) to
            the score of all their draws together, so that the bias is part of it. Infinite where `pareto_k` says that
            the draws cannot tell: the score is then likely to be too low, by an unknown amount.
        effective_sample_size : ndarray of shape (n_samples,)
            Kish's 1 / sum w^2 of the normalised importance weights, from 1 to `n_importance_samples`. Near 1 the score
            rests on one draw, and more draws will raise it.
        pareto_k : ndarray of shape (n_samples,)
            Only with ``return_pareto_k=True``: the shape of a generalised Pareto distribution of the largest weights,
            of which 1 / k moments are finite (Vehtari et al. 2024, arXiv 1507.02646). Above
            ``min(1 - 1 / log10(n_draws), 0.7)``, which is 0.58 for 256 draws, averages of the weights are not to be
            relied on.
        """
        error = self._model.sampling_error(self._table(X))
        return tuple(error) if return_pareto_k else tuple(error[:2])

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Any = None,
        codes: Codes = "auto",
        noise: bool = True,
        missing: bool = True,
        identifiers: Literal["missing", "fresh"] = "missing",
        return_ess: bool = False,
        random_state: Seed = None,
    ) -> Any:
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows, for each row of `given` where there are several.
        given : dict, data frame or None, default=None
            A condition: a dict from columns to values, such as ``{"age": 40, "sex": "F"}``, or a frame of partial rows,
            whose missing cells are left open. Rows are drawn by importance resampling in the latent space, and nothing
            is rejected, so that rare conditions cost as much as common ones. In a dict there may also be ranges, ends
            included (``("between", 30, 40)`` or ``slice(30, 40)``, None for an open end; of numbers, dates or ordered
            levels), lists of values or levels, and ``("missing",)``. For ranges and lists rows are drawn until enough
            lie there, 100,000 at most (20,000 beside values).
        codes : {"auto", "aggregated", "prior"}, default="auto"
            Where codes are drawn from, see `sample_latent`.
        noise : bool, default=True
            Whether to draw from p(x|z), which is what the model thinks rows look like; False gives E[x|z], which is
            smoother than any row (for pictures).
        missing : bool, default=True
            Whether cells are missing as they were in training, if they were: each row has the same cells missing as a
            training row whose code is like its own, one of 2,048 at most, but for what `missingness` finds to be a
            rule. The same holds for a column of one value that is missing elsewhere. Cells of `given` are never
            missing. With False, and without `noise`, every cell has a value, except in columns in which fit saw none.
        identifiers : {"missing", "fresh"}, default="missing"
            What stands in columns of text that hardly repeats, which the model leaves out: nothing, or for each row
            another text of sixteen random digits, never one of training.
        return_ess : bool, default=False
            Whether to return the effective sample size of each condition as well.
        random_state : int, RandomState instance or None, default=None
            None draws other rows at each call.

        Returns
        -------
        X : ndarray or data frame of shape (n_samples, n_features)
            In data units and in the container of fit, with its dtypes, categories and column order: integer columns are
            rounded, levels are drawn by their probability, and numbers stay within the range of the training rows
            unless ``bounds=None``. Columns that another one determined in all training rows follow from it. The cells
            of `given` are as given. With several rows given, ``n_samples`` rows follow for each, in their order.
        effective_sample_size : ndarray of shape (n_given,)
            Only with ``return_ess=True``: how many of the 4,096 draws (or 4 * `n_samples`, if that is more) that a
            condition is resampled from count, by Kish's formula; `n_samples` without a condition, and with ranges or
            lists how many rows were found.

        Raises
        ------
        TypeError
            If `given` is neither a dict nor a frame, holds something else than a number for a number column, or a range
            of levels without an order.
        ValueError
            If `n_samples` is not a positive integer, or `given` names a column, or asks for a level, a value, a range
            or missing cells, that the model does not know; or no row drawn lies in the ranges and lists.

        Warns
        -----
        UserWarning
            If an effective sample size is below 10, or a number given is outside the range of the training rows (of
            which nothing is known with ``bounds=None``): the condition is out of the model's reach, or nearly so. If
            fewer than 20 training rows have a level or frequent value that is given: too few to learn what goes with
            it. If fewer rows than asked for lie in ranges and lists, so that they repeat.
        """
        random_state, condition, n = check_random_state(random_state), None, check_n_samples(n_samples)
        if identifiers not in ("missing", "fresh"):
            raise ValueError(f"identifiers must be 'missing' or 'fresh'. Got {identifiers!r} instead.")
        model = self._model
        asked = Asked(None, [], [], []) if given is None else Asked.read(given, model.schema)
        if asked.points is not None or asked.missing:
            condition = Condition.read(asked.points, model.schema, n, asked.missing)
            warn_of_few(condition, model.schema)
        how: dict[str, Any] = {"codes": codes, "noise": noise, "missing": missing, "random_state": random_state}
        draw: Any = partial(self._drawn, condition=condition, asked=asked, **how)
        known = condition is not None
        values, sizes = accepted(draw, asked.sets, n, under_values=known) if asked.sets else draw(n)
        values = exactly(values, asked.near, model.schema)
        rows = model.schema.restore(values, random_state if noise else None, fresh=identifiers == "fresh")
        return (rows, sizes) if return_ess else rows

    def _drawn(
        self,
        n: int,
        *,
        condition: Condition | None,
        asked: Asked,
        codes: Codes,
        noise: bool,
        missing: bool,
        random_state: np.random.RandomState,
    ) -> tuple[Any, Any]:
        """Values and codes of rows, NaN where missing, (n, p), and effective sample sizes."""
        model, aggregated = self._model, self._aggregates(codes)
        if condition is None:
            z, sizes = self.sample_latent(n, codes=codes, random_state=random_state), np.full(1, float(n))
        else:
            condition = condition.of(n)
            z, sizes = conditioned(model, condition, random_state, aggregated=aggregated)
        known = None if condition is None else condition.values
        values: Any = (
            model.drawn_by_rules(z, random_state, known, ranked=aggregated)
            if noise
            else model.schema.related(model.decoded(z, known))
        )
        if missing and noise:
            marks = model.schema.marked(values) if model.schema.marks else None
            holes = model.schema.ruled(values, model.engine.missing_like(z, drawn_seed(random_state), marks))
            holes = np.array(np.broadcast_to(holes, values.shape))
            holes[:, asked.missing] = True
            np.copyto(values, np.nan, where=holes if condition is None else holes & ~condition.fixed)
        return values, sizes

    def sample_latent(self, n_samples: int = 1, *, codes: Codes = "auto", random_state: Seed = None) -> Floats:
        """Draw codes.

        Parameters
        ----------
        n_samples : int, default=1
            Number of codes.
        codes : {"auto", "aggregated", "prior"}, default="auto"
            Where from: the prior p(z), or the aggregated posterior, the mean of q(z|x) over the training rows (at most
            32,768, evenly spaced). The second is what the decoder was trained on, so rows drawn from it resemble the
            training rows more closely than those from the prior do. "auto" takes it after `fit` (and a first
            `partial_fit`), and the prior after further chunks, as the rows of the earlier ones are gone then.
        random_state : int, RandomState instance or None, default=None
            None draws other codes at each call.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            Codes, for `inverse_transform`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, or `codes` is none of the above or is "aggregated" after a second
            chunk of `partial_fit`.
        """
        check_is_fitted(self)
        n, aggregated = check_n_samples(n_samples), self._aggregates(codes)
        z: Floats = self._engine.sample_latent(n, drawn_seed(random_state), aggregated=aggregated)
        return z

    def _aggregates(self, codes: str) -> bool:
        """Whether codes come from the aggregated posterior."""
        kept = self._engine.codes is not None
        if codes not in ("auto", "aggregated", "prior"):
            raise ValueError(f"codes must be 'auto', 'aggregated' or 'prior'. Got {codes!r} instead.")
        if codes == "aggregated" and not kept:
            raise ValueError(
                "codes='aggregated' needs the posteriors of the training rows, which partial_fit keeps of the first "
                "chunk only. Use codes='prior', or fit."
            )
        return kept and codes != "prior"

    # -- what the base class asks ----------------------------------------------------------------------------------

    @property
    def _engine_class(self) -> type[VAEEngine]:
        return _engine.vae.VAEEngine

    def _settings(self) -> Settings:
        bound = _engine.bounds.VariationalBound(self.objective, self.n_train_samples, self.free_bits)
        return self._settings_with(bound=bound)

    def _of_new_rows(self) -> dict[str, Any]:
        check_parameters(self, "handle_unknown", "missingness", "n_importance_samples")
        informative = self.missingness == "informative"
        return {"unknown": self.handle_unknown, "n_draws": self.n_importance_samples, "is_informative": informative}

    def _fitted_attributes(self, model: VAEModel, taught: Prepared, *, is_all: bool) -> dict[str, Any]:
        engine, shown = model.engine, taught.shown
        encoded, weight = informative(shown.encoded, shown.weight)
        kl = engine.kl_per_component(encoded, weight)
        engine.align(encoded, kl)
        kl = np.sort(kl)[::-1]
        bound = engine.mean_bound(encoded, weight, self._settings().bound)
        n_active = int((kl > ACTIVE).sum())
        if not np.isfinite(bound):
            warn(
                "The bound of the training rows is not finite: the last steps broke the model. Lower "
                "learning_rate_init, or alpha.",
                ConvergenceWarning,
            )
        if (
            self._warns_of_collapse
            and n_active == 0
            and bound <= engine.marginal_log_likelihood(encoded, weight) + self.tol
        ):
            warn(
                "Every latent component is inactive and the model is no better than independent columns. If columns "
                "depend on one another, train longer (max_iter), lower beta, or set kl_warmup or free_bits above 0.",
                ConvergenceWarning,
            )
        marks = model.schema.mark_cells
        engine.settle(shown.encoded, shown.weight, shown.missing, keep_codes=is_all, marks=marks)
        return {"kl_per_component_": kl, "n_active_components_": n_active, "lower_bound_": bound + taught.offset}

    def _finished(self, model: VAEModel, rows: Weighted) -> VAEModel:
        is_held = self._left_out is not None  # by somebody who draws no rows
        return model if is_held else ranked(model, rows)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.likelihood == "bernoulli"
        return tags


def summarize(X: Any) -> Any:
    """How a `VAETransformer` with its default parameters reads a table: a row for each column.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Rows in data units; NaN marks a missing cell.

    Returns
    -------
    pandas.DataFrame
        As `VAETransformer.summary` describes it.

    Raises
    ------
    TypeError
        If a column can be read as neither numbers, nor times, nor levels: the error names all, each with its way out.

    Warns
    -----
    UserWarning
        If columns of text are left out, as hardly a value repeats, or text reads as numbers or dates.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvae import summarize
    >>> X = pd.DataFrame({"size": [1.5, 2.0, 3.5, 2.5], "town": ["Rome", "Oslo", "Rome", None]})
    >>> summarize(X)["why"].to_dict()
    {'size': 'numbers', 'town': 'text that repeats'}
    """
    return VAETransformer().summary(X)
