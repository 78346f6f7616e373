"""What the classes of _sklearn_bases inherit from: nothing to mypy, to other checkers scikit-learn's own.

scikit-learn is shipped without types. Others read its source; to mypy its classes are of unknown type, and a class with
such a base may have any attribute, so that a misspelt one passes.
"""

MYPY = False  # True to mypy, which knows the name
if MYPY:
    BaseEstimator = object
    ClassNamePrefixFeaturesOutMixin = object
    OutlierMixin = object
    TransformerMixin = object
else:
    from sklearn.base import BaseEstimator as BaseEstimator
    from sklearn.base import ClassNamePrefixFeaturesOutMixin as ClassNamePrefixFeaturesOutMixin
    from sklearn.base import OutlierMixin as OutlierMixin
    from sklearn.base import TransformerMixin as TransformerMixin
