"""Draw the pictures of docs/outliers.md: ``python docs/make_images.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
mpl.use("Agg")

from sklearn.datasets import load_breast_cancer

from skvae import VAEOutlierDetector
from skvae.displays import ExplanationDisplay, OutlierScoreDisplay

IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
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
