"""How like real rows drawn ones are: columns and pairs beside their noise floors, what models learn, and copies.

All functions take what the estimators take, as real rows first and drawn rows after them; the dtypes of the real rows
say what a column is. The two may have any numbers of rows.
"""

from skvae.metrics._errors import column_errors, noise_floor, pair_errors
from skvae.metrics._learning import Utility, detection_auc, utility_scores
from skvae.metrics._nearness import nearness_to_training, share_of_copies
from skvae.metrics._report import SyntheticReport, synthetic_report

__all__ = [
    "SyntheticReport",
    "Utility",
    "column_errors",
    "detection_auc",
    "nearness_to_training",
    "noise_floor",
    "pair_errors",
    "share_of_copies",
    "synthetic_report",
    "utility_scores",
]
