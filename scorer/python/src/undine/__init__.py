"""Score candidates with the newest published version of an undine model.

>>> import undine
>>> with undine.Scorer("state/versions", follow=1.0) as scorer:                          # doctest: +SKIP
...     scorer.score(user="u1", sequences={"clicks": ["i7", "i9"]}, candidates=["i1", "i2"])
[0.0712, 0.0349]

Scorer.score says what may stand for users, sequences and candidates; the errors are subclasses of UndineError.
"""

from ._library import library_version
from ._scorer import Field, Scorer, Scores, SequenceInfo, VersionInfo
from .errors import (
    BadRequest,
    CorruptVersion,
    InputOutputError,
    LibraryNotFound,
    NewerFormat,
    NotPublished,
    OutOfMemory,
    UndineError,
    UnknownModel,
)

__version__ = "0.1.0"
__all__ = [
    "BadRequest",
    "CorruptVersion",
    "Field",
    "InputOutputError",
    "LibraryNotFound",
    "NewerFormat",
    "NotPublished",
    "OutOfMemory",
    "Scorer",
    "Scores",
    "SequenceInfo",
    "UndineError",
    "UnknownModel",
    "VersionInfo",
    "library_version",
]
