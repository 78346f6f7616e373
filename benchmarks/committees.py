"""Which committee the detector is: ``python -m benchmarks.run committees``; what is run, the choice over tables.

All members are fitted once a table, by the detector itself; a committee is then no more than weights and the order of
a mean, so that many are compared. The choice is judged on tables that it has not seen: a fifth of the tables is left
out, the committee that is best on the others is applied to them, and so for each fifth, five times.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from statistics import mean
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.problems import PROTOCOLS, OutlierSplit
from benchmarks.records import Record, Writer
from skvae import VAEOutlierDetector, VAETransformer
from skvae._members import DETECTOR_WEIGHTS, detector_models
from skvae._model.committee import ORDER, power_mean
from skvae.nn.likelihoods import Gaussian

METHOD = "committees"
MEMBERS = ("coarse", "normal", "exemplars", "exemplars of scores", "density")
NOISES = (0.03, 0.1, 0.3)
FEW_COLUMNS = 8  # of the rule of the number of columns: (.1, .03) up to so many, else .3
ORDERS = (1.0, 2.0, 4.0, 8.0)
WEIGHTS: dict[str, tuple[float, ...]] = {
    "all alike": (1, 1, 1, 1, 1),
    "coarse 2": (2, 1, 1, 1, 1),
    "coarse 2, normal 2": (2, 2, 1, 1, 1),
    "coarse 4, normal 2": (4, 2, 1, 1, 1),
    "coarse 4, normal 2, exemplars 2": (4, 2, 2, 2, 1),
    "exemplars 2": (1, 1, 2, 2, 1),
    "no density": (1, 1, 1, 1, 0),
    "no density, coarse 4, normal 2": (4, 2, 1, 1, 0),
    "no normal": (1, 0, 1, 1, 1),
    "exemplars and density": (0, 0, 1, 1, 1),
    "exemplars": (0, 0, 1, 1, 0),
    "coarse and density": (1, 0, 0, 0, 1),
}
HOMES = ("adbench", "oddbench")
FOLDS, REPEATS = 5, 5


def named(weights: str, order: float) -> str:
    """The name of a committee."""
    return f"{weights}; order {order:g}"


OWN = named(next(name for name, weights in WEIGHTS.items() if tuple(map(float, weights)) == DETECTOR_WEIGHTS), ORDER)


# -- what is run -------------------------------------------------------------------------------------------------------


def jobs(tables: list[str], protocols: list[str], seeds: list[int], writer: Writer) -> Iterator[Record]:
    """What the file lacks."""
    for seed in seeds:
        for protocol in protocols:
            for table in tables:
                blank = {"problem": f"{protocol}: {table}", "method": METHOD, "seed": seed}
                if not writer.has(blank):
                    yield blank


def members(n: int, p: int) -> dict[str, VAETransformer]:
    """The detector's members, and those of exemplars with other noises."""
    found = dict(zip(MEMBERS, detector_models(n, p), strict=True))
    for marginals in ("exemplars", "exemplars of scores"):
        for noise in NOISES:
            other = detector_models(n, p)[MEMBERS.index(marginals)]
            found[f"{marginals}, {noise:g}"] = other.set_params(likelihood=partial(Gaussian, scale=noise))
    return found


def measure(split: OutlierSplit) -> Record:
    """The ranking by each committee; seconds are those of all members, more than the detector fits."""
    novelty = split.protocol == "clean"
    started = time.perf_counter()
    made = members(*split.train.shape)
    detector = VAEOutlierDetector(novelty=novelty, estimator=list(made.values()), random_state=split.seed)
    detector.fit(split.train)
    table, committee = detector._table(split.test), detector._committee
    each = dict(zip(made, committee.surprisals(committee.densities(table)), strict=True))
    cost = committee.costs(table).sum(axis=1)
    scores = {name: surprisal + cost for name, surprisal in of_committees(each, split.train.shape[1]).items()}
    return {
        "n_train": len(split.train),
        "n_features": split.train.shape[1],
        "seconds": time.perf_counter() - started,
        "auroc": {name: float(roc_auc_score(split.is_outlier, own)) for name, own in scores.items()},
        "aucpr": {name: float(average_precision_score(split.is_outlier, own)) for name, own in scores.items()},
    }


def of_committees(each: dict[str, np.ndarray], p: int) -> dict[str, np.ndarray]:
    """The surprisal of rows by each committee, given those by its members."""
    own = np.array([each[name] for name in MEMBERS])
    out = {f"{name} alone": each[name] for name in each}
    out |= {named(name, order): _mean(own, w, order) for name, w in WEIGHTS.items() for order in ORDERS}
    few = p <= FEW_COLUMNS
    for rule, (plain, scores) in {
        **{f"noise {noise:g}": (noise, noise) for noise in NOISES},
        "noise by columns": (0.1, 0.03) if few else (0.3, 0.3),
    }.items():
        names = ["coarse", "normal", f"exemplars, {plain:g}", f"exemplars of scores, {scores:g}", "density"]
        other = np.array([each[name] for name in names])
        out[f"{OWN}; {rule}"] = _mean(other, DETECTOR_WEIGHTS, ORDER)
    return out


def _mean(surprisals: np.ndarray, weights: tuple[float, ...], order: float) -> np.ndarray:
    return power_mean(surprisals, np.array(weights) / sum(weights), order)


# -- the choice --------------------------------------------------------------------------------------------------------


def table_of(found: list[Record], protocol: str, measure: str) -> pd.DataFrame:
    """Mean over seeds, tables x committees."""
    rows: dict[str, list[dict[str, float]]] = {}
    for record in found:
        home, table = record["problem"].split(": ", 1)
        if home == protocol and "error" not in record:
            rows.setdefault(table, []).append(record[measure])
    return pd.DataFrame({table: pd.DataFrame(each).mean() for table, each in rows.items()}).T.sort_index()


def by_home(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the tables of each collection under each protocol, and the mean of these."""
    homes = table.groupby(table.index.str.split("/").str[0]).mean()
    homes.loc["all"] = homes.mean()
    return homes


def both_protocols(found: list[Record], measure: str) -> pd.DataFrame:
    """Tables x committees, each table once for each protocol, under "protocol: collection/table"."""
    each = []
    for protocol in PROTOCOLS:
        table = table_of(found, protocol, measure)
        each.append(table.set_axis([f"{protocol}: {name}" for name in table.index]))
    return pd.concat(each)


class Choice(NamedTuple):
    """What a choice over tables came to."""

    chosen_on: float  # mean of the collections' means of the committee chosen, on the tables that it was chosen on
    left_out: float  # the same on those left out
    values: pd.Series  # of each table, when it was left out
    counts: Counter[str]  # how often each committee was chosen


def chosen(table: pd.DataFrame) -> Choice:
    """Choose among committees on four fifths of the tables (under both protocols) and apply to the fifth."""
    chosen_on, left_out = [], []
    values: dict[str, list[float]] = {name: [] for name in table.index}
    counts: Counter[str] = Counter()
    names = table.index.str.split(": ").str[-1]
    for repeat in range(REPEATS):
        order = np.random.default_rng(repeat).permutation(sorted(set(names)))
        applied = []
        for fold in range(FOLDS):
            is_out = names.isin(order[fold::FOLDS])
            scores = by_home(table[~is_out]).loc["all"]
            best = str(scores.idxmax())
            counts[best] += 1
            chosen_on.append(float(scores[best]))
            applied.append(table.loc[is_out, best])
        own = pd.concat(applied)
        left_out.append(float(by_home(own.to_frame()).loc["all"].iloc[0]))
        for name, value in own.items():
            values[str(name)].append(float(value))
    return Choice(mean(chosen_on), mean(left_out), pd.Series({name: mean(v) for name, v in values.items()}), counts)


def summary(found: list[Record]) -> list[str]:
    """What a choice over tables is worth, in sentences."""
    auroc = both_protocols(found, "auroc")
    if len(auroc) < 4 * FOLDS:
        return [f"{len(auroc) // 2} tables are too few to choose over."]
    on, out, values, counts = chosen(auroc)
    homes, own = by_home(values.to_frame("left out"))["left out"], by_home(auroc)[OWN]
    often = ", ".join(f"{name} ({n})" for name, n in counts.most_common(4))
    return [
        f"AUROC in percent. Chosen over tables: {100 * on:.2f} on the tables that the committee was chosen on, "
        f"{100 * out:.2f} on those left out, a gap of {100 * (on - out):.2f} (means of the means of collections and "
        f"protocols; {FOLDS} folds, {REPEATS} times). Chosen most often: {often}.",
        f"On tables left out: {_listed(homes)}.",
        f"The detector's own ({OWN}) on all: {_listed(own)}.",
    ]


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{name} {100 * value:.2f}" for name, value in values.items() if name != "all")


def rows_of(found: list[Record]) -> tuple[list[str], list[list[str]]]:
    """A row per committee: AUROC and average precision in percent by protocol and collection; best first."""
    auroc, aucpr = (by_home(both_protocols(found, measure)) for measure in ("auroc", "aucpr"))
    homes = [home for home in auroc.index if home != "all"]
    rows = []
    for name in auroc.loc["all"].sort_values(ascending=False).index:
        cells = [f"{100 * table.loc[home, name]:.1f}" for table in (auroc, aucpr) for home in homes]
        rows.append([f"**{name}**" if name == OWN else str(name), *cells])
    return ["committee", *(f"{what}, {home}" for what in ("AUROC", "AUCPR") for home in homes)], rows
