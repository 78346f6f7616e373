"""Deliberate faults: each is patched into a copy of the package, and a few quick tests must turn red.

Run ``python tests/faults.py`` (a few minutes), or ``python tests/faults.py WORD ...`` for the faults whose name has one
of the words. Prints a table; exits with 1 if a fault survives or the tests are red without one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("skvae", "tests", "pyproject.toml")


class Fault(NamedTuple):
    """A line of the source, what a careless hand makes of it, and the tests that must notice."""

    name: str
    file: str  # below skvae/
    old: str  # occurs once in the file
    new: str
    tests: tuple[str, ...]  # files or node ids below tests/


OBJECTIVES = "nn/test_objectives.py"
PULLBACKS = "nn/test_pullbacks.py"
PRIORS = "nn/test_priors.py"
REPLAY = "engine/test_replay.py"
MODELS = "nn/test_models.py"
LIKELIHOODS = "nn/test_likelihoods.py"
TRAINING = "engine/test_training.py"
OPTIMISER = "engine/test_optimiser.py"
ENGINE = "engine/test_engine.py"
SCHEMA = "table/test_schema.py"
MARGINALS = "table/test_marginals.py"
LEVELS = "table/test_levels.py"
ATOMS = "table/test_atoms.py"
RANKS = "table/test_ranks.py"
INFERENCE = "table/test_inference.py"
FRAMES = "table/test_frames.py"
TABLES = "table/test_tables.py"
NETWORKS = "nn/test_networks.py"
MIXED = "test_mixed.py"
METRICS = "test_metrics.py"
OUTLIER = "test_outlier.py"
UNITS = "test_oracle.py::test_standard_scaler_changes_scores_by_its_jacobian_only"

CONTINUOUS = "nn/likelihoods/continuous.py"
MIXTURES = "nn/likelihoods/mixtures.py"
CODED = "nn/likelihoods/categorical.py"
COUNTS = "nn/likelihoods/counts.py"
TOTAL = "return values.sum(-1) if self.weight is None else values @ self.weight"
ELBO = "value = reconstruction - beta * (kl + _missing_bits(model, draws, free_bits))"

FAULTS = (
    *(
        Fault(f"drawn rows: {name}", file, old, new, tests)
        for name, file, old, new, tests in (
            (
                "missing cells left aside",
                "metrics/_errors.py",
                "np.sort(np.where(np.isnan(values), np.inf, values))",
                "np.sort(values[~np.isnan(values)])",
                (METRICS,),
            ),
            (
                "a floor of as many rows as there are",
                "metrics/_errors.py",
                "size=n)",
                "size=len(real))",
                (METRICS,),
            ),
            (
                "names that hide a copy",
                "metrics/_rows.py",
                "identifiers(real) if real.is_frame else []",
                "[]",
                (METRICS,),
            ),
            (
                "nearer to the larger set",
                "metrics/_nearness.py",
                "size = min(len(train), len(test))",
                "size = None",
                (METRICS,),
            ),
            (
                "unseen levels below chance",
                "metrics/_learning.py",
                "nothing = np.zeros(len(y_test))",
                "nothing = -y_test",
                (METRICS,),
            ),
            (
                "the best columns shown",
                "displays/_synthetic_report.py",
                "np.argsort(-values",
                "np.argsort(values",
                ("test_displays.py::test_the_worst_of_many_columns_are_shown",),
            ),
            (
                "floors for errors",
                "displays/_synthetic_report.py",
                "self.pairs[at], self.pair_floors[at]",
                "self.pair_floors[at], self.pairs[at]",
                ("test_displays.py::test_errors_are_those_of_the_metrics",),
            ),
        )
    ),
    *(
        Fault(f"any frame: {name}", file, old, new, tests)
        for name, file, old, new, tests in (
            (
                "text without an end to its levels",
                "_table/levels.py",
                "alone == counts.sum() or ",
                "False and ",
                ("test_text.py",),
            ),
            (
                "a difference taken for the column",
                "_table/declared.py",
                "out[rows, one.target] = one.target_of(values[rows, one.target], out[rows, one.base])",
                "pass",
                ("table/test_declared.py",),
            ),
            (
                "a known end without its start",
                "_table/declared.py",
                "out[rows, one.base] = out[rows, one.target] - one.sign * values[rows, one.target]",
                "pass",
                ("table/test_declared.py",),
            ),
            (
                "rows that break a rule as they come",
                "_table/together.py",
                "return declared.mended(out, fixed)",
                "return out",
                ("test_rules.py::test_draws_keep_rules", "test_rules.py::test_rows_under_a_condition_keep_rules"),
            ),
            (
                "training rows that break a rule",
                "_table/declaring.py",
                "    _refuse_broken(out, values)\n",
                "",
                ("test_rules.py::test_violations_are_counted_by_rule",),
            ),
            (
                "an order of codes",
                "_table/declared.py",
                "if self.ranks is None:\n            return own",
                "if True:\n            return own",
                ("table/test_declared.py",),
            ),
            (
                "fillings without rules",
                "_model/completing.py",
                "_related(model, table, _ruled(model, table, values, where), where)",
                "_related(model, table, values, where)",
                ("test_rules.py::test_fillings_keep_rules",),
            ),
            (
                "levels pooled in a combination",
                "_table/inference.py",
                "pools=j not in sought.unpooled",
                "pools=True",
                ("test_rules.py::test_combinations_of_many_levels",),
            ),
            (
                "a skewed column whatever the weights",
                "_table/inference.py",
                "weighted_quantiles(thinned(values), thinned(weight), TAILS)",
                "np.quantile(thinned(values), TAILS)",
                ("test_skewed.py::test_weights_count_like_rows",),
            ),
            (
                "two columns that say nothing",
                "_table/together.py",
                "for pair in self.pairs:",
                "for pair in ():",
                ("table/test_relations.py::test_draws_keep_what_two_columns_say",),
            ),
            (
                "cells missing whatever the level",
                "_engine/drawing.py",
                "log_modes -= UNLIKE * (own.unsqueeze(1) != other)",
                "pass",
                ("test_missingness.py::test_missing_by_a_level",),
            ),
            (
                "cells missing by what is missing itself",
                "_table/patterns.py",
                "if own.missing == 0.0 and own.constant is None and j not in but]",
                "if own.constant is None and j not in but]",
                ("test_missingness.py::test_columns_that_are_missing_together_are_no_marks",),
            ),
            (
                "a member's own view of what is text",
                "_members.py",
                "member._left_out = self._left_out",
                "pass",
                ("test_text.py",),
            ),
            (
                "times of another zone",
                "_table/frames/times.py",
                "series.dt.tz_localize(None) if isinstance(dtype, pd.DatetimeTZDtype)",
                "series.dt.tz_convert(None) if isinstance(dtype, pd.DatetimeTZDtype)",
                ("table/test_times.py",),
            ),
            (
                "days without a step",
                "_table/inference.py",
                'told |= {"step": _step(_with_base(thinned(values), table, base), steps)}',
                "pass",
                ("test_times.py",),
            ),
            (
                "dates where fit saw numbers",
                "_table/frames/refusing.py",
                "return same or bool(missing(frame, j).all())",
                "return True",
                ("test_times.py",),
            ),
            (
                "gaps in the score",
                "_model/table_model.py",
                "gaps=self.is_informative",
                "gaps=True",
                ("test_missingness.py",),
            ),
            (
                "gaps never in the score",
                "_vae.py",
                'informative = self.missingness == "informative"',
                "informative = False",
                ("test_missingness.py",),
            ),
            (
                "gaps left out of training",
                "_model/table_model.py",
                "gaps=True)",
                "gaps=False)",
                ("test_missingness.py",),
            ),
            (
                "rules of some rows",
                "_table/patterns.py",
                "if some is table or is_kept(rule, table, columns)",
                "",
                ("table/test_patterns.py",),
            ),
            (
                "rules by chance",
                "_table/patterns.py",
                "and n * np.log(odds) < log_chance",
                "",
                ("table/test_patterns.py",),
            ),
            (
                "relations by chance",
                "_table/relations.py",
                "if _log_chance(*ends) < log_chance and",
                "if",
                ("table/test_relations.py",),
            ),
            (
                "relations of some rows",
                "_table/relations.py",
                "whole = ends if some is table else",
                "whole = ends if True else",
                ("table/test_relations.py",),
            ),
            (
                "relations not drawn",
                "_model/table_model.py",
                "return self.schema.related(values)",
                "return values",
                ("table/test_relations.py",),
            ),
            (
                "relations not filled",
                "_model/completing.py",
                "values = _related(model, table, _ruled(model, table, values, where), where)",
                "values = _ruled(model, table, values, where)",
                ("table/test_relations.py",),
            ),
            (
                "ranges without their end",
                "_model/wanting.py",
                "(own <= self.high)",
                "(own < self.high)",
                ("test_conditional.py",),
            ),
            ("few rows without a word", "_model/conditioning.py", "if n < FEW:", "if n < 0:", ("test_conditional.py",)),
        )
    ),
    *(
        Fault(f"closed form: {name}", file, old, new, (PULLBACKS,))
        for name, file, old, new in (
            (
                "bias left out of the products",
                "nn/networks.py",
                "rows[n:] = 1.0",
                "rows[n:] = 0.0",
            ),
            (
                "shortcut's gradient dropped",
                "nn/networks.py",
                "return at.add_(back[-len(at) :])",
                "return at.add_(0.0 * back[-len(at) :])",
            ),
            ("slope of the wrong layer", "nn/networks.py", "before, self._after[i])", "before, self._after[-1])"),
            ("second moment of the prior's modes", "nn/priors.py", "means, first + below", "means, first"),
            ("prior's shares", "nn/priors.py", "torch.softmax(self.logits, 0), n.sum(0)", "n, n.sum(0)"),
            ("KL's gradient to the scale", "nn/priors.py", "torch.expm1(log_std + log_std)", "torch.expm1(log_std)"),
            (
                "weights of draws",
                "nn/objectives.py",
                "weight = share * grad\n        return Slopes(weight, to_z(beta * weight), (",
                "weight = share.square() * grad\n        return Slopes(weight, to_z(beta * weight), (",
            ),
            ("q held fixed", "nn/objectives.py", ".addcmul_(away, beta * weight)", ""),
            (
                "entropy of the posterior",
                "nn/objectives.py",
                "Slopes(each, to_z(beta * each), (None, beta * grad))",
                "Slopes(each, to_z(beta * each))",
            ),
            (
                "clamped scales",
                "nn/passes.py",
                "_to_clamped(to_std, raw, MIN_LOG_STD, MAX_LOG_STD, grad_input=at[len(mean) :])",
                "at[len(mean) :].copy_(to_std)",
            ),
            (
                "rows that say nothing",
                "nn/passes.py",
                "to_code(to_mean * full, to_std * full)",
                "to_code(to_mean * full, to_std)",
            ),
            ("gates", "nn/passes.py", "to_z(to_outputs(grad * counts))", "to_z(to_outputs(grad.expand_as(cells)))"),
            ("scale of the noise", "_engine/bounds.py", "_summed(at_z * eps).mul_(std)", "_summed(at_z * eps)"),
            (
                "tails of a mode's constant",
                CONTINUOUS,
                "each, slope, value=0.5",
                "each, slope, value=0.4",
            ),
            ("floor of a scale", CONTINUOUS, "to_scale.mul_(torch.sigmoid(raw - self.floor))", "to_scale"),
            ("probabilities of levels", CODED, "(grad / sums).neg_()", "(grad / sums.square()).neg_()"),
            ("the picked level", CODED, "return weights.scatter_add_(0, place, grad)", "return weights"),
            ("bounds of logits", CODED, "outputs.clamp(-MAX_LOGIT, MAX_LOGIT).exp_()", "outputs.exp()"),
            ("bound of the picked logit", CODED, ".clamp_(-MAX_LOGIT, MAX_LOGIT)", ""),
            (
                "slope of a gap",
                CODED,
                "torch.expm1(between).reciprocal_()",
                "torch.expm1(-between).reciprocal_().neg_()",
            ),
            (
                "scale of ordered levels",
                CODED,
                "(slopes * distances).sum(0).neg_()",
                "(slopes * distances)[:2].sum(0).neg_()",
            ),
            ("bounds of that scale", CODED, "log_scale.clamp(*LOG_SCALE)", "log_scale"),
            ("location of ordered levels", CODED, "to_lower - to_upper, to_log_scale", "-to_upper, to_log_scale"),
            ("threshold below a level", CODED, ".scatter_add_(1, codes, to_lower)", ""),
            ("thresholds above a step", CODED, "to_edges[:, 1:].flip(1).cumsum(1).flip(1)", "to_edges[:, 1:].clone()"),
            ("distances of thresholds", CODED, ".scatter_add_(1, codes, to_gap)", ""),
            ("first thresholds", CODED, ".masked_fill_(self.first, 1.0)", ""),
            ("bounds of distances", CODED, "self.raw_thresholds.clamp(*LOG_GAP)", "self.raw_thresholds"),
            ("bounds of a rate", COUNTS, "x.unsqueeze(1), outputs.clamp(*LOG_RATE)", "x.unsqueeze(1), outputs"),
            ("mean and dispersion", COUNTS, "torch.cat(back(grad)[1:])", "torch.cat(back(grad)[:0:-1])"),
            ("bounds of a dispersion", COUNTS, "log_dispersion.clamp(*LOG_DISPERSION)", "log_dispersion"),
            ("counts that are no zeros", COUNTS, ".masked_fill_(~is_zero, 1.0)", ""),
            ("structural zeros", COUNTS, "torch.sigmoid(-logit).sub_(share)", "torch.sigmoid(-logit).sub_(1.0)"),
            (
                "embedding of missing codes",
                "nn/networks.py",
                "to_found * observed[:, self.embedded_cells].unsqueeze(-1)",
                "to_found",
            ),
            (
                "embedding of a code that is seen twice",
                "nn/networks.py",
                "to_weight.index_add_(",
                "to_weight.index_copy_(",
            ),
            (
                "a learned encoding looked at ahead",
                "_engine/bounds.py",
                "return None if passes.learns_to_look(model) else",
                "return",
            ),
        )
    ),
    *(
        Fault(f"replay: {name}", "_engine/replay.py", old, new, (REPLAY,))
        for name, old, new in (
            ("the first batch for ever", "own.copy_(part)", "pass"),
            ("one recording for all sizes", "(len(rows), rows.observed is None", "(rows.observed is None"),
            ("numbers that were looked at", "if recording.exact else None", ""),
            ("masks taken for places", "masks = (torch.bool, torch.uint8)", "masks = ()"),
            ("random numbers of the recording", "() if is_random else (", "("),
            ("a capture of what looks at numbers", "if not recording.exact:\n        return None\n    graph", "graph"),
            ("a failed capture's noise", "noise.set_state(before)", "pass"),
        )
    ),
    *(
        Fault(f"devices: {name}", file, old, new, ("engine/test_devices.py",))
        for name, file, old, new in (
            (
                "rows that stay at home",
                "_engine/batches.py",
                "gathered if device is None else gathered.to(device)",
                "gathered",
            ),
            ("a table as large as a GPU", "_engine/runtime.py", "2 * n_bytes >", "0.5 * n_bytes >"),
            (
                "torch's words for no memory",
                "_engine/runtime.py",
                "raise MemoryError(NO_ROOM.format(what=what)) from error",
                "raise",
            ),
            ("noise of the CPU", "nn/noise.py", "like.new_empty(shape).normal_", "torch.empty(shape).normal_"),
        )
    ),
    *(
        Fault(f"scores: {name}", file, old, new, (tests,))
        for name, file, old, new, tests in (
            ("weights of modes", MIXTURES, "exp_(logit.sub_(top_weight)).sum(0)", "1.0", PULLBACKS),
            ("scale of modes", MIXTURES, "exp_(joint.sub_(top)).div_(scale)", "exp_(joint.sub_(top))", PULLBACKS),
            ("start", "nn/networks.py", "matrices[-1][:, -1].add_(start)", "pass", NETWORKS),
            ("small modes left out", "nn/priors.py", "NOTHING = -80.0", "NOTHING = -1.0", PRIORS),
            ("one block of modes", "nn/priors.py", "for part in parts]).view", "for part in parts[:1]]).view", PRIORS),
        )
    ),
    Fault("KL dropped", "nn/objectives.py", ELBO, "value = reconstruction", (OBJECTIVES,)),
    Fault("KL sign turned", "nn/objectives.py", ELBO, ELBO.replace("- beta", "+ beta"), (OBJECTIVES,)),
    Fault("KL averaged over components", "nn/models.py", "else closed.sum(-1)", "else closed.mean(-1)", (OBJECTIVES,)),
    Fault(
        "KL's log-variance halved", "nn/priors.py", "- 1.0) - log_std", "- 1.0) - 0.5 * log_std", ("nn/test_priors.py",)
    ),
    Fault(
        "prior left out of the weights",
        "nn/models.py",
        "return self._log_prior(draws, trained_on=trained_on) - log_q",
        "return -log_q",
        (OBJECTIVES,),
    ),
    Fault(
        "posterior left out of the weights",
        "nn/models.py",
        "return self._log_prior(draws, trained_on=trained_on) - log_q",
        "return self._log_prior(draws, trained_on=trained_on)",
        (OBJECTIVES,),
    ),
    Fault(
        "importance weights replaced by their mean logarithm",
        "nn/objectives.py",
        "return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])",
        "return log_w.mean(0)",
        (OBJECTIVES,),
    ),
    Fault(
        "doubly reparameterised weight not squared",
        "nn/objectives.py",
        "factor = 1.0 - beta + beta * torch.softmax(log_w.detach(), 0).unsqueeze(-1)",
        "factor = 1.0",
        (OBJECTIVES,),
    ),
    Fault(
        "doubly reparameterised q not held fixed",
        "nn/objectives.py",
        "log_normal(draws.z, draws.mean.detach(), draws.log_std.detach())",
        "log_normal(draws.z, draws.mean, draws.log_std)",
        (OBJECTIVES,),
    ),
    Fault(
        "adapted draws weighed by their own proposal only",
        "_engine/importance.py",
        "torch.logsumexp(log_q, 0), 0)",
        "log_q[-1], 0)",
        ("engine/test_importance.py",),
    ),
    Fault(
        "adapted spread forgets the encoder's",
        "_engine/importance.py",
        "PRIOR_DRAWS = 10.0",
        "PRIOR_DRAWS = 0.0",
        ("engine/test_importance.py",),
    ),
    Fault(
        "importance weights summed, not averaged",
        "nn/objectives.py",
        "torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])",
        "torch.logsumexp(log_w, dim=0)",
        (OBJECTIVES,),
    ),
    Fault("Jacobian dropped", "_model/table_model.py", "density + correction.sum(axis=1)", "density", (UNITS,)),
    Fault("Jacobian counts missing cells", "_table/schema.py", "out[np.isnan(encoded)] = 0.0", "pass", (SCHEMA,)),
    Fault(
        "Jacobian's sign turned",
        "_table/columns.py",
        "(self.log_unit if relative else 0.0) - np.log(",
        "(self.log_unit if relative else 0.0) + np.log(",
        (SCHEMA,),
    ),
    Fault(
        "mask ignored by the likelihood",
        "nn/models.py",
        "else (cells * observed).sum(-1)",
        "else cells.sum(-1)",
        (MODELS,),
    ),
    Fault("mask ignored by the input", "nn/networks.py", "u = u * observed", "pass", ("nn/test_networks.py",)),
    Fault(
        "mask hidden from the encoder",
        "nn/networks.py",
        "torch.ones_like(u) if observed is None else observed.to(u.dtype)",
        "torch.ones_like(u)",
        ("nn/test_networks.py",),
    ),
    Fault(
        "likelihood averaged over columns",
        "nn/models.py",
        "return cells.sum(-1) if observed is None",
        "return cells.mean(-1) if observed is None",
        (OBJECTIVES,),
    ),
    Fault(
        "sigma of the posterior squared",
        "nn/models.py",
        "z = mean + torch.exp(log_std) * eps  #",
        "z = mean + torch.exp(2.0 * log_std) * eps  #",
        (MODELS,),
    ),
    Fault(
        "a value expected as if it always counted",
        "nn/models.py",
        "out[..., self.gated] *= out[..., self.gate]",
        "pass",
        (MODELS,),
    ),
    Fault("bounds left out of expectations", CONTINUOUS, "if back.is_bounded:", "if False:", (LIKELIHOODS,)),
    Fault(
        "a bend taken at the mean",
        CONTINUOUS,
        "scale[..., j, None] * noise[:, j]",
        "0.0 * noise[:, j]",
        (LIKELIHOODS,),
    ),
    Fault("held scales stay wide", "_engine/vae.py", "if self.model.columns.has_held_scales:", "if False:", (ENGINE,)),
    Fault("held scales settle without weights", "_engine/vae.py", "weight @ part", "part.sum(0)", (ENGINE,)),
    Fault(
        "rows in float64 answered in float32",
        "_engine/engine.py",
        "torch.float32 if x.dtype == np.float32 else self._double",
        "torch.float32",
        (ENGINE,),
    ),
    Fault(
        "chunks put together along the first axis, always",
        "_engine/engine.py",
        "(slice(None),) * axis + (rows,)",
        "(rows,)",
        (f"{ENGINE}::test_chunks_come_together_along_the_axis_of_the_rows",),
    ),
    Fault(
        "sigma of the Gaussian squared",
        CONTINUOUS,
        "return location + torch.exp(log_scale) * normal(",
        "return location + torch.exp(2.0 * log_scale) * normal(",
        (LIKELIHOODS,),
    ),
    Fault(
        "Student's t not normalised",
        CONTINUOUS,
        "constant = _student_t_constant(df)",
        "constant = 0.0",
        (LIKELIHOODS,),
    ),
    Fault(
        "modes not normalised",
        MIXTURES,
        "return torch.sub(*total.squeeze(1).unbind(0))",
        "return total.squeeze(1)[0]",
        (LIKELIHOODS,),
    ),
    Fault("modes' scales left out", MIXTURES, "joint.mul_(inverse)", "joint.mul_(1.0)", (LIKELIHOODS,)),
    Fault("modes' constant left out", MIXTURES, " + self.mode.log_constant(df)", "", (LIKELIHOODS,)),
    Fault(
        "gradient of modes' weights", MIXTURES, "grad, weight, value=-1.0", "grad, weight, value=-0.9", (LIKELIHOODS,)
    ),
    Fault(
        "gradient of modes' locations",
        MIXTURES,
        "torch.mul(pull, inverse, out",
        "torch.mul(pull, 1.0, out",
        (LIKELIHOODS,),
    ),
    Fault("gradient of modes' scales", MIXTURES, "(inverse * ctx.floor)", "(0.0 * inverse)", (LIKELIHOODS,)),
    Fault(
        "gradient of modes' tails",
        MIXTURES,
        "sum_to_size(df.shape).mul_(-0.5)",
        "sum_to_size(df.shape).mul_(-0.6)",
        (LIKELIHOODS,),
    ),
    Fault("gradient of a rate", COUNTS, "(grad * (x - rate))", "(grad * (x - 1.1 * rate))", (LIKELIHOODS,)),
    Fault("gradient of a count's mean", COUNTS, "(x - mean) * shrunk", "(x - mean)", (LIKELIHOODS,)),
    Fault("gradient of a dispersion", COUNTS, ".unbind(0)) - half)", ".unbind(0)))", (LIKELIHOODS,)),
    Fault(
        "modes drawn alike",
        MIXTURES,
        "below = torch.softmax(logit, -2)",
        "below = torch.softmax(0.0 * logit, -2)",
        (LIKELIHOODS,),
    ),
    Fault(
        "modes averaged alike",
        MIXTURES,
        "return torch.softmax(logit, -2).mul(location)",
        "return torch.softmax(0.0 * logit, -2).mul(location)",
        (LIKELIHOODS,),
    ),
    Fault(
        "modes start in one place",
        "nn/models.py",
        "own.start_at(m, q)",
        "own.start(m)",
        ("nn/test_models.py",),
    ),
    Fault(
        "variance floor off",
        CONTINUOUS,
        "return floor + F.softplus(raw - floor)",
        "return raw",
        (LIKELIHOODS,),
    ),
    Fault(
        "weights of rows ignored in the loss",
        "_engine/batches.py",
        TOTAL,
        "return values.sum(-1)",
        ("engine/test_batches.py", TRAINING),
    ),
    Fault(
        "weights of rows ignored in the scaling",
        "_table/kinds.py",
        "mean = np.average(values, weights=weight)",
        "mean = np.average(values)",
        ("table/test_kinds.py", SCHEMA),
    ),
    Fault(
        "order and sign of the codes ignored on the way in",
        "_engine/engine.py",
        "out[:, self.order] = z * self.sign.astype(z.dtype)",
        "out[:] = z",
        (ENGINE,),
    ),
    Fault(
        "transform draws from the posterior",
        "nn/models.py",
        "return self.posterior(x, observed)[0]",
        "return (lambda m, s: m + s.exp() * torch.randn_like(m))(*self.posterior(x, observed))",
        (ENGINE,),
    ),
    Fault(
        "empty rows not scored 0",
        "_engine/scoring.py",
        "return values if rows.observed is None else values.where(rows.observed.any(-1), 0.0)",
        "return values",
        (ENGINE,),
    ),
    Fault(
        "last weights kept, not the average",
        "_engine/engine.py",
        "self._optimiser.average.state_dict()",
        "self._optimiser.module.state_dict()",
        (ENGINE,),
    ),
    Fault(
        "training goes on after NaN", "_engine/training.py", "optimiser.roll_back()", "optimiser.commit()", (TRAINING,)
    ),
    Fault(
        "warm-up skipped",
        "_engine/training.py",
        "beta = self.beta if step >= self.warmup_steps else self.beta * step / self.warmup_steps",
        "beta = self.beta",
        (TRAINING,),
    ),
    Fault(
        "one column's likelihood serves another",
        "nn/models.py",
        "each = zip(self.by_block(outputs), x.split(self.counts, dim=-1), strict=True)",
        "each = zip(self.by_block(outputs), x.flip(-1).split(self.counts, dim=-1), strict=True)",
        (MODELS,),
    ),
    Fault(
        "slope of the normal scores dropped",
        "_table/columns.py",
        "out += self.normal_scores.log_slope(standardised)",
        "pass",
        (f"{MARGINALS}::test_jacobian_is_the_derivative_of_encode_and_0_where_missing",),
    ),
    Fault(
        "heavy tail of the normal scores left out",
        "_table/marginals.py",
        "TAIL * np.arctan2(1.0, x) / np.pi",
        "0.0",
        (f"{MARGINALS}::test_tails_are_not_rounded_away_on_either_side",),
    ),
    Fault(
        "latent part of a score dropped",
        "_engine/scoring.py",
        "rest = (w * (draws.log_ratio - log_w)).sum(0) - math.log(len(points))",
        "rest = torch.zeros_like(log_w[0])",
        (f"{ENGINE}::test_parts_add_up_to_the_log_likelihood",),
    ),
    Fault(
        "rows with holes scored by an encoder that knows none",
        "_engine/scoring.py",
        "if rows.observed is None or knows_missing:",
        "if rows.observed is None or True:",
        ("test_conditional.py::test_scores_of_single_columns_are_densities_though_no_cell_was_missing_in_training",),
    ),
    Fault(
        "proposals weighed alike whatever their share",
        "_engine/scoring.py",
        "log_q + log_share",
        "log_q",
        ("test_conditional.py::test_scores_of_single_columns_are_densities_though_no_cell_was_missing_in_training",),
    ),
    Fault(
        "missing cells have a share",
        "_model/committee.py",
        "own.columns - np.where(own.silent, 0.0, mean)",
        "own.columns - mean",
        (f"{OUTLIER}::test_missing_cells_have_no_share",),
    ),
    Fault(
        "a new row does not count in its p-value",
        "_outlier.py",
        "return (1 + np.searchsorted(",
        "return (0 + np.searchsorted(",
        (f"{OUTLIER}::test_p_value_counts_the_calibration_rows_that_score_no_higher",),
    ),
    Fault(
        "calibration rows trained on",
        "_outlier.py",
        "others = np.setdiff1d(np.arange(len(table)), part)",
        "others = np.arange(len(table))",
        (f"{OUTLIER}::test_rows_set_aside_are_scored_and_not_trained_on",),
    ),
    *(
        Fault(f"optimiser: {name}", "_engine/optimiser.py", right, wrong, (OPTIMISER, TRAINING))
        for name, right, wrong in (
            ("gradients not clipped", "1.0 / CLIP, out=self._excess", "0.0, out=self._excess"),
            ("a broken step is taken", "nan_to_num_(1.0)", "nan_to_num_(0.0)"),
            ("no momentum", "momentum.lerp_(grad, 1.0 - MOMENTUM)", "momentum.copy_(grad)"),
            ("uphill", "value.sub_(direction", "value.add_(direction"),
            ("tall matrices as if wide", "x = matrices.mT if is_tall else matrices", "x = matrices"),
            ("a wrong polynomial", "beta=cubic, alpha=quintic", "beta=cubic, alpha=-quintic"),
            ("Adam moves all", "slice(self.flat.n_inner if self._led_by_muon else 0, None)", "slice(0, None)"),
            ("one reach for all shapes", "reach * math.sqrt(max(direction.shape[1:]))", "reach"),
        )
    ),
    Fault(
        "trim ignored",
        "_engine/training.py",
        "shares(batch, terms.value, plan.trim, -1.0)",
        "shares(batch, terms.value, 0.0, -1.0)",
        (f"{TRAINING}::test_training_with_trimming_overlooks_rows_that_do_not_fit",),
    ),
    Fault(
        "highest rows trimmed, not the lowest",
        "_engine/training.py",
        "order = values.argsort(descending=True)",
        "order = values.argsort()",
        (f"{TRAINING}::test_trimmed_mean_leaves_out_the_lowest_share",),
    ),
    Fault(
        "aggregated prior never settles",
        "_vae.py",
        "engine.settle(shown.encoded, shown.weight, shown.missing, keep_codes=is_all, marks=marks)",
        "pass",
        ("test_persistence.py::test_normal_marginals_and_the_aggregated_prior_survive",),
    ),
    Fault(
        "aggregated prior stays settled in training",
        "_engine/vae.py",
        "model.prior.unsettle()",
        "pass",
        (f"{ENGINE}::test_training_goes_on_with_the_prior_that_was_trained",),
    ),
    Fault(
        "least scale ignored",
        CONTINUOUS,
        'MIN_LOG_STD if min_scale is None else log_of(self, "min_scale", "a positive number", min_scale)',
        "MIN_LOG_STD",
        (f"{LIKELIHOODS}::test_learned_scale_stays_above_the_least_asked_for",),
    ),
    # -- categories, atoms, counts and bounds
    Fault(
        "gate of atoms ignored by the likelihood",
        "nn/models.py",
        "return cells * self.counted(x) if len(self.values) else cells",
        "return cells",
        (MODELS,),
    ),
    Fault(
        "gate of atoms turned",
        "nn/models.py",
        "(x.index_select(-1, self.atoms) == 0)",
        "(x.index_select(-1, self.atoms) != 0)",
        (MODELS,),
    ),
    Fault(
        "gate of atoms ignored by the Jacobian",
        "_table/columns.py",
        "np.where(cells[:, :1] > 0, 0.0, super()",
        "np.where(cells[:, :1] > 9, 0.0, super()",
        (SCHEMA,),
    ),
    Fault(
        "atoms not drawn",
        "_table/columns.py",
        "np.where(which > 0, atoms[which], values)",
        "values",
        (SCHEMA,),
    ),
    Fault(
        "atoms left out of the expectation",
        "_table/columns.py",
        "statistics[:, -1] + statistics[:, 1:-1] @ np.array(self.atoms)",
        "statistics[:, -1]",
        (SCHEMA,),
    ),
    Fault(
        "shares of atoms are those of the rows, not of the weight",
        "_table/inference.py",
        "each = [float(weight[values == atom].sum()) for atom in atoms]",
        "each = [float((values == atom).sum()) for atom in atoms]",
        (INFERENCE,),
    ),
    Fault(
        "atoms by their share of the rows, not of the weight",
        "_table/atoms.py",
        "mass = np.bincount(inverse.ravel(), weights=weight) / weight.sum()",
        "mass = counts / len(values)",
        (ATOMS,),
    ),
    Fault(
        "a few rows make an atom", "_table/atoms.py", "(mass >= SHARE) & (counts >= ROWS)", "(mass >= SHARE)", (ATOMS,)
    ),
    Fault(
        "the neighbour of an atom is one",
        "_table/atoms.py",
        "<= rounding * np.abs(table[place])",
        "<= 1e-6 * np.abs(table[place])",
        (ATOMS,),
    ),
    Fault(
        "a pooled level has the probability of the pool",
        "_table/columns.py",
        "return self.levels.log_share(",
        "return 0.0 * self.levels.log_share(",
        ("test_mixed.py::test_the_probabilities_of_all_levels_sum_to_one_also_where_rare_ones_share_a_code",),
    ),
    Fault(
        "an unseen level costs nothing",
        "_table/columns.py",
        "Flags | bool:\n        return not self.levels.takes_in(",
        "Flags | bool:\n        return False and self.levels.takes_in(",
        ("test_mixed.py::test_an_unknown_category_is_an_unlikely_event_by_default",),
    ),
    Fault(
        "training rows vouch for themselves",
        "_model/committee.py",
        "m.log_density(table, relative=True, trained_on=True)",
        "m.log_density(table, relative=True, trained_on=False)",
        (f"{OUTLIER}::test_the_threshold_with_novelty_leaves_each_row_out_of_the_prior",),
    ),
    Fault(
        "calibration rows are judged on their own scale",
        "_model/committee.py",
        "scales_of(densities[:, ~own])",
        "scales_of(densities)",
        (f"{OUTLIER}::test_rows_set_aside_are_as_normal_as_new_ones",),
    ),
    Fault(
        "a surprisal without a tail",
        "_model/committee.py",
        "+ np.minimum(self.rate * below, MOST)",
        "+ 0.0 * np.minimum(self.rate * below, MOST)",
        (f"{OUTLIER}::test_surprisal_is_the_log_share_of_reference_rows",),
    ),
    Fault(
        "what is new costs nothing",
        "_model/committee.py",
        "scores: Floats = self.joined(self.densities(table)) - self.costs(table).sum(axis=1)",
        "scores: Floats = self.joined(self.densities(table))",
        (f"{OUTLIER}::test_surprise_of_a_constant_column_is_its_share",),
    ),
    Fault(
        "a linear start with the noise of the wrong kernel",
        "_engine/closed_form.py",
        "precision = 0.25 / noise**2",
        "precision = 0.5 / noise**2",
        ("engine/test_closed_form.py::test_the_noise_left_out_best_is_that_of_a_kernel_density_estimate",),
    ),
    *(
        Fault(f"exact density: {name}", "_engine/exact.py", old, new, ("engine/test_exact.py",))
        for name, old, new in (
            ("no noise in the covariance", "scaled @ scaled.T + torch.eye", "scaled @ scaled.T + 0.9 * torch.eye"),
            ("what the basis does not span is free", "-0.5 * (self.across.square()", "-0.25 * (self.across.square()"),
            ("missing cells are seen", "cells = pattern.nonzero()", "cells = torch.ones_like(pattern).nonzero()"),
            ("own exemplar", "prior.without(log_modes[trained], own)", "log_modes[trained]"),
            ("the noise has no variance", "- gain.square().sum(1)", "- 0.0 * gain.square().sum(1)"),
        )
    ),
    Fault(
        "a gross draw moves what is expected",
        "_model/committee.py",
        "columns.append(np.median(own, axis=0))",
        "columns.append(np.mean(own, axis=0))",
        (f"{OUTLIER}::test_a_gross_cell_in_training_leaves_the_reasons_of_other_rows",),
    ),
    Fault(
        "lone rows set aside are odder than new ones",
        "_model/committee.py",
        "min(scale.rate, STEEPER * whole.rate)",
        "scale.rate",
        (f"{OUTLIER}::test_a_lone_row_set_aside_is_no_odder_than_a_new_one_of_its_kind",),
    ),
    Fault(
        "a linear start that forgets the noise",
        "_engine/closed_form.py",
        "np.sqrt(np.maximum(variance - noise**2, 0.0))",
        "np.sqrt(np.maximum(variance, 0.0))",
        ("engine/test_closed_form.py::test_a_linear_model_of_given_noise_starts_at_probabilistic_pca",),
    ),
    Fault(
        "validation scores in the units of the training rows",
        "_model/fitting.py",
        "record.validation + judged.offset",
        "record.validation + taught.offset",
        ("test_fit.py::test_validation_scores_are_in_the_units_of_the_rows_set_aside",),
    ),
    Fault(
        "draws round onto atoms",
        "_table/atoms.py",
        "nearest[there] = beside[distance.argmin(axis=1)]",
        "pass",
        (SCHEMA,),
    ),
    Fault(
        "what one row holds is a heap",
        "_table/atoms.py",
        "often = counts >= HEAP",
        "often = counts >= 1",
        (ATOMS,),
    ),
    Fault(
        "draws far from a heap gather there",
        "_table/atoms.py",
        "on_it = (low[place] <= draws) & (draws <= high[place])",
        "on_it = draws == draws",
        (ATOMS,),
    ),
    Fault(
        "heaps at atoms",
        "_table/atoms.py",
        "rest = ~np.isin(values, atoms)",
        "rest = values == values",
        (ATOMS,),
    ),
    Fault(
        "heaps where the step says it all",
        "_table/atoms.py",
        "if step is not None and weighted_quantiles",
        "if False and weighted_quantiles",
        (ATOMS,),
    ),
    *(
        Fault(f"ranks: {name}", file, old, new, tests)
        for name, file, old, new, tests in (
            (
                "values that repeat have no share of their own",
                "_table/ranks.py",
                "[ends - mass + half_row, ends - half_row]",
                "[ends - 0.5 * mass, ends - 0.5 * mass]",
                (RANKS,),
            ),
            (
                "only some that repeat are kept",
                "_table/ranks.py",
                "often[counts[often] >= HEAP]",
                "often[:9]",
                (RANKS,),
            ),
            (
                "no ends",
                "_table/ranks.py",
                "outer = np.r_[: min(ENDS, n), max(n - ENDS, 0) : n]",
                "outer = [0]",
                (RANKS,),
            ),
            ("no weights", "_table/ranks.py", "weights=weight).", "weights=0 * weight + 1.0).", (RANKS,)),
            (
                "atoms among the draws",
                "_table/columns.py",
                "dense: FloatArray = cells[cells[:, 0] == 0, -1]",
                "dense: FloatArray = cells[:, -1]",
                ("test_sampling.py::test_numbers_beside_atoms_are_distributed_as_in_training",),
            ),
            (
                "holes count as draws",
                "_model/ranking.py",
                "own = own[: len(holes)][~holes[:, j]] if j in gaps else own",
                "pass",
                ("test_sampling.py::test_where_cells_are_missing_the_others_are_distributed_as_in_training",),
            ),
            (
                "they outlive the model that they were learned of",
                "_table/together.py",
                "replace(own, ranks=None) if isinstance(own, Number) else own",
                "own",
                ("test_sampling.py::test_further_rows_end_ranks_and_another_fit_learns_them_anew",),
            ),
            (
                "members learn them",
                "_vae.py",
                "is_held = self._left_out is not None",
                "is_held = False",
                ("test_sampling.py::test_models_that_draw_no_rows_learn_no_ranks",),
            ),
            (
                "they are learned without bounds",
                "_model/ranking.py",
                "and bool(np.isfinite(column.low))",
                "",
                ("test_sampling.py::test_without_bounds_draws_are_left_as_they_are",),
            ),
        )
    ),
    Fault(
        "a missing cell of an atom column is no atom",
        "_table/atoms.py",
        "which[np.isnan(values)] = np.nan",
        "pass",
        (ATOMS,),
    ),
    Fault(
        "what is no atom scaled with the atoms",
        "_table/inference.py",
        "if _varies(values[rest]) else (values, weight)",
        "if False else (values, weight)",
        (INFERENCE,),
    ),
    Fault(
        "the encoder sees every number as it is",
        "_engine/build.py",
        "if seen_as[j] == name])",
        "if False])",
        ("test_new_kind.py",),
    ),
    Fault(
        "frequencies of codes ignored at the start",
        "_engine/build.py",
        'options = {"frequencies": frequencies} if coded else {}',
        'options = {"frequencies": [[1] * len(f) for f in frequencies]} if coded else {}',
        (f"{ENGINE}::test_untrained_codes_have_the_shares_of_the_training_rows",),
    ),
    Fault(
        "the most probable level drawn, always",
        "nn/likelihoods/categorical.py",
        "probability = self.expected(outputs).double()",
        "probability = F.one_hot(self.mean(outputs).long() + self.offset, self.total).sum(-2).double()",
        (f"{MODELS}::test_codes_are_drawn_by_their_probability_each_in_its_cell",),
    ),
    Fault(
        "an unknown level is level 0",
        "_table/levels.py",
        "if pool_unknown and self.pooled else np.nan",
        "if pool_unknown and self.pooled else 0.0",
        (LEVELS,),
    ),
    Fault(
        "a missing level is the last one",
        "_table/levels.py",
        "for value in values] + [np.nan], dtype",
        "for value in values], dtype",
        (LEVELS,),
    ),
    Fault(
        "pooled levels lost",
        "_table/levels.py",
        "return known | dict.fromkeys(self.pooled, len(self.values))",
        "return known",
        (LEVELS,),
    ),
    Fault(
        "pooled levels drawn alike",
        "_table/levels.py",
        "random_state.choice(len(self.pooled), len(rare), p=self.shares)",
        "random_state.choice(len(self.pooled), len(rare))",
        (LEVELS,),
    ),
    Fault(
        "the most frequent levels pooled",
        "_table/levels.py",
        'seen[np.argsort(-mass[seen], kind="stable")]',
        'seen[np.argsort(mass[seen], kind="stable")]',
        (LEVELS,),
    ),
    Fault(
        "weights of rows ignored in the shares of levels",
        "_table/levels.py",
        "np.bincount(codes[there], weights=weight[there], minlength=len(values))",
        "np.bincount(codes[there], minlength=len(values))",
        (LEVELS,),
    ),
    Fault(
        "unknown levels never an error",
        "_table/levels.py",
        "if new:\n            raise ValueError(",
        "if False:\n            raise ValueError(",
        (SCHEMA,),
    ),
    Fault(
        "codes follow the frame's order of the categories",
        "_table/levels.py",
        "known = self.code_of()\n        other",
        "known = {value: code for code, value in enumerate(values)}\n        other",
        (LEVELS,),
    ),
    Fault(
        "Jacobian of the logarithm dropped",
        "_table/columns.py",
        "out += self._bend.log_slope(standardised * self.scale + self.location)",
        "pass",
        (SCHEMA,),
    ),
    Fault(
        "bounds ignored",
        "_table/columns.py",
        "np.clip(values, max(float(self.low), -most), min(float(self.high), most))",
        "np.clip(values, -most, most)",
        (SCHEMA,),
    ),
    Fault(
        "bounds of rows without weight",
        "_table/inference.py",
        'told |= {"low": float(rest.min()), "high": float(rest.max())}',
        'told |= {"low": float(np.nanmin(table.numbers(j))), "high": float(np.nanmax(table.numbers(j)))}',
        (INFERENCE,),
    ),
    Fault(
        "a missing category is seen as level 0",
        "nn/networks.py",
        "there = torch.ones_like(x) if observed is None else observed.to(x.dtype)",
        "there = torch.ones_like(x)",
        (NETWORKS,),
    ),
    Fault(
        "a missing category is seen by the embedding",
        "nn/networks.py",
        "found = found * observed[..., self.embedded_cells].unsqueeze(-1)",
        "pass",
        (NETWORKS,),
    ),
    Fault(
        "indicators of one category overwrite those of another",
        "nn/networks.py",
        "torch.cumsum(sizes, 0) - sizes)",
        "sizes * 0)",
        (NETWORKS,),
    ),
    Fault(
        "the encoder sees columns in the order of the blocks",
        "_model/starting.py",
        "seen=schema.in_order_of_columns",
        "seen=None",
        ("model/test_starting.py",),
    ),
    Fault(
        "parts taken for those of another column",
        "_table/cells.py",
        "return tuple((values[cell.column], i) for i, cell in enumerate(self) if cell.is_atom)",
        "return tuple((i + 1, i) for i, cell in enumerate(self) if cell.is_atom)",
        ("model/test_starting.py",),
    ),
    Fault(
        "masking changes codes and does not hide them",
        "_engine/bounds.py",
        "return replace(rows, x=rows.x * kept, observed=seen if rows.observed is None else seen & rows.observed)",
        "return replace(rows, x=rows.x * kept)",
        (f"{ENGINE}::test_corruption_hides_codes_and_never_changes_them",),
    ),
    Fault(
        "noise on codes",
        "_engine/bounds.py",
        "normal(rows.x.shape, rows.x, noise) * ~columns.is_code",
        "normal(rows.x.shape, rows.x, noise)",
        (f"{ENGINE}::test_corruption_hides_codes_and_never_changes_them",),
    ),
    Fault(
        "categories come back in alphabetical order",
        "_table/frames/writing.py",
        "index = pd.Index(levels, dtype=dtype, tupleize_cols=False)",
        "index = pd.Index(sorted(levels), dtype=dtype, tupleize_cols=False)",
        (FRAMES,),
    ),
    Fault(
        "ordered categories come back without their order",
        "_table/frames/writing.py",
        'ordered=fmt.dtype.family == "ordered"',
        "ordered=False",
        (FRAMES,),
    ),
    Fault(
        "completion goes through floats",
        "_table/frames/writing.py",
        "pd.concat([column, new], ignore_index=True).take(_places(patch))",
        "pd.concat([column.astype(float, errors='ignore'), new], ignore_index=True).take(_places(patch)).astype("
        "column.dtype)",
        (FRAMES,),
    ),
    Fault(
        "rows taken twice are taken from the whole",
        "_table/tables.py",
        "np.arange(self.X.shape[0])[self.index][index]",
        "np.arange(self.X.shape[0])[index]",
        (TABLES,),
    ),
)


def run_tests(house: Path, tests: tuple[str, ...]) -> bool:
    """Whether the tests of a copied house pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    command += [f"tests/{test}" for test in tests]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.returncode == 0


def is_caught(house: Path, fault: Fault) -> bool:
    """Whether the tests turn red with the fault in the source."""
    path = house / "skvae" / fault.file
    source = path.read_text(encoding="utf-8")
    if source.count(fault.old) != 1:
        raise RuntimeError(f"{fault.name}: {fault.old!r} occurs {source.count(fault.old)} times in {fault.file}")
    path.write_text(source.replace(fault.old, fault.new), encoding="utf-8")
    try:
        return not run_tests(house, fault.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def copied_house(folder: str) -> Path:
    """A copy of what the tests need."""
    house = Path(folder) / "house"
    house.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, house / name)
    return house


def main(words: list[str]) -> int:
    """Try the faults whose name has one of the words (all without words)."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if not chosen:
        print(f"No fault has one of {words} in its name.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        house = copied_house(folder)
        if not run_tests(house, tuple(dict.fromkeys(test for fault in chosen for test in fault.tests))):
            print("The tests are red without any fault.")
            return 1
        survivors = 0
        for fault in chosen:
            caught = is_caught(house, fault)
            survivors += not caught
            print(f"{'caught' if caught else 'SURVIVED':9} {fault.name:55} {fault.file}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} faults caught")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
