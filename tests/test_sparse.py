"""Sparse counts and bits: the same answers as for the dense table, which is never made."""

import pickle
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.nn.likelihoods import Poisson

LIGHT = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 4, "early_stopping": False, "device": "cpu"}
LIGHT |= {"random_state": 0, "batch_size": 32}


def counts(n=120, p=12, seed=0):
    """Rows of counts of one factor, about half of them 0."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1))
    return rng.poisson(np.exp(z * np.linspace(-1.0, 1.0, p) - 0.3)).astype(float)


def bits():
    return np.minimum(counts(), 1.0)


def poisson(**options):
    return VAETransformer(**(LIGHT | {"likelihood": "poisson"} | options))


MODELS = {
    "poisson": (poisson(), counts),
    "negative_binomial": (poisson(likelihood="negative_binomial"), counts),
    "zero_inflated_poisson": (poisson(likelihood="zero_inflated_poisson"), counts),
    "factory": (poisson(likelihood=partial(Poisson)), counts),
    "bernoulli": (poisson(likelihood="bernoulli"), bits),
    "cross_entropy": (AutoencoderTransformer(**LIGHT, loss="cross_entropy"), bits),
    "masking": (AutoencoderTransformer(**LIGHT, loss="cross_entropy", corruption="masking"), bits),
}


@pytest.fixture(params=MODELS)
def make_and_rows(request):
    model, make_rows = MODELS[request.param]
    return (lambda **options: clone(model).set_params(**options)), make_rows()


def assert_same(model, other, rows):
    """Whether two fitted models give the same answers, dense or sparse."""
    for later in (rows, sparse.csr_array(rows)):
        for method in ("transform", "score_samples", "reconstruct"):
            answers = getattr(model, method)(rows), getattr(other, method)(later)
            np.testing.assert_allclose(*answers, rtol=1e-6, atol=1e-6)
            assert isinstance(answers[1], np.ndarray)


# -- the same as dense -------------------------------------------------------------------------------------------------


def test_fit_is_that_of_the_dense_rows(make_and_rows):
    make, rows = make_and_rows
    dense, thin = make().fit(rows), make().fit(sparse.csr_matrix(rows))
    assert_same(dense, thin, rows)
    np.testing.assert_allclose(thin.loss_curve_, dense.loss_curve_, rtol=1e-6)
    assert thin.schema_.columns == dense.schema_.columns
    assert thin.n_features_in_ == rows.shape[1]


def test_partial_fit_is_that_of_the_dense_rows(make_and_rows):
    make, rows = make_and_rows
    dense, thin = make(), make()
    for part in (rows[:60], rows[60:]):
        dense.partial_fit(part)
        thin.partial_fit(sparse.csr_matrix(part))
    assert_same(dense, thin, rows)


def test_weights_and_validation_rows_are_those_of_the_dense_rows(make_and_rows):
    make, rows = make_and_rows
    weight = np.random.RandomState(0).randint(0, 3, len(rows)).astype(float)
    options = {"early_stopping": True, "max_iter": 30, "n_iter_no_change": 2, "tol": 1e9}
    told = {"sample_weight": weight, "sample_weight_val": weight[:40] + 0.5}
    dense = make(**options).fit(rows, X_val=rows[:40], **told)
    thin = make(**options).fit(sparse.csr_matrix(rows), X_val=sparse.csr_matrix(rows[:40]), **told)
    assert_same(dense, thin, rows)
    np.testing.assert_allclose(thin.validation_scores_, dense.validation_scores_, rtol=1e-6)
    assert thin.schema_.n_rows == np.count_nonzero(weight)


def test_rows_set_aside_are_those_of_the_dense_rows():
    rows = counts()
    options = {"early_stopping": True, "max_iter": 30, "n_iter_no_change": 2, "tol": 1e9}
    dense, thin = (poisson(**options).fit(X) for X in (rows, sparse.csr_matrix(rows)))
    assert_same(dense, thin, rows)
    np.testing.assert_allclose(thin.validation_scores_, dense.validation_scores_, rtol=1e-6)


def test_fitted_attributes_and_draws_are_those_of_the_dense_rows():
    dense, thin = (poisson().fit(X) for X in (counts(), sparse.csr_matrix(counts())))
    np.testing.assert_allclose(thin.kl_per_component_, dense.kl_per_component_, rtol=1e-6)
    assert thin.lower_bound_ == pytest.approx(dense.lower_bound_)
    np.testing.assert_array_equal(thin.sample(50, random_state=0), dense.sample(50, random_state=0))
    for answers in zip(thin.posterior(sparse.csr_matrix(counts())), dense.posterior(counts()), strict=True):
        np.testing.assert_allclose(*answers, rtol=1e-6)
    for answers in zip(
        thin.score_uncertainty(sparse.csr_matrix(counts())), dense.score_uncertainty(counts()), strict=True
    ):
        np.testing.assert_allclose(*answers, rtol=1e-6)


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil", "dok", "bsr"])
@pytest.mark.parametrize("make", [sparse.coo_matrix, sparse.coo_array], ids=["matrix", "array"])
def test_every_format_is_taken(make, format):
    rows = counts()
    thin = make(rows).asformat(format)
    model, dense = poisson().fit(thin), poisson().fit(rows)
    np.testing.assert_allclose(model.transform(thin), dense.transform(rows), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_every_dtype_is_taken(dtype):
    rows = counts().astype(dtype)
    codes = poisson().fit(sparse.csr_matrix(rows)).transform(sparse.csr_matrix(rows))
    assert codes.dtype == (np.float32 if dtype is np.float32 else np.float64)
    np.testing.assert_allclose(codes, poisson().fit(rows).transform(rows), atol=1e-5)


def test_truth_values_are_bits():
    rows = bits()
    thin = sparse.csr_matrix(rows.astype(bool))
    np.testing.assert_allclose(
        poisson(likelihood="bernoulli").fit(thin).transform(thin),
        poisson(likelihood="bernoulli").fit(rows).transform(rows),
        atol=1e-6,
    )


def test_zeros_may_be_stored():
    rows = counts()
    thin = sparse.csr_matrix(rows + 1.0)
    thin.data -= 1.0
    assert thin.nnz == rows.size
    assert_same(poisson().fit(rows), poisson().fit(thin), rows)
    np.testing.assert_allclose(poisson().fit(rows).transform(thin), poisson().fit(rows).transform(rows), atol=1e-6)


def halved(rows):
    """A CSR matrix in which every cell is stored in two parts that are to be summed."""
    whole = sparse.csr_matrix(rows)
    data = np.concatenate([whole.data - np.floor(whole.data / 2), np.floor(whole.data / 2)])
    index = np.tile(np.repeat(np.arange(len(rows)), np.diff(whole.indptr)), 2)
    order = np.argsort(index, kind="stable")
    indices = np.tile(whole.indices, 2)[order]
    return sparse.csr_matrix((data[order], indices, 2 * whole.indptr), shape=rows.shape)


def test_cells_that_are_stored_twice_are_summed():
    rows = counts()
    thin = halved(rows)
    np.testing.assert_array_equal(thin.toarray(), rows)
    assert not thin.has_canonical_format
    assert_same(poisson().fit(rows), poisson().fit(thin), rows)
    assert thin.nnz == halved(rows).nnz  # what was given is as it was


def test_what_is_given_is_not_written_to():
    for make in (sparse.csr_matrix, sparse.csc_matrix):
        thin = make(counts())
        before = [array.copy() for array in (thin.data, thin.indices, thin.indptr)]
        model = poisson().fit(thin)
        model.partial_fit(thin).transform(thin), model.score_samples(thin)
        for array, old in zip((thin.data, thin.indices, thin.indptr), before, strict=True):
            np.testing.assert_array_equal(array, old)


def test_columns_without_a_count_stay_outside():
    rows = counts()
    rows[:, [0, 5]] = 0.0
    rows[:, 7] = 3.0
    dense, thin = poisson().fit(rows), poisson().fit(sparse.csr_matrix(rows))
    assert_same(dense, thin, rows)
    assert [column.constant for column in thin.schema_.columns if column.constant is not None] == [0.0, 0.0, 3.0]
    drawn = thin.sample(20, random_state=0)
    np.testing.assert_array_equal(drawn[:, [0, 5, 7]], np.tile([0.0, 0.0, 3.0], (20, 1)))
    odd = rows[:5].copy()
    odd[0, 0] = 1.0
    with pytest.warns(UserWarning, match="constant in training"):
        scores = thin.score_samples(sparse.csr_matrix(odd))
    assert scores[0] - thin.score_samples(sparse.csr_matrix(rows[:5]))[0] == pytest.approx(-np.log(122))


def test_rows_without_a_count_work():
    rows = counts()
    rows[:10] = 0.0
    assert_same(poisson().fit(rows), poisson().fit(sparse.csr_matrix(rows)), rows)


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["poisson", "bernoulli", "cross_entropy"])
def test_the_table_is_never_made_dense_as_a_whole(name, monkeypatch):
    model, make_rows = MODELS[name]
    n, p, largest = 120, 12, [0]
    thin = sparse.csr_matrix(make_rows())
    monkeypatch.setattr("skvae._table.tables.SLICE_CELLS", 10 * p)
    monkeypatch.setattr("skvae._engine.engine.SHOWN_ROWS", 16)
    monkeypatch.setattr("skvae._engine.engine.LEAST_ROWS", 16)

    def recorded(method):
        def record(self, *args, **options):
            largest[0] = max(largest[0], np.prod(self.shape))
            return method(self, *args, **options)

        return record

    for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix):
        for method in ("toarray", "todense"):
            monkeypatch.setattr(kind, method, recorded(getattr(kind, method)))
    model = clone(model).fit(thin, sample_weight=np.ones(n)).partial_fit(thin)
    assert 0 < largest[0] <= 16 * p
    largest[0] = 0
    for method in (model.transform, model.score_samples, model.reconstruct):
        assert len(method(thin)) == n
    assert 0 < largest[0] <= 10 * p


# -- company -----------------------------------------------------------------------------------------------------------


def test_tags_say_whether_sparse_rows_are_taken():
    for model, _ in MODELS.values():
        assert model.__sklearn_tags__().input_tags.sparse
    for likelihood in ("auto", "gaussian", "categorical", {0: "poisson"}):
        assert not VAETransformer(likelihood=likelihood).__sklearn_tags__().input_tags.sparse
    assert not AutoencoderTransformer().__sklearn_tags__().input_tags.sparse


def test_a_grid_is_searched_on_sparse_rows():
    rows = counts()
    grid = {"n_components": [1, 2], "likelihood": ["poisson", "negative_binomial"]}
    searches = [
        GridSearchCV(poisson(), grid, cv=2, error_score="raise").fit(X) for X in (rows, sparse.csr_matrix(rows))
    ]
    dense, thin = (search.cv_results_["mean_test_score"] for search in searches)
    assert len(thin) == 4
    np.testing.assert_allclose(thin, dense, rtol=1e-5)


def test_a_pickle_reads_sparse_rows():
    thin = sparse.csr_matrix(counts())
    model = poisson().fit(thin)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(thin), model.transform(thin))


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["auto", "gaussian", "student_t", "log_normal", "categorical", {0: "poisson"}])
def test_other_likelihoods_do_not_take_sparse_rows(likelihood):
    thin = sparse.csr_matrix(counts())
    for fit in (poisson(likelihood=likelihood).fit, poisson(likelihood=likelihood).partial_fit):
        with pytest.raises(TypeError, match=r"[Ss]parse"):
            fit(thin)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        AutoencoderTransformer(**LIGHT).fit(thin)


def test_a_model_of_dense_numbers_answers_no_sparse_rows():
    model = poisson(likelihood="gaussian").fit(counts())
    for method in (model.transform, model.score_samples, model.reconstruct):
        with pytest.raises(TypeError, match=r"[Ss]parse"):
            method(sparse.csr_matrix(counts()))


@pytest.mark.parametrize("estimator", [VAEOutlierDetector, VAEImputer])
def test_the_other_estimators_do_not_take_sparse_rows(estimator):
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        estimator(estimator=poisson()).fit(sparse.csr_matrix(counts()))


def spoiled(value):
    thin = sparse.csr_matrix(counts())
    thin.data[5] = value
    return thin


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.inf, "Input X contains infinity"),
        (np.nan, "NaN"),
        (-1.0, "Negative values in data. A likelihood of counts expects"),
        (0.5, "A likelihood of counts expects 0, 1, 2, .* holds 0.5"),
    ],
)
def test_what_is_no_count_is_an_error(value, message):
    fitted = poisson().fit(sparse.csr_matrix(counts()))
    methods = [poisson().fit, poisson().partial_fit, fitted.partial_fit]
    methods += [fitted.transform, fitted.score_samples, fitted.reconstruct]
    for method in methods:
        with pytest.raises(ValueError, match=message):
            method(spoiled(value))
    with pytest.raises(ValueError, match=message):
        poisson(early_stopping=True).fit(sparse.csr_matrix(counts()), X_val=spoiled(value))


@pytest.mark.parametrize("value", [2.0, -0.1])
@pytest.mark.parametrize("name", ["bernoulli", "cross_entropy"])
def test_what_is_no_fraction_is_an_error(name, value):
    thin = sparse.csr_matrix(bits())
    fitted = clone(MODELS[name][0]).fit(thin)
    bad = thin.copy()
    bad.data[3] = value
    for method in (clone(fitted).fit, fitted.transform, fitted.score_samples):
        with pytest.raises(ValueError, match=r"Bernoulli likelihood expects values in \[0, 1\]"):
            method(bad)


def test_another_number_of_columns_is_an_error():
    model = poisson().fit(sparse.csr_matrix(counts()))
    for method in (model.transform, model.score_samples, model.partial_fit):
        with pytest.raises(ValueError, match="X has 11 features, but VAETransformer is expecting 12"):
            method(sparse.csr_matrix(counts(p=11)))


def test_rows_without_any_count_are_an_error():
    with pytest.raises(ValueError, match="Every column of X is constant"):
        poisson().fit(sparse.csr_matrix((50, 4)))
