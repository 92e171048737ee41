"""Exceptions: one class for each code of libundine."""

from __future__ import annotations

from typing import Dict, Type


class UndineError(Exception):
    """A call of libundine failed.

    ``code`` is that of ``enum undine_code`` in undine.h, ``errno`` that of the system call that failed, or 0.
    """

    def __init__(self, message: str, code: int = 0, errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.errno = errno


class LibraryNotFound(UndineError, ImportError):
    """libundine is not installed, or not where it was looked for."""


class InputOutputError(UndineError):
    """A file of a version cannot be read; worth another try."""


class OutOfMemory(UndineError, MemoryError):
    """Memory is out; worth another try."""


class CorruptVersion(UndineError):
    """A version is not what it says it is.  The one in use stays in use."""


class NewerFormat(UndineError):
    """A version was written by a newer undine than this library."""


class BadRequest(UndineError, ValueError):
    """A field or sequence that the model does not have, a value that is no id, or a path that is too long."""


class NotPublished(UndineError, LookupError):
    """Nothing is published in that directory, or the version is gone."""


class UnknownModel(UndineError):
    """The version's model is none that this library can compute."""


_CLASSES: Dict[int, Type[UndineError]] = {
    -1: InputOutputError,
    -2: OutOfMemory,
    -3: CorruptVersion,
    -4: NewerFormat,
    -5: BadRequest,
    -6: NotPublished,
    -9: UnknownModel,
}


def error_of(code: int, errno: int, message: str) -> UndineError:
    return _CLASSES.get(code, UndineError)(message, code, errno)
