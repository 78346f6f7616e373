"""Draw the pictures of the user guide and of docs/outliers.md: ``python docs/make_images.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
mpl.use("Agg")

from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

from skvae import VAEOutlierDetector, VAETransformer
from skvae.displays import ExplanationDisplay, OutlierScoreDisplay

IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
    modes().savefig(IMAGES / "modes.png", dpi=110, bbox_inches="tight")
    outliers()


def modes() -> Figure:
    """Rows of two columns, and rows drawn from models of one code with one and with several modes per cell."""
    rng = np.random.default_rng(0)
    hour, jam = rng.uniform(0.0, 24.0, 4000), rng.random(4000) < 0.4
    free, slow = 90.0 + 2.0 * rng.normal(size=4000), 50.0 - 20.0 * np.sin(2.0 * np.pi * hour / 24.0)
    speeds = np.column_stack([hour, np.where(jam, slow + 4.0 * rng.normal(size=4000), free)])
    panels = {"real rows": speeds[3000:]}
    for name in ("student_t", "student_t_mixture"):
        road = VAETransformer(n_components=1, likelihood=name, max_iter=60, random_state=0).fit(speeds[:3000])
        panels[f'drawn, "{name}"'] = road.sample(1000, random_state=0)
    figure = Figure(figsize=(10.0, 3.0), layout="constrained")
    for axes, (title, rows) in zip(
        figure.subplots(1, len(panels), sharex=True, sharey=True), panels.items(), strict=True
    ):
        axes.scatter(*rows.T, s=4, linewidths=0)
        axes.set(title=title, xlabel="hour")
    figure.axes[0].set_ylabel("speed")
    return figure


def outliers() -> None:
    data = load_breast_cancer(as_frame=True)
    X, malignant = data.data, data.target == 0
    known_good = X[~malignant]
    watch = VAEOutlierDetector(novelty=True, random_state=0).fit(known_good[:250])
    new_rows = X.drop(known_good.index[:250])
    hundredth = np.argsort(watch.score_samples(new_rows))[100]
    displays = {
        "outlier_scores": OutlierScoreDisplay.from_estimator(watch, new_rows, malignant[new_rows.index].to_numpy()),
        "explanation": ExplanationDisplay.from_estimator(watch, new_rows, row=hundredth),
    }
    for name, display in displays.items():
        display.figure_.savefig(IMAGES / f"{name}.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
