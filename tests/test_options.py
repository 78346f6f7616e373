"""Names that parameters accept are those that the code looks up: in the checks, the annotations and the docstrings."""

import ast
import inspect
import re
import types
import typing

import pytest
from numpydoc.docscrape import NumpyDocString

from skvae import AutoencoderTransformer, VAETransformer
from skvae._engine.bounds import CORRUPTIONS
from skvae._engine.build import LOSSES
from skvae._sklearn import StrOptions
from skvae.nn.likelihoods import LIKELIHOODS
from skvae.nn.networks import ACTIVATIONS
from skvae.nn.objectives import OBJECTIVES
from skvae.nn.priors import PRIORS

LOOKED_UP = [
    (VAETransformer, "activation", ACTIVATIONS),
    (AutoencoderTransformer, "activation", ACTIVATIONS),
    (VAETransformer, "prior", PRIORS),
    (VAETransformer, "objective", OBJECTIVES),
    (AutoencoderTransformer, "loss", LOSSES),
    (AutoencoderTransformer, "corruption", CORRUPTIONS),
    (VAETransformer, "likelihood", {"auto", *LIKELIHOODS}),
]
UNCHECKED = {"likelihood"}  # it may be a dict of such names; `_engine.build` looks them up, and says so where it fails
every_lookup = pytest.mark.parametrize(
    ("estimator", "parameter", "known"), LOOKED_UP, ids=[f"{cls.__name__}.{name}" for cls, name, _ in LOOKED_UP]
)


def names_in(hint):
    """Strings that an annotation names."""
    if typing.get_origin(hint) is typing.Literal:
        return {value for value in typing.get_args(hint) if isinstance(value, str)}
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return set().union(*map(names_in, typing.get_args(hint))) if is_union else set()


@every_lookup
def test_names_are_those_that_are_looked_up(estimator, parameter, known):
    hint = typing.get_type_hints(estimator.__init__)[parameter]
    assert names_in(hint) == set(known)
    if parameter not in UNCHECKED:
        options = [one for one in estimator._parameter_constraints[parameter] if isinstance(one, StrOptions)]
        assert set().union(*(one.options for one in options)) == set(known)


@every_lookup
def test_names_are_documented(estimator, parameter, known):
    entries = {entry.name: entry.type for entry in NumpyDocString(inspect.getdoc(estimator))["Parameters"]}
    listed = re.match(r"\{.*?\}", entries[parameter])
    if parameter not in UNCHECKED:
        assert set(ast.literal_eval(listed[0])) == set(known)
