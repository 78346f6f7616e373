"""Pictures of fitted models, after scikit-learn's Display convention.

``XxxDisplay.from_estimator(estimator, X)`` computes the numbers, the display stores them, and its ``plot`` draws them
and keeps the artists. Matplotlib is imported only there.
"""

from skvae.displays._explanation import ExplanationDisplay
from skvae.displays._image_grid import ImageGridDisplay
from skvae.displays._latent_space import LatentSpaceDisplay
from skvae.displays._loss_curve import LossCurveDisplay
from skvae.displays._outlier_scores import OutlierScoreDisplay
from skvae.displays._reconstruction import ReconstructionDisplay
from skvae.displays._synthetic_report import SyntheticReportDisplay

__all__ = [
    "ExplanationDisplay",
    "ImageGridDisplay",
    "LatentSpaceDisplay",
    "LossCurveDisplay",
    "OutlierScoreDisplay",
    "ReconstructionDisplay",
    "SyntheticReportDisplay",
]
