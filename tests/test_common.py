"""scikit-learn's own checks, on every estimator and in several settings."""

import inspect
from functools import partial

import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimators_partial_fit_n_features,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    estimator_checks_generator,
    parametrize_with_checks,
)

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.nn.likelihoods import Gaussian

LIGHT = {"max_iter": 3, "device": "cpu", "hidden_layer_sizes": (16, 8)}
LINEAR = {**LIGHT, "hidden_layer_sizes": (), "likelihood": partial(Gaussian, scale="column")}

ON_THE_LINE = [
    VAETransformer(**LIGHT),
    VAETransformer(**LINEAR, objective="elbo", prior="standard_normal", n_train_samples=1, kl_warmup=0.5),
    AutoencoderTransformer(**LIGHT),
    AutoencoderTransformer(**LIGHT, corruption="masking"),
    VAETransformer(**LIGHT, marginals="normal", prior="aggregated", trim=0.3),
]
ON_THE_UNIT_INTERVAL = [
    VAETransformer(**LIGHT, likelihood="bernoulli"),
    AutoencoderTransformer(**LIGHT, loss="cross_entropy"),
]

UNSTOPPED = {**LIGHT, "hidden_layer_sizes": (8,), "early_stopping": False}
DETECTORS = [
    VAEOutlierDetector(estimator=VAETransformer(**UNSTOPPED)),
    VAEOutlierDetector(estimator=VAETransformer(**UNSTOPPED), contamination=0.1, calibration_fraction=0),
    VAEOutlierDetector(  # without calibration, where the share flagged is that of the training rows, as is checked
        novelty=True,
        estimator=[VAETransformer(1, **UNSTOPPED), VAETransformer(2, **UNSTOPPED, marginals="normal")],
        calibration_fraction=0,
    ),
]
IMPUTERS = [
    VAEImputer(VAETransformer(**UNSTOPPED), n_importance_samples=8),
    VAEImputer(VAETransformer(**UNSTOPPED), n_importance_samples=8, add_indicator=True, keep_empty_features=True),
    VAEImputer(
        [VAETransformer(1, **UNSTOPPED), VAETransformer(2, **UNSTOPPED, likelihood="gaussian")],
        n_importance_samples=8,
        sample_posterior=True,
        random_state=0,
    ),
]

WEIGHTED = (
    "the rows repeated and the rows weighted fall into other batches and get other noise, so the two fits agree "
    "in distribution only: test_weights.py compares them over seeds"
)
OUT_OF_SUPPORT = "the check's data leave [0, 1], the support of the likelihood"
LEAVE_THE_UNIT_INTERVAL = [
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_sample_weights_not_an_array",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_pandas_series",
    "check_sample_weights_shape",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_transformer_n_iter",
    "check_transformer_preserve_dtypes",
]


def expected_failed_checks(estimator):
    """Return the checks that fail for a reason, and the reason."""
    kinds = ("dense", "sparse") if estimator.__sklearn_tags__().input_tags.sparse else ("dense",)
    expected = {f"check_sample_weight_equivalence_on_{kind}_data": WEIGHTED for kind in kinds}
    if any(estimator is bounded for bounded in ON_THE_UNIT_INTERVAL):
        expected |= dict.fromkeys(LEAVE_THE_UNIT_INTERVAL, OUT_OF_SUPPORT)
    return expected


# Older versions take strictness from pytest's own xfail_strict, which pyproject.toml sets.
STRICT = {"xfail_strict": True} if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters else {}


# Three epochs are too few for the larger tables of the checks, and the estimators say so.
unconverged = pytest.mark.filterwarnings("ignore:Early stopping did not end:sklearn.exceptions.ConvergenceWarning")


@unconverged
@parametrize_with_checks(
    ON_THE_LINE + ON_THE_UNIT_INTERVAL + DETECTORS + IMPUTERS, expected_failed_checks=expected_failed_checks, **STRICT
)
def test_estimators(estimator, check):
    try:
        check(estimator)
    except Exception:
        reason = expected_failed_checks(estimator).get(check.func.__name__)
        if reason is None:
            raise
        pytest.fail(reason, pytrace=False)  # expected: to write out why would take longer than the check


SCALED = [
    make_pipeline(MinMaxScaler(clip=True), estimator.set_params(random_state=0))
    for estimator in clone(ON_THE_UNIT_INTERVAL)
]
# A pipeline fails these whatever its steps are: it refits them in place, and they are among its parameters.
NOT_FOR_PIPELINES = {"check_dont_overwrite_parameters", "check_estimators_overwrite_params"}


def behind_a_scaler():
    """Yield the checks that the bounded settings are excused from, with a scaler that keeps the data inside."""
    for pipeline in SCALED:
        for estimator, check in estimator_checks_generator(pipeline):
            if check.func.__name__ in set(LEAVE_THE_UNIT_INTERVAL) - NOT_FOR_PIPELINES:
                yield pytest.param(estimator, check, id=f"{type(pipeline[-1]).__name__}-{check.func.__name__}")


@unconverged
@pytest.mark.parametrize(("estimator", "check"), list(behind_a_scaler()))
def test_bounded_settings_behind_a_scaler(estimator, check):
    check(estimator)


ONLY_RUN_ON_ITSELF = [
    check_dataframe_column_names_consistency,
    check_estimators_partial_fit_n_features,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


@unconverged
# The checks fit on frames and transform arrays, and the other way about, on purpose.
@pytest.mark.filterwarnings("ignore:X (does not have|has) .*feature names:UserWarning")
@pytest.mark.parametrize("estimator", ON_THE_LINE, ids=lambda estimator: " ".join(str(estimator).split()))
@pytest.mark.parametrize("check", ONLY_RUN_ON_ITSELF, ids=lambda check: check.__name__)
def test_checks_that_scikit_learn_runs_only_on_itself(check, estimator):
    check(type(estimator).__name__, estimator)


ALSO_FOR_DETECTORS = [
    check_dataframe_column_names_consistency,
    check_inplace_ensure_writeable,
    check_param_validation,
]


@pytest.mark.filterwarnings("ignore:X (does not have|has) .*feature names:UserWarning")
@pytest.mark.parametrize("estimator", DETECTORS, ids=["contaminated", "share", "novelty"])
@pytest.mark.parametrize("check", ALSO_FOR_DETECTORS, ids=lambda check: check.__name__)
def test_checks_of_the_detector_that_scikit_learn_runs_only_on_itself(check, estimator):
    check(type(estimator).__name__, estimator)


# Without those of pandas output, which take it that the default output for a frame is an array: see test_imputer.py.
ALSO_FOR_IMPUTERS = [
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


@pytest.mark.filterwarnings("ignore:X (does not have|has) .*feature names:UserWarning")
@pytest.mark.parametrize("estimator", IMPUTERS, ids=["expectations", "indicator", "draws"])
@pytest.mark.parametrize("check", ALSO_FOR_IMPUTERS, ids=lambda check: check.__name__)
def test_checks_of_the_imputer_that_scikit_learn_runs_only_on_itself(check, estimator):
    check(type(estimator).__name__, estimator)
