"""What the code blocks of the pages must give, beyond what they assert themselves.

For each page, in order: the beginning of a block and a function of the page's names and of what the block printed.
Every block of a page is named here or has an ``assert`` of its own; test_docs.py sees to that. Fits are shortened
there, so that a number is held to a bound that a model reaches which has learned something.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd


def alike(drawn: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Whether a frame has the columns and dtypes of another, and each value in its range."""
    numbers = rows.select_dtypes("number")
    within = ((drawn[numbers.columns] >= numbers.min()) & (drawn[numbers.columns] <= numbers.max())).all(axis=None)
    return drawn.dtypes.equals(rows.dtypes) and bool(within)


def auc(odd: Any, score: Any) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(odd, -score))


# -- README.md and index.md --------------------------------------------------------------------------------------------


def readme(page: SimpleNamespace, printed: str) -> None:
    columns = page.X_train.select_dtypes("number")
    gaussian = -0.5 * (((page.X_test[columns.columns] - columns.mean()) / columns.std()) ** 2 + np.log(2 * np.pi))
    assert page.log_likelihood.mean() > (gaussian - np.log(columns.std())).sum(axis=1).mean()  # independent Gaussians
    assert len(page.new_rows) == 100
    assert (page.new_rows["target"] == "malignant").all()
    assert (page.new_rows["mean radius"] == 18.0).all()
    assert page.new_rows.dtypes.equals(page.X.dtypes)
    assert 0.02 <= (page.detector.predict(page.X_train) == -1).mean() <= 0.08
    assert 0 < len(page.odd) < 0.2 * len(page.X_test)
    np.testing.assert_allclose(page.shares.sum(axis=1) + page.latent, page.detector.score_samples(page.odd))
    hidden = page.holes.isna().to_numpy()
    assert not page.filled.isna().any(axis=None)
    assert (page.filled.to_numpy() == page.X_test.to_numpy())[~hidden].all()
    radius = page.holes["mean radius"].isna()
    error = (page.filled["mean radius"] - page.X_test["mean radius"])[radius]
    assert error.std() < 0.5 * page.X_test["mean radius"].std()


def index(page: SimpleNamespace, printed: str) -> None:
    assert page.codes.shape == (len(page.X), page.vae.n_components_)
    assert np.isfinite(page.log_density).all()
    assert alike(page.new_rows, page.X)
    assert len(page.new_rows) == 100


# -- user_guide.md -----------------------------------------------------------------------------------------------------


def jobs(page: SimpleNamespace, printed: str) -> None:
    np.testing.assert_array_equal(page.codes, page.mean)
    assert (page.std > 0.0).all()
    assert page.log_density.shape == (143,)
    assert page.smooth.index.equals(page.X_test.index)
    assert np.corrcoef(page.smooth["mean area"], page.X_test["mean area"])[0, 1] > 0.8
    assert alike(page.new_rows, page.X_train)


def curves(page: SimpleNamespace, printed: str) -> None:
    assert len(page.display.ax_.get_lines()[0].get_xdata()) == page.vae.n_iter_


def numbers(page: SimpleNamespace, printed: str) -> None:
    assert f"score {page.vae.score(page.X_train):.2f}" in printed
    assert page.vae.lower_bound_ < page.vae.score(page.X_train)  # fewer draws, a looser bound
    assert (np.diff(page.vae.kl_per_component_) <= 0.0).all()
    assert f"active: {(page.vae.kl_per_component_ > 0.01).sum()}" in printed


def comparable(page: SimpleNamespace, printed: str) -> None:
    assert abs(page.mixture.score(page.X_test) - page.vae.score(page.X_test)) < 10.0


def by_column(page: SimpleNamespace, printed: str) -> None:
    kinds = {column.name: column.kind for column in page.flagged.schema_.columns}
    assert (kinds["large"], kinds["mean area"]) == ("binary", "continuous")
    assert set(page.flagged.sample(200, random_state=0)["large"]) == {0.0, 1.0}


def several_modes(page: SimpleNamespace, printed: str) -> None:
    def share_on_a_branch(rows: Any) -> float:
        slow = 50.0 - 20.0 * np.sin(2.0 * np.pi * rows[:, 0] / 24.0)
        return float(((abs(rows[:, 1] - slow) < 12.0) | (abs(rows[:, 1] - 90.0) < 6.0)).mean())

    one, several = (share_on_a_branch(page.by_name[name]) for name in ("student_t", "student_t_mixture"))
    assert share_on_a_branch(page.speeds) > 0.98
    assert several > max(0.97, one + 0.03)
    scores = [float(score) for score in re.findall(r": (\S+) nats", printed)]
    assert scores[1] > scores[0] + 0.1


def noise(page: SimpleNamespace, printed: str) -> None:
    assert page.vae.score(page.X_test) > page.constant_noise.score(page.X_test)


def searched(page: SimpleNamespace, printed: str) -> None:
    scores = page.search.cv_results_["mean_test_score"]
    assert page.search.best_params_["n_components"] == [2, 8][int(np.argmax(scores))]
    assert page.search.best_estimator_.n_components_ == page.search.best_params_["n_components"]


def detected(page: SimpleNamespace, printed: str) -> None:
    assert 0 < len(page.odd) < 0.25 * len(page.X_test)
    scores = page.detector.score_samples(page.X_test)
    assert scores[page.X_test.index.isin(page.odd.index)].max() < page.detector.offset_


def stopped(page: SimpleNamespace, printed: str) -> None:
    assert len(page.early.validation_scores_) == page.early.n_iter_
    assert printed.endswith(" 10 0\n")


def streamed(page: SimpleNamespace, printed: str) -> None:
    assert page.stream.n_iter_ == 4
    assert np.isfinite(page.stream.score(page.X_test.to_numpy()))


def classified(page: SimpleNamespace, printed: str) -> None:
    assert page.classifier.score(page.X_test, page.y_test) > 0.85


def routed(page: SimpleNamespace, printed: str) -> None:
    assert len(page.pipe[-1].validation_scores_) == page.pipe[-1].n_iter_


def watched(page: SimpleNamespace, printed: str) -> None:
    assert page.watched.n_iter_ == 5
    assert [record["log-likelihood"] for record in page.monitor.get_logs().data][-1] == page.watched.score(page.X_train)


def own_networks(page: SimpleNamespace, printed: str) -> None:
    layers = [type(module).__name__ for module in page.own._engine.model.modules()]
    assert layers.count("LayerNorm") == 2


def denoised(page: SimpleNamespace, printed: str) -> None:
    assert page.cleaned.shape == page.X_test.shape
    assert np.corrcoef(page.cleaned["mean radius"], page.X_test["mean radius"])[0, 1] > 0.9


# -- tables.md ---------------------------------------------------------------------------------------------------------


def made_up(page: SimpleNamespace, printed: str) -> None:
    assert (len(page.train), len(page.test)) == (375, 125)


def columns(page: SimpleNamespace, printed: str) -> None:
    kinds = {column.name: column.kind for column in page.vae.schema_.columns}
    numbers = dict.fromkeys(["age", "income", "visits"], "continuous")
    assert kinds == numbers | {"member": "binary", "job": "categorical", "school": "ordinal"}
    assert "income continuous (0.0,)" in printed
    assert alike(page.new_rows, page.train)
    assert page.log_likelihood.shape == (125,)


def hinted(page: SimpleNamespace, printed: str) -> None:
    assert printed.startswith("whole numbers 1 to 5: a category?")


def text(page: SimpleNamespace, printed: str) -> None:
    assert [column.kind for column in page.of_text.schema_.columns][4:] == ["categorical", "ordinal", "identifier"]
    assert set(page.new_people["job"]) <= set(page.train["job"])
    assert page.new_people["mail"].nunique() == 100
    assert not set(page.new_people["mail"]) & set(page.signed_up["mail"])


def dates(page: SimpleNamespace, printed: str) -> None:
    assert (page.in_may["joined"] == "2025-05-01").all()
    assert page.in_may["age"].mean() > page.train["age"].mean() - 5.0
    assert abs(page.in_may["age"].mean() - 45.7) < 5.0
    assert alike(page.in_may, page.visits)


def ranges(page: SimpleNamespace, printed: str) -> None:
    assert page.some["age"].between(30, 40).all()
    assert set(page.some["job"]) <= {"care", "trade"}
    assert (page.old["age"] >= 60).all()
    assert page.unasked["visits"].isna().all()


def related(page: SimpleNamespace, printed: str) -> None:
    assert printed.startswith("column 'job' determines it")


def ruled(page: SimpleNamespace, printed: str) -> None:
    towns = set(zip(page.stays["town"], page.stays["country"], strict=True))
    for rows in (page.new_stays, page.early):
        assert set(zip(rows["town"], rows["country"], strict=True)) <= towns
    assert page.early["check_in"].between("2025-04-15", "2025-05-31").all()
    assert alike(page.new_stays, page.stays)


def unstated(page: SimpleNamespace, printed: str) -> None:
    assert page.error["informative"] < page.error[None]


def counted(page: SimpleNamespace, printed: str) -> None:
    kinds = {column.name: column.kind for column in page.counts.schema_.columns}
    assert (kinds["visits"], kinds["income"]) == ("count", "positive")
    drawn = page.counts.sample(500, random_state=0)
    assert abs((drawn["income"] == 0).mean() - (page.train["income"] == 0).mean()) < 0.1
    assert abs(drawn["visits"].mean() - page.train["visits"].mean()) < 2.0


def later_levels(page: SimpleNamespace, printed: str) -> None:
    assert "'pilot'" in printed
    assert page.vae.handle_unknown == "unlikely"
    unknown, missing = (page.later.assign(job=pd.Categorical([job, "care", "trade"])) for job in ("pilot", None))
    np.testing.assert_array_equal(page.vae.transform(unknown), page.vae.transform(missing))
    cost = page.vae.score_samples(missing) - page.vae.score_samples(unknown)
    np.testing.assert_allclose(cost, [np.log(page.vae.schema_.n_rows + 2), 0.0, 0.0], atol=1e-10)


def order(page: SimpleNamespace, printed: str) -> None:
    assert "another order" in printed
    np.testing.assert_array_equal(page.by_name, page.vae.transform(page.test))


def gaps(page: SimpleNamespace, printed: str) -> None:
    drawn = page.holed.sample(500, random_state=0)
    assert drawn.dtypes.equals(page.holes.dtypes)
    np.testing.assert_allclose(drawn.isna().mean(), page.holes.isna().mean(), atol=0.07)
    assert not page.holed.sample(500, missing=False, random_state=0).isna().any(axis=None)


def sparse(page: SimpleNamespace, printed: str) -> None:
    assert printed == "(300, 10)\n"
    assert page.topics.sample(20, random_state=0).shape == (20, 60)


def judged(page: SimpleNamespace, printed: str) -> None:
    summary = page.report.summary
    assert printed == f"{page.report}\n"
    assert list(page.report.columns.index.sort_values()) == sorted(page.train)
    assert summary.loc["column error", "drawn"] < 3.0 * summary.loc["column error", "reference"]
    assert summary.loc["utility, ROC AUC", "drawn"] > 0.6
    assert summary.loc["utility, ROC AUC", "reference"] > 0.6
    assert summary.loc["copies", "drawn"] < 0.02
    assert abs(summary.loc["nearness to training", "drawn"] - 0.5) < 0.15


def pictured(page: SimpleNamespace, printed: str) -> None:
    assert page.display.shown_ == list(page.train)
    np.testing.assert_array_equal(page.display.errors, page.report.columns["error"][page.train.columns])


def carers(page: SimpleNamespace, printed: str) -> None:
    assert (page.carers["age"] == 40).all()
    assert page.carers["income"].mean() < page.train["income"].mean()  # they are younger, and less often schooled
    assert page.carers["income"].nunique() > 100


def partial_rows(page: SimpleNamespace, printed: str) -> None:
    assert page.rows["job"].tolist()[:4] == ["care", "care", "office", "office"]
    assert page.rows["age"].tolist()[:2] == [30, 30]
    assert page.rows["age"].tolist()[4:] == [70, 70]
    assert page.sizes.shape == (3,)
    assert (page.sizes > 10.0).all()


def balanced(page: SimpleNamespace, printed: str) -> None:
    counts = page.balanced["job"].value_counts()
    assert counts["care"] == counts["office"]
    assert page.balanced.dtypes.equals(page.train.dtypes)


def others(page: SimpleNamespace, printed: str) -> None:
    assert 0.03 <= (page.detector.predict(page.train) == -1).mean() <= 0.08
    assert page.detector.complete(page.test).dtypes.equals(page.test.dtypes)
    reconstructed = page.autoencoder.reconstruct(page.test)
    assert (reconstructed["job"] == page.test["job"]).mean() > 0.5


# -- imputation.md -----------------------------------------------------------------------------------------------------


def filled(page: SimpleNamespace, printed: str) -> None:
    truth, hidden = page.complete.loc[page.X_test.index], page.X_test.isna()
    assert (page.filled == truth).mask(hidden, True).all(axis=None)
    related = ["s1", "s2", "s3", "s4"]  # which go with one another
    squares = ((page.filled[related] - truth[related]) ** 2 / page.X_train[related].var()).to_numpy()
    assert squares[hidden[related].to_numpy()].mean() < 0.75
    assert (page.filled[related] <= page.X_train[related].max()).all(axis=None)


def in_a_pipeline(page: SimpleNamespace, printed: str) -> None:
    assert page.pipe.score(page.X_test, page.y_test) > 0.6


def flags(page: SimpleNamespace, printed: str) -> None:
    names = page.flagged.get_feature_names_out()
    assert names.tolist() == [*page.marked.columns, *(f"missingindicator_{name}" for name in page.marked.columns)]
    out = page.flagged.transform(page.marked)
    assert not (out.iloc[:, :9] == -1).any(axis=None)
    np.testing.assert_array_equal(out.iloc[:, 9:], page.marked == -1)


def pooled(page: SimpleNamespace, printed: str) -> None:
    assert page.low < page.complete["bp"].loc[page.X_train.index].mean() < page.high
    assert 0.0 < page.between / page.total < 0.5
    differs, hidden = page.completions[0]["bp"] != page.completions[1]["bp"], page.X_train["bp"].isna()
    assert not differs[~hidden].any()
    assert differs[hidden].mean() > 0.8  # draws take the values that the column repeats, and may meet


def own_models(page: SimpleNamespace, printed: str) -> None:
    assert len(page.own.estimators_) == 2
    assert not page.own.transform(page.X_test).isna().any(axis=None)


# -- outliers.md -------------------------------------------------------------------------------------------------------


def odd_rows(page: SimpleNamespace, printed: str) -> None:
    assert 0.03 <= len(page.odd) / len(page.X) <= 0.07
    assert page.malignant[page.odd.index].mean() > page.malignant.mean()
    np.testing.assert_array_equal(page.labels == -1, page.scores < page.detector.offset_)


def novelties(page: SimpleNamespace, printed: str) -> None:
    flagged = page.watch.predict(page.new_rows) == -1
    odd = page.malignant[page.new_rows.index].to_numpy()
    assert flagged[odd].mean() > 0.5
    assert flagged[~odd].mean() < 0.25
    assert f"{flagged.mean()}\n" == printed


def values(page: SimpleNamespace, printed: str) -> None:
    n = len(page.watch.calibration_scores_)
    assert (page.p >= 1 / (n + 1)).all()
    assert (page.p <= 1.0).all()
    new_normal = ~page.malignant[page.new_rows.index].to_numpy()
    assert (page.p[new_normal] < 0.05).mean() < 0.25  # of one calibration set of 25 rows


def selected(page: SimpleNamespace, printed: str) -> None:
    odd = page.malignant[page.new_rows.index].to_numpy()
    assert page.named.sum() > 100
    assert (~odd[page.named]).mean() < 0.2


def mended(page: SimpleNamespace, printed: str) -> None:
    assert page.changed.sum() == 2
    assert page.watch.score_samples(page.mended) > page.watch.score_samples(page.lowest) + 1.0


def pictures(page: SimpleNamespace, printed: str) -> None:
    from matplotlib import pyplot

    titles = [axes.get_title() for number in pyplot.get_fignums() for axes in pyplot.figure(number).axes]
    assert titles == ["VAEOutlierDetector", f"VAEOutlierDetector, row {page.hundredth}"]


def labelled(page: SimpleNamespace, printed: str) -> None:
    assert auc(page.is_malignant, page.watch.score_samples(page.new_rows)) > 0.85


def trusted(page: SimpleNamespace, printed: str) -> None:
    assert len(page.n_effective) == len(page.new_rows)
    assert (page.n_effective >= 1.0).all()
    assert np.isfinite(page.error).all()
    assert page.pareto_k.max() > 1.0 - 1.0 / np.log10(256)
    assert "of the scores are known to half a nat" in printed


def own_detector(page: SimpleNamespace, printed: str) -> None:
    assert 0.01 < (page.own.predict(page.X) == -1).mean() < 0.15
    assert auc(page.malignant, page.own.score_samples(page.X)) > 0.6


def as_pyod(page: SimpleNamespace, printed: str) -> None:
    clf = page.AsPyOD(contamination=0.2, random_state=0)
    labels = clf.fit_predict(page.X)
    assert 0.17 < labels.mean() < 0.23
    assert set(labels) == {0, 1}
    assert auc(labels, -clf.decision_function(page.X)) == 1.0
    assert 0.03 < clf.set_contamination(0.05).predict(page.X).mean() < 0.07


def labels_of_pyod(page: SimpleNamespace, printed: str) -> None:
    assert 0.08 < page.clf.labels_.mean() < 0.12


RESULTS = {
    "README.md": {"import numpy as np": readme},
    "docs/index.md": {"from sklearn.datasets": index},
    "docs/user_guide.md": {
        "from sklearn.datasets": jobs,
        "import matplotlib": curves,
        'print(f"training bound': numbers,
        "from sklearn.mixture": comparable,
        "X_flag = ": by_column,
        "from functools import partial\nfrom skvae.nn.likelihoods": noise,
        "import numpy as np\n\nrng = np.random.default_rng(0)\nhour": several_modes,
        "from sklearn.model_selection import GridSearchCV": searched,
        "from skvae import VAEOutlierDetector": detected,
        "early = ": stopped,
        "stream = ": streamed,
        "from sklearn.linear_model": classified,
        "import sklearn\n": routed,
        "from sklearn.callback": watched,
        "from torch import nn": own_networks,
        "from skvae import AutoencoderTransformer": denoised,
    },
    "docs/tables.md": {
        "import numpy as np": made_up,
        "from skvae import VAETransformer": columns,
        "from skvae import summarize": hinted,
        "signed_up = ": text,
        "visits = ": dates,
        "some = ": ranges,
        "staff = ": related,
        "rng = np.random.default_rng(0)\narrival": ruled,
        "counts = ": counted,
        "later = ": later_levels,
        "try:\n    vae.transform(test[": order,
        "nullable = ": gaps,
        "from scipy.sparse": sparse,
        "from skvae.metrics": judged,
        "from skvae.displays": pictured,
        "carers = ": carers,
        "partial_rows = ": partial_rows,
        "n_missing = ": balanced,
        "from skvae import AutoencoderTransformer": others,
    },
    "docs/imputation.md": {
        "import numpy as np": filled,
        "from sklearn.ensemble": in_a_pipeline,
        "from skvae import VAETransformer": flags,
        "rich = ": unstated,
        "from scipy.stats": pooled,
        "from skvae.nn.likelihoods import SmoothGaussian": own_models,
    },
    "docs/outliers.md": {
        "from sklearn.datasets": odd_rows,
        "known_good = ": novelties,
        "p = watch.p_values": values,
        "careful = ": selected,
        "lowest = ": mended,
        "from skvae.displays": pictures,
        "from sklearn.metrics": labelled,
        "error, n_effective, pareto_k": trusted,
        "from functools": own_detector,
        "class AsPyOD": as_pyod,
        "clf = AsPyOD": labels_of_pyod,
    },
}
