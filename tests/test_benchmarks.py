"""The benchmarks measure what they say: splits, noise, Jacobians, the rule of a win, and what a results file holds."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from benchmarks import (
    committees,
    imputation,
    outliers,
    parts,
    records,
    report,
    rivals,
    rules,
    run,
    speed,
    tables,
)
from benchmarks.encoding import Encoding
from benchmarks.measure import measure_density
from benchmarks.methods import density, draws, eager, flows, heads
from benchmarks.methods import imputation as imputers
from benchmarks.methods import outliers as outlier_methods
from benchmarks.methods import tables as generators
from benchmarks.methods.vae import CONSTANTS, DEFAULT, TEXTBOOK, VAES, VAEMethod, constant, patched
from benchmarks.problems import (
    Masked,
    Split,
    TableSplit,
    _dequantised,
    density_problems,
    density_split,
    imputation_problems,
    load_density_table,
    outlier_problems,
    outlier_split,
    table_problems,
    table_split,
    typed,
)
from benchmarks.settings import FACTORS, STUDY_TABLES
from skvae import VAETransformer, metrics
from skvae._engine import bounds, engine
from skvae._engine.bounds import VariationalBound
from skvae._engine.importance import n_rounds
from skvae._engine.training import Plan
from skvae._members import imputer_models
from skvae._model.auto import Schedule
from skvae._model.reading import read
from skvae.nn import networks, objectives, passes, priors

TINY = VAEMethod({"max_iter": 2, "hidden_layer_sizes": (8,), "n_components": 2, "n_train_samples": 1})
FIELDS = {
    "problem", "method", "seed", "n_train", "n_test", "n_features", "log_likelihood", "standard_error", "fit_seconds",
    "score_seconds",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_tables_only(monkeypatch):
    monkeypatch.delenv("SKVAE_DATA", raising=False)


@pytest.fixture
def diabetes():
    split = density_split("sk/diabetes", 0)
    return Split(split.name, split.seed, split.train[:80], split.test[:40])


# -- problems ----------------------------------------------------------------------------------------------------------


def test_without_the_folder_only_scikit_learns_tables_are_offered():
    assert set(density_problems()) == {"sk/breast_cancer", "sk/diabetes", "sk/digits"}


def test_splits_are_the_same_at_every_call_and_others_under_another_seed():
    first, again, other = (
        density_split("sk/diabetes", 0),
        density_split("sk/diabetes", 0),
        density_split("sk/diabetes", 1),
    )
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_split_is_four_to_one_and_covers_the_table_once():
    split, table = density_split("sk/diabetes", 2), load_density_table("sk/diabetes", 2)
    assert len(split.test) == math.ceil(0.2 * len(table))
    rows = np.concatenate([split.train, split.test])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(table, axis=0))


def test_dequantisation_leaves_no_tie_and_is_as_wide_as_the_smallest_gap():
    raw = density_problems()["sk/digits"]()
    raw = raw[:, raw.max(axis=0) > raw.min(axis=0)]
    noise = load_density_table("sk/digits", 0) - raw
    assert all(len(np.unique(column)) == len(raw) for column in (raw + noise).T)
    gaps = np.array([np.diff(np.unique(column)).min() for column in raw.T])
    assert (noise.min(axis=0) >= 0.0).all()
    assert (noise.max(axis=0) <= gaps).all()
    np.testing.assert_allclose(noise.mean(axis=0), gaps / 2, rtol=0.1)  # 1797 draws: 4 standard errors are 5 %


def test_a_column_without_ties_gets_no_noise():
    rng = np.random.default_rng(0)
    untied, tied = np.linspace(0.0, 1.0, 50), np.repeat([0.0, 3.0], 25)
    noisy = _dequantised(np.column_stack([untied, tied]), rng)
    np.testing.assert_array_equal(noisy[:, 0], untied)
    assert (noisy[:, 1] != tied).all()


# -- methods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*density.DENSITY_RIVALS.values(), TINY], ids=[*density.DENSITY_RIVALS, "tiny VAE"])
def test_densities_count_the_jacobian(method, diabetes, monkeypatch):
    monkeypatch.setattr(density, "COMPONENTS", (1, 2))
    scales = np.array([1e-3, 1e3, *[10.0] * 8])
    plain = method(diabetes.train, 0)(diabetes.test)
    scaled = method(diabetes.train * scales, 0)(diabetes.test * scales)
    assert plain.shape == (len(diabetes.test),)
    np.testing.assert_allclose(scaled.mean() + np.log(scales).sum(), plain.mean(), atol=2e-2)


def test_the_floor_is_the_sum_of_normal_columns(diabetes):
    expected = norm.logpdf(diabetes.test, diabetes.train.mean(axis=0), diabetes.train.std(axis=0)).sum(axis=1)
    np.testing.assert_allclose(density.gaussian_marginals(diabetes.train, 0)(diabetes.test), expected)


def test_every_adapter_makes_the_same_record(diabetes, monkeypatch):
    monkeypatch.setattr(density, "COMPONENTS", (1, 2))
    for name, method in {**density.DENSITY_RIVALS, DEFAULT: TINY}.items():
        record = measure_density(name, method, diabetes)
        assert set(record) == FIELDS
        assert (record["problem"], record["method"], record["seed"]) == ("sk/diabetes", name, 0)
        assert (record["n_train"], record["n_test"], record["n_features"]) == (80, 40, 10)
        assert math.isfinite(record["log_likelihood"])
        assert record["standard_error"] > 0.0


def test_the_default_is_the_default():
    assert dict(VAES[DEFAULT].parameters) == dict(VAES[DEFAULT].constants) == {}


def test_patched_constants_reach_the_model_and_are_put_back(diabetes):
    """A patch that nothing reads would make two options of a factor the same."""
    before = {name: constant(name) for name in CONSTANTS}
    scores = {}
    for name, value in (
        (None, 0),
        ("skvae.nn.likelihoods.continuous.MIN_LOG_STD", 0.5),
        ("skvae.nn.networks.CLIP", 0.5),
    ):
        method = VAEMethod(TINY.parameters, {name: value} if name else {})
        scores[name] = method(diabetes.train, 0)(diabetes.test).mean()
    averaging = VAEMethod({**TINY.parameters, "max_iter": 9}, {"skvae._engine.optimiser.AVERAGING": 0.0})
    scores["none"] = averaging(diabetes.train, 0)(diabetes.test).mean()
    scores["averaged"] = VAEMethod(averaging.parameters)(diabetes.train, 0)(diabetes.test).mean()
    assert len(set(scores.values())) == len(scores)
    assert {name: constant(name) for name in CONSTANTS} == before


def test_patched_constants_hold_while_scoring(diabetes):
    clip, parameters = {"skvae.nn.networks.CLIP": 0.5}, {**TINY.parameters, "early_stopping": False}
    with patched(clip):
        model = VAETransformer(**parameters, random_state=0).fit(diabetes.train)
        expected = model.score_samples(diabetes.test)
    scores = VAEMethod(parameters, clip)(diabetes.train, 0)(diabetes.test)
    np.testing.assert_array_equal(scores, expected)
    assert not np.allclose(scores, model.score_samples(diabetes.test))


def test_the_steps_constant_sets_the_epochs(diabetes):
    with patched({"skvae._model.auto.SHORT": Schedule(60, 16, (32, 256), 0.6)}):
        fitted = VAETransformer(early_stopping=False, random_state=0).fit(diabetes.train)
    assert fitted.n_iter_ == math.ceil(60 / math.ceil(80 / 32))


def test_flows_may_train_longer(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(run, "_measure_all", lambda *_: seen.append(flows.SECONDS))
    for more in ([], ["--flow-seconds", "120"]):
        run.main(["density", "--methods", "flows", "--out", str(tmp_path / "none.jsonl"), *more])
    assert seen == [60.0, 120.0]
    assert flows.SECONDS == 60.0


def test_an_unknown_constant_is_an_error():
    with pytest.raises(AttributeError, match="NO_SUCH"), patched({"skvae.nn.networks.NO_SUCH": 1.0}):
        pass


def test_settings_tell_options_apart_and_know_the_default():
    assert VAEMethod().settings == VAES[DEFAULT].settings
    assert VAEMethod({"learning_rate_init": VAETransformer().learning_rate_init}).settings == VAEMethod().settings
    for factor, options in FACTORS.items():
        digests = {method.settings for method in options.values()}
        assert len(digests) == len(options), factor
        assert VAEMethod().settings in digests, f"no option of {factor} is the default"
    assert VAEMethod(TEXTBOOK).settings != VAEMethod().settings


def test_draws_in_the_course_of_a_training_are_as_many_as_asked_and_the_package_is_left_as_it_was():
    assert [draws.DRAWS["1, from three quarters on 5"].at(share) for share in (0.0, 0.74, 0.75, 1.0)] == [1, 1, 5, 5]
    train = speed.factor_table(80, 3, 0)
    before = (Plan.learning_rate_at, VariationalBound._eps, bounds.SLOPES["iwae"], engine.REPLAYED, engine.mean_bound)
    default = VAEMethod().smaller(3)(train, 0)(train)
    found = {name: method.smaller(3)(train, 0)(train) for name, method in draws.DRAWS.items() if name != "2"}
    as_the_default = draws.Draws(((0.0, 2),)).smaller(3)(train, 0)(train)
    np.testing.assert_array_equal(as_the_default, default)
    assert all(not np.allclose(each, default) for each in found.values())
    after = (Plan.learning_rate_at, VariationalBound._eps, bounds.SLOPES["iwae"], engine.REPLAYED, engine.mean_bound)
    assert after == before


def test_the_way_back_through_one_draw_has_the_same_gradient_on_average():
    stream = torch.Generator().manual_seed(0)
    eps = torch.empty(2, 5, 4_000).normal_(generator=stream)[..., :1].expand(-1, -1, 4_000)  # the same row many times
    mean, log_std = torch.zeros(2, 4_000), torch.full((2, 4_000), -0.5)
    z = mean.unsqueeze(1) + log_std.exp().unsqueeze(1) * eps
    passed = objectives.Passed(mean, log_std, eps, z, -(z - 1.0).square().sum(0))
    each = [
        slopes(priors.StandardNormal(2), passed, 1.0)[1](torch.ones(4_000))
        for slopes in (objectives.importance_weighted_slopes, partial(draws.one_back_slopes, stream))
    ]
    for part in ("log_likelihood", "z"):
        expected, got = (getattr(one, part).mean(-1) for one in each)
        torch.testing.assert_close(got, expected, rtol=0.0, atol=0.05)
    assert (each[1].log_likelihood.sum(0) == 1.0).all()


# -- running -----------------------------------------------------------------------------------------------------------


def small(monkeypatch):
    monkeypatch.setattr(run, "DENSITY_METHODS", {"floor": density.gaussian_marginals, "tiny": TINY})
    return ["density", "--methods", "floor", "tiny", "--problems", "sk/diabetes", "--seeds", "1"]


def test_density_writes_an_environment_and_its_records(tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "density.jsonl"
    run.main([*small(monkeypatch), "--smoke", "--out", str(out)])
    found, environments = records.read(out)
    assert [record["method"] for record in found] == ["floor", "tiny"]
    assert all(record.keys() >= FIELDS | {"run"} for record in found)
    assert [record["n_train"] for record in found] == [run.SMOKE_ROWS] * 2
    assert len(environments) == 1
    assert environments[0].keys() >= {"python", "torch", "scikit-learn", "cpu", "cores", "threads", "seeds", "commit"}
    printed = capsys.readouterr().out
    assert '"threads"' in printed
    assert "[2/2" in printed


def test_resume_adds_only_what_the_file_lacks(tmp_path, monkeypatch):
    out, command = tmp_path / "density.jsonl", small(monkeypatch)
    floor = measure_density("floor", density.gaussian_marginals, density_split("sk/diabetes", 0))
    out.write_text(json.dumps(floor) + "\n")  # a record of another program's, without a header
    with pytest.raises(SystemExit, match="--resume"):
        run.main([*command, "--smoke", "--out", str(out)])
    run.main([*command, "--smoke", "--out", str(out), "--resume"])
    assert [record["method"] for record in records.read(out)[0]] == ["floor", "tiny"]
    before = out.read_text()
    run.main([*command, "--smoke", "--out", str(out), "--resume"])
    assert out.read_text() == before


def test_other_settings_under_an_old_name_are_measured_anew(tmp_path, monkeypatch):
    out, command = tmp_path / "density.jsonl", small(monkeypatch)
    run.main([*command, "--smoke", "--out", str(out)])
    other = VAEMethod({**TINY.parameters, "learning_rate_init": 1e-4})
    monkeypatch.setattr(run, "DENSITY_METHODS", {"floor": density.gaussian_marginals, "tiny": other})
    run.main([*command, "--smoke", "--out", str(out), "--resume"])
    assert [record["method"] for record in records.read(out)[0]] == ["floor", "tiny", "tiny"]


def test_the_same_settings_under_another_name_are_not_fitted_again(tmp_path, monkeypatch):
    out = tmp_path / "defaults.jsonl"
    fits = []
    monkeypatch.setattr(run, "measure_density", lambda *args: fits.append(args[0]) or measure_density(*args))
    monkeypatch.setattr(run, "VAES", {DEFAULT: TINY})
    monkeypatch.setattr(
        run, "FACTORS", {"seasoning": {"none": TINY, "beta": VAEMethod({**TINY.parameters, "beta": 0.5})}}
    )
    run.main(["defaults", "--problems", "sk/diabetes", "--smoke", "--out", str(out)])
    found = records.read(out)[0]
    assert [record["method"] for record in found] == [DEFAULT, "seasoning: none", "seasoning: beta"]
    assert fits == [DEFAULT, "seasoning: beta"]
    assert found[0]["log_likelihood"] == found[1]["log_likelihood"] != found[2]["log_likelihood"]


def test_a_method_that_fails_is_recorded_and_tried_again(tmp_path, monkeypatch):
    def broken(train, seed):
        raise ValueError("no density today")

    out, command = tmp_path / "density.jsonl", small(monkeypatch)
    for methods in ({"floor": broken, "tiny": TINY}, {"floor": density.gaussian_marginals, "tiny": TINY}):
        monkeypatch.setattr(run, "DENSITY_METHODS", methods)
        run.main([*command, "--smoke", "--out", str(out), "--resume"])
    found = records.read(out)[0]
    assert [record.get("error") for record in found] == ["ValueError: no density today", None, None]
    assert report.failures(found) == []
    assert "no density today" in report.failures(found[:2])[0]


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="Unknown methods"):
        run.main(["density", "--methods", "magic", "--out", str(tmp_path / "x")])
    with pytest.raises(SystemExit, match="SKVAE_DATA"):
        run.main(["density", "--problems", "adbench/4_breastw", "--out", str(tmp_path / "x")])


# -- speed -------------------------------------------------------------------------------------------------------------


def test_layers_of_a_shape_are_those_of_the_rival():
    widths = [layer[1:] for layer in speed.Shape(20, (64, 32), 4, 128).products(1, 20)]
    assert widths == [(20, 64), (64, 32), (32, 8), (4, 32), (32, 64), (64, 20)]
    rival = speed.mlp(speed.FIT_SHAPE, 3, 0)
    assert rival.hidden_layer_sizes == (128, 64, 10, 64, 128)
    plain = speed.plain_vae(speed.FIT_SHAPE, 3, 0)
    assert (plain.batch_size, plain.max_iter, plain.early_stopping) == (rival.batch_size, rival.max_iter, False)
    assert (plain.objective, plain.prior, plain.n_train_samples) == ("elbo", "standard_normal", 1)


def test_both_models_of_the_ratio_run_all_epochs():
    table = speed.factor_table(60, 20, 0)
    shape = speed.Shape(20, (8,), 2, 16)
    for make in (speed.plain_vae, speed.default_vae, speed.mlp):
        model = make(shape, 4, 0)
        speed._fit(model, table)()
        assert model.n_iter_ == 4


def test_the_default_has_a_floor_of_its_own():
    products = speed.Shape(20, (64,), 4, 128).products(2, 300)
    assert products == [(128, 20, 64), (128, 64, 8), (256, 4, 64), (256, 64, 300)]


def test_parts_of_a_step_are_told_apart_and_the_package_is_left_as_it_was():
    before = (networks.Pass.forward, passes.posterior, objectives.SLOPES["iwae"])
    with parts.watching() as watch:
        VAETransformer(n_components=2, max_iter=3, random_state=0, early_stopping=False).fit(
            speed.factor_table(60, 4, 0)
        )
    assert set(watch.seconds) == set(parts.PARTS)
    assert all(seconds > 0.0 for seconds in watch.seconds.values())
    assert (networks.Pass.forward, passes.posterior, objectives.SLOPES["iwae"]) == before


def test_a_part_has_only_the_time_that_it_has_to_itself(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("benchmarks.parts.time.process_time", lambda: next(clock))
    watch = parts.Stopwatch()
    inner = watch.watched("inner", lambda: 1)
    outer = watch.watched("outer", lambda: (inner(), lambda: inner()))
    _, pull = outer()  # from 0 to 3, the inner one from 1 to 2
    assert watch.seconds == {"inner": 1.0, "outer": 2.0}
    pull()
    assert watch.seconds == {"inner": 2.0, "outer": 4.0}


# -- whole fits beside other packages ----------------------------------------------------------------------------------


def test_the_loop_has_the_layers_of_the_shape_and_learns():
    shape = speed.Shape(20, (16, 8), 3, 32)
    table = speed.factor_table(320, 20, 0)
    before, after = (eager.fit_eager(shape, table, n, 0) for n in (0, 100))
    widths = [
        (layer.in_features, layer.out_features) for layer in before.modules() if isinstance(layer, torch.nn.Linear)
    ]
    assert widths == [layer[1:] for layer in shape.products(1, 20)]
    rows = torch.as_tensor(table, dtype=torch.float32)
    assert after(rows).mean() > before(rows).mean() + 1.0


def test_the_bound_of_the_loop_is_the_textbooks():
    model = eager.EagerVAE(speed.Shape(3, (), 2, 4))
    with torch.no_grad():
        for layer in (*model.encoder, *model.decoder):
            layer.weight.zero_()
            layer.bias.zero_()
        model.encoder[-1].bias.copy_(torch.tensor([1.0, 0.0, 0.0, math.log(2.0)]))
        model.log_std.fill_(math.log(3.0))
        bound = model(torch.full((1, 3), 2.0)).item()
    divergence = 0.5 * 1.0 + (0.5 * (4.0 - 1.0) - math.log(2.0))
    assert bound == pytest.approx(3 * norm.logpdf(2.0, scale=3.0) - divergence, rel=1e-5)


def test_a_whole_fit_is_the_set_up_and_all_epochs():
    rival = replace(rivals.RIVALS[-1], n_epochs=300, timed=(2, 12))
    timed = [speed.Seconds(10.0 + 2 * 0.5, 8.0 + 2 * 0.25), speed.Seconds(10.0 + 12 * 0.5, 8.0 + 12 * 0.25)]
    assert rivals.extrapolated(timed, rival) == (160.0, 83.0)
    assert rivals.extrapolated(timed[:1], replace(rival, timed=(300,))) == timed[0]


def test_rivals_that_are_not_there_are_skipped_with_a_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rivals, "find_spec", lambda package: None)
    out = tmp_path / "rivals.jsonl"
    run.main(["rivals", "--smoke", "--out", str(out)])
    found, environments = records.read(out)
    assert [(record["measure"], record["what"]) for record in found] == [("step", rivals.OURS), ("step", rivals.EAGER)]
    assert environments[0]["seeds"] == [0]
    assert capsys.readouterr().out.count("rivals_env.sh") == len(rivals.RIVALS)
    monkeypatch.setattr(rivals, "find_spec", lambda package: package)
    assert "SKVAE_DATA" in rivals.RIVALS[-1].missing()


def fit_nothing(table, n_epochs, seed):
    """Stands for the fit of a package."""


@pytest.mark.parametrize("rival", rivals.RIVALS, ids=lambda rival: rival.name)
def test_both_fits_and_the_floor_are_recorded_and_reported(rival):
    small = replace(rival.smaller(), fit=fit_nothing, package="numpy", n_epochs=3)
    table = small.tables()[small.table]()[:40]
    found = list(rivals.fit_records(small, table, 0))
    assert [record["what"] for record in found] == [rivals.OURS, rival.name, rivals.FLOOR]
    assert found[0]["ratio"] == found[0]["cpu_ratio"] == 1.0
    assert small.ours(table, 2, 0).n_iter_ == 2
    assert f"| {rival.name} (numpy " in report.rivals_report(found)[0]


def test_settings_of_the_rivals_are_their_defaults():
    pyod, pythae, _, tvae = rivals.RIVALS
    vae = pytest.importorskip("pyod.models.vae").VAE
    told = {name: value.default for name, value in inspect.signature(vae).parameters.items()}
    assert (pyod.hidden, pyod.n_components) == (tuple(told["encoder_neuron_list"]), told["latent_dim"])
    assert pyod.hidden[::-1] == tuple(told["decoder_neuron_list"])
    assert (pyod.batch_size, pyod.n_epochs) == (told["batch_size"], told["epoch_num"])
    models = pytest.importorskip("pythae.models")
    config = pytest.importorskip("pythae.trainers").BaseTrainerConfig()
    widths = {layer.out_features for layer in models.VAE(models.VAEConfig(input_dim=(7,))).modules()
              if isinstance(layer, torch.nn.Linear)}  # fmt: skip
    assert widths == {*pythae.hidden, pythae.n_components, 7}
    assert (pythae.batch_size, pythae.n_epochs) == (config.per_device_train_batch_size, config.num_epochs)
    model = pytest.importorskip("ctgan").TVAE(enable_gpu=False)
    assert tvae.hidden == model.compress_dims == model.decompress_dims[::-1]
    assert (tvae.n_components, tvae.batch_size, tvae.n_epochs) == (model.embedding_dim, model.batch_size, model.epochs)


# -- outliers ----------------------------------------------------------------------------------------------------------


def test_contaminated_scores_what_it_is_fitted_on():
    split = outlier_split("sk/breast_cancer", "contaminated", 0)
    assert split.train is split.test
    assert 0.0 < split.is_outlier.mean() < 0.1


def test_clean_trains_on_half_of_the_normal_rows_and_scores_the_rest():
    table, y, _ = outlier_problems()["sk/breast_cancer"]()
    split = outlier_split("sk/breast_cancer", "clean", 0)
    assert len(split.train) == (y == 0).sum() // 2
    assert split.is_outlier.sum() == y.sum()
    rows = np.concatenate([split.train, split.test])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(table, axis=0))
    assert not {row.tobytes() for row in split.train} & {row.tobytes() for row in table[y == 1]}
    assert not np.array_equal(split.train, outlier_split("sk/breast_cancer", "clean", 1).train)


@pytest.mark.parametrize("novelty", [False, True])
@pytest.mark.parametrize("name", list(outlier_methods.OUTLIER_RIVALS))
def test_every_rival_ranks_a_gross_outlier_first(name, novelty):
    rows = np.random.default_rng(0).normal(size=(120, 3)) * [1.0, 1e3, 1e-3]
    rows[7] = [9.0, -9e3, 9e-3]
    train = np.delete(rows, 7, axis=0) if novelty else rows
    scores = outlier_methods.OUTLIER_RIVALS[name](train, 0, novelty)(rows)
    expected = [7] if name != "PCA reconstruction" else np.argsort(scores)[-12:]
    assert scores.argmax() in expected


def test_neighbours_of_a_training_row_are_others():
    rows = np.random.default_rng(0).normal(size=(50, 2))
    method = outlier_methods.OUTLIER_RIVALS["kNN (k=5)"]
    among_others, beside_itself = method(rows, 0, False)(rows), method(rows, 0, True)(rows)
    assert (among_others > beside_itself).all()


def test_outlier_jobs_repeat_only_where_chance_plays(tmp_path):
    writer = records.Writer(tmp_path / "o.jsonl", [0, 1])
    names = [outlier_methods.DETECTOR, "kNN (k=5)"]
    protocols = ["contaminated", "clean", "contaminated 1 %"]
    jobs = outliers.jobs(names, ["adbench/t", "oddbench/t"], protocols, [0, 1], writer)
    got = {(job["problem"], job["method"], job["seed"]) for job in jobs}
    assert ("contaminated: adbench/t", "kNN (k=5)", 1) not in got  # all rows, whatever the seed
    assert ("clean: oddbench/t", "kNN (k=5)", 1) not in got  # the split that was published
    assert ("contaminated 1 %: adbench/t", "kNN (k=5)", 0) not in got  # its share of outliers is what it is
    assert {("clean: adbench/t", "kNN (k=5)", 1), ("contaminated: oddbench/t", "kNN (k=5)", 1)} <= got
    assert len(got) == 5 * 2 + 8


def test_critical_difference_is_that_of_the_published_table():
    """Demšar (2006), table 5: q is 2.343 for 3 methods and 3.164 for 10, at 5 %."""
    for n_methods, q in ((3, 2.343), (10, 3.164)):
        expected = q * math.sqrt(n_methods * (n_methods + 1) / (6.0 * 14))
        assert outliers.critical_difference(n_methods, 14) == pytest.approx(expected, abs=1e-3)


def outlier_records(method, values):
    return [
        {"problem": f"{protocol}: t{i}", "method": method, "seed": seed, "auroc": value, "aucpr": value,
         "fit_seconds": 1.0, "score_seconds": 0.5}
        for protocol in ("contaminated", "clean") for i, value in enumerate(values) for seed in (0, 1)
    ]  # fmt: skip


def test_outlier_report_pairs_by_table(tmp_path):
    found = outlier_records(outlier_methods.DETECTOR, [0.9, 0.8, 0.7]) + outlier_records("LOF", [0.8, 0.7, 0.6])
    found += outlier_records("HBOS", [0.7, 0.6, 0.8])
    rows = {row[0]: row for row in outliers.comparison_rows(found, "contaminated", "", None)}
    assert rows["LOF"][2:6] == ["70.0", "70.0", "+10.0 (+10.0 to +10.0)", "1.000"]
    assert rows[f"**{outlier_methods.DETECTOR}**"][2] == "80.0"
    assert "t0 | **90.0** | 80.0 | 70.0" in report.markdown(*outliers.per_table(found, "clean"))
    outliers.plot_ranks(found, tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 0


def test_outliers_are_run_from_the_command_line(tmp_path):
    out = tmp_path / "outliers.jsonl"
    methods = ["squared norm", "IsolationForest"]
    run.main(["outliers", "--smoke", "--protocols", "clean", "--methods", *methods, "--out", str(out)])
    found = records.read(out)[0]
    assert {record["method"] for record in found} == set(methods)
    assert all(0.9 < record["auroc"] <= 1.0 for record in found)


# -- synthetic tables --------------------------------------------------------------------------------------------------


def mixed_frame(n=60, seed=0):
    rng = np.random.default_rng(seed)
    number = rng.normal(size=n)
    grade = pd.Categorical.from_codes(np.digitize(number, [-0.5, 0.5]), ["low", "mid", "high"], ordered=True)
    colour = pd.Series(pd.Categorical.from_codes(rng.integers(2, size=n), ["red", "blue"])).mask(np.arange(n) % 9 == 0)
    count = pd.Series(rng.poisson(3, n)).astype("Int64").mask(np.arange(n) % 7 == 0)
    return pd.DataFrame({"x": number, "grade": grade, "colour": colour, "count": count, "flag": number > 0})


def test_dtypes_follow_the_kinds():
    assert typed(pd.Series([1, 2]), "continuous").dtype == "float64"
    assert typed(pd.Series([1, 2]), "count").dtype == "int64"
    assert typed(pd.Series([1.0, np.nan]), "count").dtype == "Int64"
    assert typed(pd.Series([True, False]), "binary").dtype == bool
    names = typed(pd.Series([3, 1, 3]), "categorical").cat
    assert (list(names.categories), names.ordered) == ([1, 3], False)
    order = typed(pd.Series(["b", "a"]), "ordinal", ["b", "a"]).cat
    assert (list(order.categories), order.ordered) == (["b", "a"], True)


def test_table_splits_are_four_to_one():
    assert set(table_problems()) == {"sk/wine", "sk/diabetes"}
    split = table_split("sk/wine", 1)
    assert (len(split.train), len(split.test)) == (142, 36)
    assert not table_split("sk/wine", 0).train.equals(split.train)


def test_encoding_knows_levels_and_missing_cells():
    frame = mixed_frame()
    encoding = Encoding.of(frame)
    table = encoding(frame)
    assert encoding.is_category.tolist() == [False, True, True, False, True]
    assert encoding.is_nominal.tolist() == [False, False, True, False, True]
    np.testing.assert_array_equal(np.isnan(table), frame.isna().to_numpy())
    np.testing.assert_array_equal(table[:, 1], frame["grade"].cat.codes)
    other = frame.assign(colour=pd.Categorical(["green"] * len(frame)))
    assert np.isnan(encoding(other)[:, 2]).all()


@pytest.mark.parametrize("name", [*generators.TABLE_RIVALS, *generators.TABLE_MIXTURES])
def test_rivals_draw_frames_like_the_real_one(name):
    frame = mixed_frame(200)
    draw = tables.METHODS[name](frame, 0)
    rows = draw(500, 0)
    assert rows.dtypes.equals(frame.dtypes)
    assert rows.equals(draw(500, 0))
    assert not rows.equals(draw(500, 1))
    assert metrics.column_errors(frame, rows).max() < 0.12
    drawn = Encoding.of(frame)(rows)
    together = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert abs(together) < 0.2 if name == "independent columns" else together > 0.7
    assert (metrics.share_of_copies(frame, rows) == 1.0) == (name == "bootstrap")


def test_frames_for_networks_go_there_and_back():
    frame = mixed_frame()
    plain = generators.Plain(frame)
    assert not plain.frame.isna().any(axis=None)
    assert plain.discrete == ["1", "2", "3 missing", "4"]
    assert plain.restored(plain.frame).equals(frame)


def test_missing_cells_may_stay_for_those_that_take_them():
    frame = mixed_frame()
    plain = generators.Plain(frame, holes=True)
    assert plain.discrete == ["1", "2", "4"]
    np.testing.assert_array_equal(plain.frame.isna(), frame.isna())
    assert plain.restored(plain.frame).equals(frame)


def test_whole_numbers_drawn_as_numbers_are_rounded():
    frame = pd.DataFrame({"count": [1, 2, 3]})
    drawn = generators.Plain(frame).restored(pd.DataFrame({"0": [0.6, 1.4]}))
    assert drawn.equals(pd.DataFrame({"count": [1, 1]}))


def test_the_mixture_of_scores_bends_where_the_copula_does_not():
    x = np.random.default_rng(0).normal(size=1000)
    frame = pd.DataFrame({"x": x, "y": np.abs(x)})
    found = {name: tables.METHODS[name](frame, 0)(1000, 0) for name in ("mixture of scores", "Gaussian copula")}
    together = {name: np.corrcoef(rows["x"].abs(), rows["y"])[0, 1] for name, rows in found.items()}
    assert together["mixture of scores"] > 0.9 > 0.3 > abs(together["Gaussian copula"])
    assert found["mixture of scores"].isin(frame.to_numpy().ravel()).all(axis=None)


@pytest.mark.parametrize(
    ("package", "method"),
    [("arfpy", generators.TABLE_FORESTS["ARF"]), ("mostlyai.engine", generators.TABLE_NETWORKS["TabularARGN"])],
)
def test_rivals_of_other_packages_draw_frames_like_the_real_one(package, method):
    pytest.importorskip(package)
    frame = mixed_frame(200)
    draw = method.smaller(2)(frame, 0)
    rows = draw(300, 0)
    assert rows.dtypes.equals(frame.dtypes)
    assert rows.equals(draw(300, 0))
    assert not rows.equals(draw(300, 1))
    assert rows["count"].isna().any()


def table_records(method, shape, downstream, seeds=(0, 1)):
    common = {"shape_error": shape, "worst_shape_error": 2 * shape, "known_shape_error": shape, "trend_error": shape,
              "score": "AUC", "downstream_real": 0.9, "detection": 0.7, "nearer_to_train": 0.5, "copies": 0.0,
              "fit_seconds": 1.0, "sample_seconds": 0.1}  # fmt: skip
    return [
        {"problem": f"t{i}", "method": method, "seed": seed, "downstream": value, **common}
        for i, value in enumerate(downstream)
        for seed in seeds
    ]


def test_tables_report_pairs_by_table(tmp_path):
    found = table_records(DEFAULT, 0.02, [0.8, 0.8]) + table_records("TVAE", 0.05, [0.7, 0.85], seeds=(0,))
    found.append({"problem": "t0", "method": "CTGAN", "seed": 0, "error": "no"})
    header, rows = tables.paired(found)
    assert rows == [["TVAE", "-3 (2 of 2)", "-3 (2 of 2)", "-0.025 (1 of 2)", "+0 (0 of 2)"]]
    assert len(header) == 5
    text = "\n".join(report.tables_report(found))
    assert "| t0 | 0.900 | **0.800** | 0.700 |" in text
    assert "Failed: t0, CTGAN" in text
    tables.plot(found, tmp_path / "tables.png")
    assert (tmp_path / "tables.png").stat().st_size > 0


def test_tables_are_run_from_the_command_line(tmp_path):
    out = tmp_path / "tables.jsonl"
    run.main(["tables", "--smoke", "--methods", "rivals", "--out", str(out)])
    found = records.read(out)[0]
    assert {(record["problem"], record["method"]) for record in found} == {
        (table, name) for table in table_problems() for name in generators.TABLE_RIVALS
    }
    of = {record["method"]: record for record in found if record["problem"] == "sk/wine"}
    assert of["bootstrap"]["copies"] == 1.0
    assert of["bootstrap"]["nearer_to_train"] > 0.5
    assert of["independent columns"]["trend_error"] > of["bootstrap"]["trend_error"]
    assert {"settings", "shape_errors", "detection", "sample_seconds", "run"} <= of["bootstrap"].keys()


def test_bootstrapped_rows_are_perfect_but_for_chance():
    frame = mixed_frame(300)
    found = tables.measures(TableSplit("t", 0, frame, mixed_frame(75, 1), "flag"), frame)
    assert found["shape_error"] == found["trend_error"] == found["worst_shape_error"] == 0.0
    assert found["downstream"] == found["downstream_real"]
    assert found["copies"] == 1.0
    assert found["nearer_to_train"] == pytest.approx(0.625, abs=0.08)  # a quarter of the copied rows is asked


# -- imputation --------------------------------------------------------------------------------------------------------


def masked_frame():
    """Hidden: two numbers, one level of a category and two of an ordered one."""
    frame = pd.DataFrame({
        "x": [-1.0, 1.0, -1.0, 1.0],
        "colour": pd.Categorical(["a", "b", "b", "a"]),
        "grade": pd.Categorical([1, 2, 3, 4], ordered=True),
    })  # fmt: skip
    hidden = np.array([[True, False, True], [True, True, False], [False, False, True], [False, False, False]])
    return Masked("t", 0, frame, hidden)


def test_masks_depend_on_table_and_number_alone():
    load = imputation_problems()["sk/breast_cancer"]
    first, again, other = load(0), load(0), load(1)
    np.testing.assert_array_equal(first.hidden, again.hidden)
    assert (first.hidden != other.hidden).any()
    assert first.hidden.sum() == other.hidden.sum() == 569 * 30 // 2
    np.testing.assert_array_equal(first.shown.isna().to_numpy(), first.hidden)


def test_errors_of_imputation_by_hand():
    masked = masked_frame()
    assert imputation.errors(masked, masked.complete) == {
        "mse": 0.0, "accuracy": 1.0, "ordinal_accuracy": 1.0, "hivae_error": 0.0,
    }  # fmt: skip
    filled = masked.complete.assign(
        x=[0.0, 0.0, -1.0, 1.0],
        colour=pd.Categorical(["a", "a", "b", "a"], ["a", "b"]),
        grade=pd.Categorical([2, 2, 3, 4], [1, 2, 3, 4], ordered=True),
    )
    found = imputation.errors(masked, filled)
    assert (found["mse"], found["accuracy"], found["ordinal_accuracy"]) == (1.0, 0.0, 0.5)
    assert found["hivae_error"] == pytest.approx((1.0 / 2.0 + 1.0 + 0.5 * 1.0 / 4.0) / 3.0)
    with pytest.raises(ValueError, match="still missing"):
        imputation.errors(masked, masked.shown)


def noisy_fill(frame, scale):
    """Draws of every cell from a normal distribution."""

    def draw(shown, n_draws, seed):
        rng = np.random.default_rng(seed)
        drawn = (scale * rng.normal(size=(n_draws, *frame.shape)))[:, : len(shown)]
        return [pd.DataFrame(values, columns=frame.columns) for values in drawn]

    return draw


def test_intervals_of_exact_draws_cover_what_they_say():
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(600, 6)), columns=list("abcdef"))
    masked = Masked("t", 0, frame, np.ones(frame.shape, dtype=bool))
    found = imputation.intervals(masked, noisy_fill(frame, 1.0))
    assert found["coverage"] == pytest.approx(0.9, abs=0.02)
    assert found["interval_width"] == pytest.approx(2 * 1.645, abs=0.2)
    wide = imputation.intervals(masked, noisy_fill(frame, 3.0))
    assert wide["coverage"] > 0.99
    assert wide["interval_width"] == pytest.approx(3.0 * found["interval_width"])


def test_intervals_are_those_of_numbers():
    masked = masked_frame()
    drawn = [masked.complete.assign(x=[value] * 4) for value in np.linspace(-0.5, 1.5, 50)]
    found = imputation.intervals(masked, lambda shown, n_draws, seed: [frame.loc[shown.index] for frame in drawn])
    assert found == {"coverage": 0.5, "interval_width": pytest.approx(1.87, abs=0.01)}
    assert (
        imputation.intervals(replace(masked, complete=masked.complete[["grade"]], hidden=masked.hidden[:, 2:]), None)
        == {}
    )


def test_the_coverage_of_draws_is_reported():
    def record(seed, **more):
        return {"problem": "miwae/t", "method": "VAEImputer", "seed": seed, "mse": 0.5, "fit_seconds": 1.0,
                "transform_seconds": 1.0, **more}  # fmt: skip

    found = [record(0), record(1, coverage=0.8, interval_width=1.0), record(2, coverage=0.9, interval_width=2.0)]
    assert imputation.covered(found, "miwae")[1] == [["miwae/t", "2", "0.850", "1.50"]]
    assert imputation.covered(found[:1], "miwae") == ([], [])
    assert any("| miwae/t | 2 | 0.850 | 1.50 |" in part for part in report.imputation_report(found))


def test_the_imputer_draws_for_its_intervals():
    frame = mixed_frame().drop(columns="flag")
    fill = imputers.IMPUTATION_VAES["VAEImputer"].smaller(2)(frame, 0)
    first, second = fill.draw(frame, 2, 0)
    assert not first.isna().any(axis=None)
    assert not first.equals(second)


IMPUTERS = {**imputers.IMPUTATION_RIVALS, "MIWAE": imputers.MIWAE(epochs=2, n_importance_draws=10)}


@pytest.mark.parametrize("name", list(IMPUTERS))
def test_imputers_fill_missing_cells_only(name):
    frame = mixed_frame().drop(columns="flag")
    filled = IMPUTERS[name](frame, 0)(frame)
    assert not filled.isna().any(axis=None)
    assert list(filled) == list(frame)
    assert filled["grade"].dtype == frame["grade"].dtype
    known = frame.notna().to_numpy()
    encoding = Encoding.of(frame)
    np.testing.assert_allclose(encoding(filled)[known], encoding(frame)[known])


def test_miwae_learns_a_line():
    x = np.random.default_rng(0).normal(size=200)
    complete = pd.DataFrame({"a": x, "b": 2.0 * x, "c": -x})
    masked = Masked("t", 0, complete, np.random.default_rng(1).random((200, 3)) < 0.2)
    method = imputers.MIWAE(n_components=2, epochs=60, n_importance_draws=200)
    assert imputation.errors(masked, method(masked.shown, 0)(masked.shown))["mse"] < 0.4


def test_imputation_is_run_from_the_command_line(tmp_path):
    out = tmp_path / "imputation.jsonl"
    methods = ["mean or most frequent", "kNN (k=5)", "iterative, BayesianRidge", "MIWAE"]
    run.main(["imputation", "--smoke", "--methods", *methods, "--out", str(out)])
    found = records.read(out)[0]
    of = {(record["problem"], record["method"]): record for record in found}
    assert len(of) == 2 * len(methods) - 1  # MIWAE is for numbers
    assert all(record["mse"] > 0.0 and record["transform_seconds"] >= 0.0 for record in found)
    assert of["sk/breast_cancer", methods[2]]["mse"] < of["sk/breast_cancer", methods[0]]["mse"]
    assert 0.0 <= of["sk/wine", methods[0]]["accuracy"] <= 1.0


def imputation_records(method, values, masks=(0, 1)):
    return [
        {"problem": f"miwae/{table}", "method": method, "seed": mask, "mse": value, "fit_seconds": 1.0,
         "transform_seconds": 0.5}
        for table, value in values.items() for mask in masks
    ]  # fmt: skip


def test_imputation_report_pairs_by_mask(tmp_path):
    found = imputation_records(imputers.IMPUTER, {"banknote": 0.4, "yeast": 0.9})
    found += imputation_records("mean or most frequent", {"banknote": 1.0, "yeast": 0.8})
    found += imputation_records("MIWAE", {"banknote": 0.5}, masks=(0,))
    header, rows = imputation.per_table(found, "mse", "miwae", None)
    assert header == ["table", "masks", imputers.IMPUTER, "mean or most frequent", "MIWAE"]
    assert rows[0] == ["miwae/banknote", "2", "**0.400**", "1.000", "0.500 (1)"]
    rows = {row[0]: row[1:] for row in imputation.paired(found, "mse", "miwae")[1]}
    assert rows["mean or most frequent"] == ["-0.250", "0.76", "1 of 2"]
    assert rows["MIWAE"] == ["-0.100", "0.80", "1 of 1"]
    assert "Half of the cells hidden" in report.imputation_report(found)[0]
    imputation.plot(found, tmp_path / "imputation.png")
    assert (tmp_path / "imputation.png").stat().st_size > 0


def test_settings_of_the_imputer_are_reported_beside_its_default_alone():
    found = imputation_records(imputers.IMPUTER, {"banknote": 0.4, "yeast": 0.8})
    found += imputation_records("10 draws", {"banknote": 0.5, "yeast": 0.8}, masks=(0,))
    assert imputation.settings(found, "mse", "miwae") == (
        ["setting", "masks", "miwae/banknote", "miwae/yeast", "mean"],
        [["10 draws", "1", "1.250", "1.000", "1.125"]],
    )
    parts = report.imputation_report(found)
    assert "10 draws" not in "".join(parts[: parts.index("### Settings of the imputer")])
    assert imputation.settings(found[:4], "mse", "miwae")[1] == []


@pytest.mark.parametrize("name", imputers.IMPUTER_SETTINGS)
def test_settings_of_the_imputer_differ_from_the_default(name):
    method = imputers.IMPUTER_SETTINGS[name]
    assert method.settings != imputers.VAEImputation().settings
    assert method.constants.keys() <= set(imputers.IMPUTER_CONSTANTS)
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(1100, 3)), columns=list("abc"))
    frame.iloc[::3, 0] = np.nan
    asked = []

    class Recorder(imputers.VAEImputer):
        def fit(self, X, y=None):
            models = imputer_models(read(self, X, reset=True))
            asked.append([model.get_params() for model in models] + [n_rounds(knows_missing=True)])
            return self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imputers, "VAEImputer", Recorder)
        for rows in (frame, frame[:500]):
            method(rows, 0)
            imputers.VAEImputation()(rows, 0)
    assert any(repr(mine) != repr(default) for mine, default in zip(asked[::2], asked[1::2], strict=True))


def test_published_errors_are_read_from_the_folder(tmp_path):
    (tmp_path / "results").mkdir()
    lines = ["dataset,model,metric,value", "yeast (8 columns),MIWAE,imputation MSE,0.9644", "iris (4),M,other,1"]
    (tmp_path / "results" / "vae_reference_results.csv").write_text("\n".join(lines))
    assert imputation.published_errors(tmp_path) == {"miwae/yeast": "MIWAE 0.964"}
    found = imputation_records("MIWAE", {"yeast": 1.0})
    assert imputation.per_table(found, "mse", "miwae", tmp_path)[1][0][-1] == "MIWAE 0.964"


# -- report ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([2.0, 2.1, 1.9], [1.0, 1.0, 1.0], "win"),
        ([1.0, 1.0, 1.0], [2.0, 2.1, 1.9], "loss"),
        ([2.0, 0.5, 1.0], [1.0, 1.0, 1.0], "tie"),
        ([11.0, 21.0, 31.0], [10.0, 20.0, 30.0], "win"),  # paired: the tables' own spread does not count
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], "tie"),
        ([5.0], [1.0], "tie"),
        ([-math.inf, 1.0, 1.0], [0.0, 0.0, 0.0], "loss"),
        ([1.0, 1.0, 1.0], [0.0, -math.inf, 0.0], "win"),
    ],
)
def test_a_win_is_a_paired_difference_above_two_standard_errors(ours, theirs, expected):
    assert report.outcome(dict(enumerate(ours)), dict(enumerate(theirs))) == expected


def test_two_standard_errors_are_the_bar():
    """Differences 1 - d and 1 + d have mean 1 and standard error d."""
    zeros = {0: 0.0, 1: 0.0}
    assert report.outcome({0: 0.49, 1: 1.51}, zeros) == "tie"
    assert report.outcome({0: 0.51, 1: 1.49}, zeros) == "win"


def synthetic(problem, method, values, **more):
    return [
        {"problem": problem, "method": method, "seed": seed, "log_likelihood": value, "fit_seconds": 1.0, **more}
        for seed, value in enumerate(values)
    ]


def test_comparison_counts_tables():
    found = [
        *synthetic("a", DEFAULT, [3.0, 3.1, 3.2]), *synthetic("a", "Gaussian mixture", [1.0, 1.1, 1.2]),
        *synthetic("b", DEFAULT, [1.0, 1.0, 1.0]), *synthetic("b", "Gaussian mixture", [2.0, 2.0, 2.0]),
        *synthetic("c", DEFAULT, [1.0, 1.0, 4.0]), *synthetic("c", "Gaussian mixture", [1.0, 2.0, 1.0]),
        *synthetic("d", DEFAULT, [1.0, 1.0, 1.0]),
    ]  # fmt: skip
    row = report.comparison(report.scores(found), [DEFAULT, "Gaussian mixture"]).splitlines()[-1]
    assert row == "| Gaussian mixture | 2 of 3 (67%) | 1 | 1 | 1 | +0.67 | -1.00 |"


def test_flows_have_a_table_of_their_own_with_the_tables_they_were_measured_on():
    shape = {"n_train": 8, "n_test": 2, "n_features": 3}
    found = [
        *(r for table in "ab" for r in synthetic(table, DEFAULT, [3.0], **shape)),
        *(r for table in "ab" for r in synthetic(table, "factor analysis", [2.0])),
        *synthetic("a", "NSF", [1.0]),
    ]
    compared, classic, flows, seconds = report.density_report(found)
    assert "| NSF | 1 of 1 (100%) |" in compared
    assert "NSF" not in classic
    assert "| b | 10 | 3 | 2.00 | **3.00** |" in classic
    assert flows.splitlines()[-1] == "| a | 10 | 3 | **3.00** | 1.00 |"
    assert "NSF" in seconds


def test_the_later_of_two_measurements_counts():
    found = [*synthetic("a", DEFAULT, [1.0]), *synthetic("a", DEFAULT, [2.0])]
    assert report.scores(found)["a"][DEFAULT] == {0: 2.0}


def test_defaults_report_marks_the_default_and_subtracts_it():
    found = [
        *synthetic("a", DEFAULT, [1.0, 1.0], settings="s0"),
        *synthetic("a", "prior: plain", [1.0, 1.0], settings="s0"),
        *synthetic("a", "prior: odd", [0.5, 0.5], settings="s1"),
    ]
    table = report.defaults_report(found)[1]
    assert "| prior | **plain** (default) |  |  |  |  |  |  | 1.00 |" in table
    assert "| prior | odd | -0.50 | -0.50 | 0 of 1 | 0 | 0 | 1 | 1.00 |" in table


def test_only_the_text_between_the_markers_is_replaced():
    document = "head\n<!-- begin density -->\nold\n<!-- end density -->\ntail <!-- begin speed --><!-- end speed -->\n"
    written = report.replaced(document, "density", "new")
    assert "old" not in written
    assert written.startswith("head\n<!-- begin density -->\n\nnew\n\n<!-- end density -->\ntail")
    assert report.replaced(written, "density", "new") == written
    with pytest.raises(ValueError, match="begin defaults"):
        report.replaced(document, "defaults", "new")


@pytest.mark.parametrize("name", sorted(report.REPORTS))
def test_the_document_has_a_place_for_every_report(name):
    assert "new" in report.replaced(report.page_of(name).read_text(), name, "new")


def test_reports_are_written_from_files(tmp_path, monkeypatch, capsys):
    results, document = tmp_path / "density.jsonl", tmp_path / "doc.md"
    document.write_text("<!-- begin density --><!-- end density -->")
    run.main([*small(monkeypatch), "--smoke", "--out", str(results)])
    report.main(["density", "--results", str(results), "--document", str(document)])
    text = document.read_text()
    assert "| sk/diabetes | " in text
    assert "Measured with python" in text


def test_study_tables_are_known_names():
    assert len(set(STUDY_TABLES)) == len(STUDY_TABLES)
    assert {name for name in STUDY_TABLES if name.startswith("sk/")} <= set(density_problems())


# -- number of modes ---------------------------------------------------------------------------------------------------


def modes_found(n_tables=20):
    """Five modes gain a nat on tables of 30 rows per column and lose one on tables of 5; eight lose two everywhere."""
    records = []
    for i in range(n_tables):
        many = i % 2 == 0
        value = {"1 mode": 0.0, "3 modes": 0.1, "5 modes": 1.0 if many else -1.0, "8 modes": -2.0}
        shape = {"n_train": 300 if many else 50, "n_features": 10, "fit_seconds": 1.0}
        records += [
            {"problem": f"t{i}", "method": name, "seed": 0, "log_likelihood": v, **shape} for name, v in value.items()
        ]
    return records


def test_the_number_of_modes_is_chosen_on_some_tables_and_judged_on_others():
    of = rules.gains(modes_found(), rules.MODES_CHOICE)
    assert {len(gain) for gain in of.values()} == {20}
    chosen, inside, outside, left_out = rules.crossed(of, rules.families(modes_found(), rules.MODES_CHOICE))
    assert all(name.startswith(("5 modes, from 10 rows per", "5 modes, from 20 rows per")) for name in chosen)
    assert not any("beyond" in name for name in chosen if "10 columns" not in name)
    assert sum(chosen.values()) == rules.FOLDS * rules.REPEATS
    assert inside == pytest.approx(0.5, abs=0.05)
    assert outside == pytest.approx(0.5)
    assert len(left_out) == 20 * rules.REPEATS


def test_one_table_speaks_for_one_nat_at_most():
    found = modes_found()
    found[3]["log_likelihood"] = 1e6  # eight modes on one table
    assert not any(name.startswith("8") for name in rules.crossed(rules.gains(found, rules.MODES_CHOICE), range(20))[0])


def test_a_choice_that_does_not_carry_over_shows_a_gap():
    rng = np.random.default_rng(0)
    noise = {f"rule {i}": rng.normal(size=30) for i in range(40)}
    _, inside, outside, _ = rules.crossed(noise, range(30))
    assert inside > outside + 0.05


def test_tables_of_one_origin_are_left_out_together():
    rng = np.random.default_rng(0)
    noise = {f"rule {i}": np.repeat(rng.normal(size=15), 2) for i in range(40)}
    apart, together = (rules.crossed(noise, groups)[2] for groups in (range(30), np.repeat(range(15), 2)))
    assert together < apart - 0.05  # a twin on the other side tells what a table is like
    found = modes_found()
    of = dict(
        zip(sorted({record["problem"] for record in found}), rules.families(found, rules.MODES_CHOICE), strict=True)
    )
    assert of == {table: table for table in of}
    for record in found:
        record["problem"] = {"t3": "uci/wine_red", "t4": "uci/wine_white"}.get(record["problem"], record["problem"])
    assert rules.families(found, rules.MODES_CHOICE).count("uci/wine_red") == 2


def test_fewer_steps_are_chosen_up_to_the_size_that_they_serve():
    found = [
        {"problem": f"t{n}", "method": name, "seed": 0, "n_train": n, "n_features": 5, "log_likelihood": value}
        for n in (300, 700, 900, 1500, 1800, 3000, 4500, 6000, 8000, 9000)
        for name, value in {"2,000 steps": 0.0, "1,000 steps": 0.1 if n < 5000 else -0.5}.items()
    ]
    of = rules.gains(found, rules.STEPS_CHOICE)
    assert set(rules.crossed(of, range(10))[0]) == {"1,000 steps of fewer than 5,000 rows"}
    assert str(rules.STEPS_CHOICE.default) == "1,000 steps of fewer than 5,000 rows"
    assert not of["2,000 steps"].any()


def test_modes_report_leaves_out_tables_without_every_number_of_modes():
    found = [record for record in modes_found() if (record["problem"], record["method"]) != ("t0", "3 modes")]
    chosen, said, each = report.REPORTS["modes"](found)
    assert "a gap of" in said
    assert "| t1 | 50 | 10 | +0.10 | -1.00 | -2.00 |" in each
    assert "| t0 |" not in each
    assert "chosen, of 25" in chosen


def test_a_solver_that_serves_narrow_tables_is_chosen_for_them_alone():
    found = [
        {"problem": f"t{p}", "method": name, "seed": 0, "n_train": 900, "n_features": p, "log_likelihood": value}
        for p in (5, 8, 12, 15, 18, 22, 25, 30, 35, 50)
        for name, value in {"5 draws, Adam": 0.0, "Adam": 0.0, "Muon": 0.5 if p <= 20 else -0.5}.items()
    ]
    of = rules.gains(found, rules.SOLVER_CHOICE)
    assert set(rules.crossed(of, range(10))[0]) == {"Muon up to 20 columns"}
    assert of["Adam"].tolist() == [0.0] * 10
    assert of["Muon"].sum() == 0.0
    assert str(rules.SOLVER_CHOICE.default) == "Muon up to 20 columns"
    assert "| t50 | 900 | 50 | +0.00 | -0.50 |" in report.REPORTS["solver"](found)[2]


# -- densities of other packages ---------------------------------------------------------------------------------------


def mass_on_a_grid(method):
    """What the density of two columns sums to over the plane."""
    rows = np.random.default_rng(0).normal([10.0, -2.0], [3.0, 0.5], size=(300, 2))
    first, second = np.linspace(-15.0, 35.0, 201), np.linspace(-6.5, 2.5, 201)
    log_density = method(rows, 0)
    grid = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    return np.exp(log_density(grid)).sum() * (first[1] - first[0]) * (second[1] - second[0]), log_density(rows).mean()


@pytest.mark.parametrize("name", ["NSF", "MAF"])
def test_a_flow_is_a_density_that_has_learned_something(name, monkeypatch):
    pytest.importorskip("zuko")
    monkeypatch.setattr(flows, "SECONDS", 3.0)
    mass, mean = mass_on_a_grid(flows.FLOW_RIVALS[name])
    assert mass == pytest.approx(1.0, abs=0.02)
    assert mean > -3.6  # normal columns have -3.24


def test_the_forest_is_a_density_that_has_learned_something():
    pytest.importorskip("arfpy")
    mass, mean = mass_on_a_grid(flows.FLOW_RIVALS["ARF"])
    assert mass == pytest.approx(1.0, abs=0.02)
    assert mean > -3.6


@pytest.mark.parametrize("head", [heads.SplineHead, heads.AutoregressiveHead])
def test_a_head_that_was_tried_is_a_density(head):
    if head is heads.SplineHead:
        pytest.importorskip("zuko")
    likelihood = head(2).double()
    outputs = torch.randn(likelihood.n_outputs, generator=torch.Generator().manual_seed(0)).double()
    axis = torch.linspace(-60.0, 60.0, 1201).double()
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).flatten(0, 1)
    density = likelihood.log_prob(outputs.expand(len(grid), -1), grid).detach().sum(-1).exp()
    assert float(density.sum()) * 0.01 == pytest.approx(1.0, abs=0.02)


# -- tables with outliers mixed in -------------------------------------------------------------------------------------


@pytest.fixture
def oddbench(tmp_path, monkeypatch):
    """A folder with one table of 300 normal training rows, and 100 normal and 50 outlying test rows."""
    folder = tmp_path / "oddbench"
    folder.mkdir()
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [100, 50])
    test = rng.normal(size=(150, 3)) + 6.0 * y[:, np.newaxis]
    np.savez(folder / "made_up.npz", train=rng.normal(size=(300, 3)), test=test, y=y)
    monkeypatch.setenv("SKVAE_DATA", str(tmp_path))
    return "oddbench/made_up"


def test_a_published_split_is_kept_where_rows_are_clean(oddbench):
    split, other = (outlier_split(oddbench, "clean", seed) for seed in (0, 1))
    assert (len(split.train), len(split.test), split.is_outlier.sum()) == (300, 150, 50)
    np.testing.assert_array_equal(split.train, other.train)


@pytest.mark.parametrize(("protocol", "n"), [("contaminated", 16), ("contaminated 1 %", 3), ("contaminated 10 %", 33)])
def test_outliers_are_mixed_into_normal_training_rows(oddbench, protocol, n):
    split = outlier_split(oddbench, protocol, 0)
    assert split.train is split.test
    assert split.is_outlier.sum() == n
    assert len(split.train) == 300 + n
    assert (split.train[split.is_outlier == 1].mean(axis=1) > 3.0).all()
    assert not np.array_equal(split.train, outlier_split(oddbench, protocol, 1).train)


# -- committees --------------------------------------------------------------------------------------------------------


def committee_records(values):
    """AUROC of two committees on tables of two collections."""
    return [
        {"problem": f"{protocol}: {home}/t{i}", "method": "committees", "seed": 0, "seconds": 1.0,
         "auroc": {"one": a, "other": b}, "aucpr": {"one": a, "other": b}}
        for protocol in ("contaminated", "clean") for home in committees.HOMES for i, (a, b) in enumerate(values)
    ]  # fmt: skip


def test_what_is_chosen_on_some_tables_is_judged_on_the_others():
    """Of two committees as good as each other the better by chance is chosen: that is what left-out tables show."""
    gaps = []
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(0.8, 0.05, size=(10, 2))
        table = committees.both_protocols(committee_records(noise), "auroc")
        choice = committees.chosen(table)
        gaps.append(choice.chosen_on - choice.left_out)
    assert np.mean(gaps) > 0.003
    assert len(choice.values) == len(table) == 40
    assert sum(choice.counts.values()) == committees.FOLDS * committees.REPEATS
    better = committees.both_protocols(committee_records([(0.9, 0.7)] * 10), "auroc")
    assert committees.chosen(better)[:2] == pytest.approx((0.9, 0.9))


def test_the_detectors_own_committee_is_among_those_compared():
    names = set(committees.of_committees({name: np.ones(3) for name in committees.members(100, 4)}, 4))
    assert committees.OWN in names


def test_committees_are_run_from_the_command_line(tmp_path):
    out = tmp_path / "committees.jsonl"
    run.main(["committees", "--smoke", "--out", str(out)])
    found = records.read(out)[0]
    assert [record["problem"].split(":")[0] for record in found] == ["contaminated", "clean"]
    for record in found:
        assert record["auroc"][committees.OWN] > 0.9
    assert "| **" in "\n".join(report.committees_report(found))
    for record in found[:]:
        found += [record | {"problem": f"{record['problem']} {i}"} for i in range(20)]
    assert "Chosen over tables: " in "\n".join(report.committees_report(found))
