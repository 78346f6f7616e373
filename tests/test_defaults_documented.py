"""What the docstrings say of defaults and rules is what the code has."""

from __future__ import annotations

import ast
import inspect
import math
import re
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

import skvae
from skvae import _members, _outlier, _vae
from skvae._engine import engine, runtime, vae
from skvae._model import auto, committee, conditioning
from skvae._table import atoms, inference, levels
from skvae.nn import likelihoods, priors

TABLES = (Path(__file__).resolve().parent.parent / "docs" / "tables.md").read_text()
USER_GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "user_guide.md").read_text()
ESTIMATORS = [skvae.VAETransformer, skvae.AutoencoderTransformer, skvae.VAEOutlierDetector, skvae.VAEImputer]


def public_members():
    for estimator in ESTIMATORS:
        yield pytest.param(estimator, id=estimator.__name__)
        for name, member in inspect.getmembers(estimator, inspect.isfunction):
            if not name.startswith("_") and member.__module__.startswith("skvae"):
                yield pytest.param(member, id=f"{estimator.__name__}.{name}")


def documented_parameters(member):
    """Name -> type line, in the order of the docstring; "a, b : type" are two parameters."""
    entries = NumpyDocString(inspect.getdoc(member))["Parameters"]
    return {name: entry.type for entry in entries for name in entry.name.split(", ")}


def written(entry):
    return " ".join(" ".join(entry.desc).split())


def written_value(text):
    return math.nan if text == "numpy.nan" else ast.literal_eval(text)


@pytest.mark.parametrize("member", list(public_members()))
def test_parameters_and_defaults_are_those_of_the_signature(member):
    signature = {name: p for name, p in inspect.signature(member).parameters.items() if name != "self"}
    documented = documented_parameters(member)
    assert list(documented) == list(signature)
    for name, parameter in signature.items():
        stated = re.search(r"default=(.+)$", documented[name])
        if parameter.default is inspect.Parameter.empty:
            assert stated is None, name
        elif stated is None:
            assert name == "y", f"{name} of {member.__qualname__} states no default"
        else:
            assert repr(written_value(stated[1])) == repr(parameter.default), name


@pytest.mark.parametrize("estimator", ESTIMATORS[:2])
def test_rules_of_auto_are_stated_with_their_numbers(estimator):
    doc = {entry.name: " ".join(entry.desc) for entry in NumpyDocString(inspect.getdoc(estimator))["Parameters"]}
    is_density = estimator is skvae.VAETransformer
    widths = [auto.components("auto", n, is_density=is_density) for n in (1, 8, 1000)]
    assert widths[1] == (8 if is_density else 8 // 2)
    assert ("is the number of columns" if is_density else "is half the number of columns") in doc["n_components"]
    assert f"at least {widths[0]} and at most {widths[2]}" in doc["n_components"]
    short, long, many = auto.SHORT, auto.LONG, auto.MANY_ROWS
    assert (short.batches, long.batches) == (8, 16)
    shorter = f'of fewer than {many} rows with "muon"'
    sizes = [f"from {few} to {large}" for few, large in (long.sizes, short.sizes)]
    assert f"a sixteenth of the training rows, {sizes[0]} ({shorter} an eighth, {sizes[1]})," in doc["batch_size"]
    assert f"what {long.steps} steps take ({shorter} {short.steps})," in doc["max_iter"]
    assert f"but at least {auto.EPOCHS} epochs, and" in doc["max_iter"]
    assert f"at least {auto.WITH_LEVELS[0]} where a column has levels" in doc["batch_size"]
    assert f"at most {auto.WITH_LEVELS[1]} where a column has levels" in doc["max_iter"]
    more = f'of {many} rows or more with "muon" what {auto.STEPS_WITH_LEVELS} steps take'
    assert f"({more})" in doc["max_iter"]
    fewest, too_many = auto.EARLY_STOPPING_ROWS
    assert f"from {fewest} to {too_many - 1} rows" in doc["early_stopping"]
    assert f"tables of {fewest} to {too_many - 1} rows" in USER_GUIDE
    assert [auto.patience("auto", n) for n in (1, 100)] == [5, 100 // 5]
    assert "a fifth of `max_iter`, but at least 5" in doc["n_iter_no_change"]
    assert f"at least {runtime.GPU_CELLS:,} cells" in doc["device"]


def test_constants_of_the_vae_are_stated():
    doc = NumpyDocString(inspect.getdoc(skvae.VAETransformer))
    said = {entry.name: written(entry) for key in ("Parameters", "Attributes") for entry in doc[key]}
    notes = " ".join(doc["Notes"])
    assert f"more than {_vae.ACTIVE} nats" in said["n_active_components_"]
    assert f"at most {engine.ORDERING_ROWS:,}" in said["kl_per_component_"]
    assert f"at most {engine.ORDERING_ROWS:,}" in said["lower_bound_"]
    assert f"mixture of {len(priors.Mixture(2).logits)} Gaussians" in said["prior"]
    by_family = {"bool": "bernoulli", "category": "categorical", "ordered": "ordinal", "text": "categorical"}
    assert by_family == auto.LIKELIHOODS
    assert (
        'boolean columns are "bernoulli", categorical dtypes "categorical", ordered ones "ordinal", text "categorical"'
        in said["likelihood"]
    )
    few, many = auto.NUMBERS
    assert (
        f'numbers "{many}" in a table of at least {auto.ROWS_PER_COLUMN} rows per column and "{few}"'
        in said["likelihood"]
    )
    assert f"fewer than {auto.ROWS_PER_COLUMN} rows per column" in TABLES
    assert f"fewer than {auto.ROWS_PER_COLUMN} rows per\ncolumn" in USER_GUIDE
    assert [likelihoods.StudentTMixture(p).n_modes for p in (1, 20, 21, 300)] == [5, 5, 3, 3]
    assert "each cell five modes (three where they serve more than 20 columns)" in " ".join(said["likelihood"].split())
    floor = likelihoods.MIN_LOG_STD
    assert f"exp({floor:g}), {100 * math.exp(floor):.2g} %," in notes
    assert f"cannot fall below {100 * math.exp(floor):.2g} % of its" in USER_GUIDE


def test_rows_of_the_aggregated_prior_are_stated():
    doc = {e.name: " ".join(e.desc) for e in NumpyDocString(inspect.getdoc(skvae.VAETransformer))["Parameters"]}
    assert f"at most {vae.EXEMPLARS:,}, evenly spaced" in doc["prior"]


def test_rules_of_tables_are_stated():
    doc = {e.name: written(e) for e in NumpyDocString(inspect.getdoc(skvae.VAETransformer))["Parameters"]}
    assert f"Beyond {levels.MOST_LEVELS} levels without order the rarest share a code" in doc["likelihood"]
    assert f"more than {levels.MOST_LEVELS} levels" in doc["handle_unknown"]
    assert f"at least {atoms.SHARE:.0%}".replace("%", " %") in doc["atoms"]
    assert f"that have one, {atoms.ROWS} rows" in doc["atoms"]
    assert (atoms.PROMINENCE, atoms.NEIGHBOURS) == (4.0, 4)
    assert "four times the median share of the four values on either side of it" in doc["atoms"]
    assert f"at most {atoms.FEW} distinct values" in doc["atoms"]
    assert f"from {min(inference.STEPS):f} to {max(inference.STEPS):,.0f}" in doc["bounds"]
    assert f"but at most {auto.components('auto', 99, 99)}" in doc["n_components"]


def test_numbers_of_draws_are_stated():
    doc = " ".join(inspect.getdoc(skvae.VAETransformer.sample).split())
    assert f"how many of the {conditioning.DRAWS:,} draws" in doc
    assert f"effective sample size is below {conditioning.OUT_OF_REACH:g}" in doc
    assert f"one of {vae.EXEMPLARS:,} at most" in doc
    assert f"(at most {engine.SHOWN_ROWS:,}, evenly spaced)" in " ".join(
        inspect.getdoc(skvae.VAETransformer.sample_latent).split()
    )


def test_numbers_of_the_detector_are_stated():
    doc = {e.name: " ".join(e.desc) for e in NumpyDocString(inspect.getdoc(skvae.VAEOutlierDetector))["Parameters"]}
    share, most, least = _outlier.CALIBRATION, _outlier.MOST_CALIBRATION, _outlier.LEAST_CALIBRATION
    text = doc["calibration_fraction"]
    assert f'"auto" is {share[False]}, or {share[True]} for ``novelty=True``' in text
    assert f"at most {most:,} rows" in text
    limits = [next(n for n in range(1000) if round(share[novelty] * n) >= least) for novelty in (False, True)]
    assert f"fewer than {least} (of fewer than {limits[0]} or {limits[1]} rows)" in text
    assert f"each of {_outlier.FOLDS} parts" in text
    assert f"Fewer than {_outlier.FEWEST} rows calibrate nothing" in text
    assert f"read off {_outlier.MOST_THRESHOLD:,} training rows" in doc["contamination"]
    assert f"under {_outlier.AUTO_P_VALUE}" in doc["contamination"]
    coarse, normal, *_ = _members.detector_models(500, 8)
    notes = " ".join(inspect.getdoc(skvae.VAEOutlierDetector).split())
    assert f"at least {coarse.likelihood.keywords['min_scale']} of the column's" in notes
    assert f"without the {coarse.trim:.0%}".replace("%", " %") in notes
    assert f"fixed standard deviation of {normal.likelihood.keywords['scale']}" in notes
    assert f"up to {_members.DETECTOR_COMPONENTS} components" in notes
    told = re.findall(r"- (\d)(, twice)?: [a-z]", notes)
    assert [float(n) for n, twice in told for _ in range(1 + bool(twice))] == list(_members.DETECTOR_WEIGHTS)
    assert f"t_m^{committee.ORDER:g}" in notes
    assert "lowest tenth" in notes
    assert committee.TAIL == 0.1
