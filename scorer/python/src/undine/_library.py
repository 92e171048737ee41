"""Find libundine and declare its functions (undine.h)."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
from typing import Iterator, Optional, Tuple

from .errors import LibraryNotFound, UndineError, error_of

SONAME = "libundine.so.0"


class Error(ctypes.Structure):
    """struct undine_error"""

    _fields_ = [("code", ctypes.c_int), ("sys_errno", ctypes.c_int), ("message", ctypes.c_char * 512)]

    def exception(self) -> UndineError:
        return error_of(self.code, self.sys_errno, self.message.decode("utf-8", "replace"))


class Request(ctypes.Structure):
    """struct undine_request, pointers as addresses"""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("user_id", "user_id_len", "user", "n_user", "context", "n_context"),
            *("sequences", "n_sequences", "candidates", "n_candidates"),
        )
    ]


def _places() -> Iterator[Tuple[str, str]]:
    """Where the library may be, and a word for it."""
    path = os.environ.get("UNDINE_LIBRARY")
    if path:
        yield path, "UNDINE_LIBRARY"
        return
    yield SONAME, "the system's loader"
    tool = shutil.which("pkg-config")
    if tool:
        found = subprocess.run([tool, "--variable=libdir", "undine"], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.strip():
            yield os.path.join(found.stdout.strip(), SONAME), "pkg-config"


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    pointer, error = ctypes.c_void_p, ctypes.POINTER(Error)
    handle = ctypes.POINTER(ctypes.c_void_p)
    lib.undine_scorer_open_with.argtypes = [handle, ctypes.c_char_p, ctypes.c_int, error]
    lib.undine_scorer_refresh.argtypes = [pointer, error]
    lib.undine_scorer_version.argtypes = [pointer]
    lib.undine_scorer_version.restype = ctypes.c_uint64
    lib.undine_scorer_close.argtypes = [pointer]
    lib.undine_scorer_close.restype = None
    lib.undine_session_open.argtypes = [handle, pointer, error]
    lib.undine_session_close.argtypes = [pointer]
    lib.undine_session_close.restype = None
    lib.undine_session_version.argtypes = [pointer]
    lib.undine_session_version.restype = ctypes.c_uint64
    lib.undine_session_describe.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t, error]
    lib.undine_score.argtypes = [pointer, ctypes.POINTER(Request), pointer, error]
    lib.undine_version_string.argtypes = []
    lib.undine_version_string.restype = ctypes.c_char_p
    return lib


_lock = threading.Lock()
_loaded: Optional[ctypes.CDLL] = None


def library() -> ctypes.CDLL:
    """The library, loaded once."""
    global _loaded
    with _lock:
        if _loaded is None:
            tried = []
            for path, word in _places():
                try:
                    _loaded = _declare(ctypes.CDLL(path))
                    break
                except (OSError, AttributeError) as e:
                    tried.append(f"{word}: {e}")
            else:
                raise LibraryNotFound(
                    f"{SONAME} is not found ({'; '.join(tried)}): install libundine, or name it in UNDINE_LIBRARY"
                )
        return _loaded


def library_version() -> str:
    """Version of the libundine that is used, "0.1.0"."""
    text: bytes = library().undine_version_string()
    return text.decode()
