"""Where explanations that earlier versions pickled look for their class."""

from skvae._model.explaining import Explanation

__all__ = ["Explanation"]
