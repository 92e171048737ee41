"""Scorer: the model in use, a session for each thread, and a thread that follows new versions."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import weakref
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from ._library import Error, library
from ._request import Encoder, is_columns, listed, rows_of
from .errors import BadRequest, UndineError


@dataclass(frozen=True)
class Field:
    """A field of the model: ``group`` is "user" (the profile), "candidate" or "context"."""

    name: str
    group: str
    values_max: int
    user_id: bool


@dataclass(frozen=True)
class SequenceInfo:
    """A behaviour sequence: its newest ``length`` steps count, by these candidate fields."""

    name: str
    length: int
    fields: Tuple[str, ...]


@dataclass(frozen=True)
class VersionInfo:
    """What a version is and expects."""

    version: int
    digest: str
    trained_seq: int
    examples: int
    event_time: datetime
    created: datetime
    rows: Dict[str, int]
    fields: Tuple[Field, ...]
    sequences: Tuple[SequenceInfo, ...]


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, timezone.utc)


def _info(text: bytes) -> VersionInfo:
    o = json.loads(text)
    return VersionInfo(
        version=o["version"],
        digest=o["digest"],
        trained_seq=o["trained_seq"],
        examples=o["examples"],
        event_time=_time(o["event_time_ms"]),
        created=_time(o["created_ms"]),
        rows=o["rows"],
        fields=tuple(Field(f["name"], f["group"], f["values_max"], f["user_id"]) for f in o["fields"]),
        sequences=tuple(SequenceInfo(q["name"], q["length"], tuple(q["fields"])) for q in o["sequences"]),
    )


class Scores(List[float]):
    """A probability for each candidate, in their order, and the number of the ``version`` that gave them."""

    def __init__(self, scores: List[float], version: int) -> None:
        super().__init__(scores)
        self.version = version


class _Session:
    """A session of libundine.  The lock is never waited for but by a Scorer that closes."""

    def __init__(self, scorer: ctypes.c_void_p) -> None:
        self.lock = threading.Lock()
        self.error = Error()
        self.handle = ctypes.c_void_p()
        if library().undine_session_open(ctypes.byref(self.handle), scorer, ctypes.byref(self.error)) < 0:
            raise self.error.exception()

    def close(self) -> None:
        with self.lock:
            library().undine_session_close(self.handle)
            self.handle = ctypes.c_void_p()

    def check(self, result: int) -> int:
        if result < 0:
            raise self.error.exception()
        return result

    def open_handle(self) -> ctypes.c_void_p:
        if not self.handle:
            raise ValueError("the scorer is closed")
        return self.handle

    def score(self, encoder: Encoder) -> Scores:
        n = encoder.request.n_candidates
        out = (ctypes.c_float * n)()
        with self.lock:
            handle = self.open_handle()
            self.check(library().undine_score(handle, ctypes.byref(encoder.request), out, ctypes.byref(self.error)))
            return Scores(list(out), library().undine_session_version(handle))

    def describe(self) -> VersionInfo:
        size = 4096
        with self.lock:
            while True:
                text = ctypes.create_string_buffer(size)
                length = self.check(
                    library().undine_session_describe(self.open_handle(), text, size, ctypes.byref(self.error))
                )
                if length < size:
                    return _info(text.value)
                size = length + 1


PRECISIONS = ("f32", "int16")  # in the order of enum undine_precision


class _Sessions(threading.local):
    mine: Optional["_Mine"] = None


class _Mine:
    """Of one thread: its session goes when the thread does."""

    def __init__(self, session: _Session, gone: Callable[[_Session], None]) -> None:
        self.session = session
        self._gone = gone

    def __del__(self) -> None:
        self._gone(self.session)


class Scorer:
    """Scores with the version that ``versions_dir`` publishes.

    May be shared by all threads; each gets a session of its own, inside.  With ``follow`` a thread looks for a newly
    published version every so many seconds; without, call :meth:`refresh`.  A version that cannot be used is refused
    as a whole and the one in use stays in use; ``follow_error`` then holds the reason until a look goes well, and
    ``on_error``, if given, is called with it in the following thread.

    ``precision`` is what it computes in: ``"f32"``, or ``"int16"``, which takes about half the time and a processor
    with AVX-512 VNNI; without one, opening raises :class:`UnknownModel`.

    Use it as a context manager, or call :meth:`close`.  Open it in the process that scores: neither the following
    thread nor locks survive a fork.
    """

    def __init__(
        self,
        versions_dir: Union[str, "os.PathLike[str]"],
        *,
        follow: Optional[float] = None,
        precision: str = "f32",
        on_error: Optional[Callable[[UndineError], None]] = None,
    ) -> None:
        if follow is not None and follow <= 0:
            raise ValueError(f"follow is {follow}, expected seconds above 0, or None")
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
        self._handle = ctypes.c_void_p()
        # Of the sessions, and of closing.  A collection of garbage may end another thread's session inside.
        self._lock = threading.RLock()
        self._refreshing = threading.Lock()
        self._sessions: List[_Session] = []
        self._local = _Sessions()
        self._stop = threading.Event()
        self._info: Optional[VersionInfo] = None
        self.follow_error: Optional[UndineError] = None
        error = Error()
        path = os.fsencode(versions_dir)
        if b"\0" in path:
            raise ValueError("the path of the versions has a NUL in it")
        if library().undine_scorer_open_with(
            ctypes.byref(self._handle), path, PRECISIONS.index(precision), ctypes.byref(error)
        ) < 0:
            raise error.exception()
        self._follower: Optional[threading.Thread] = None
        if follow is not None:
            arguments = (weakref.ref(self), self._stop, follow, on_error)
            self._follower = threading.Thread(target=_follow, args=arguments, name="undine-follow", daemon=True)
            self._follower.start()

    # ---- life ----

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_stop", None) is not None:
            self.close()

    def close(self) -> None:
        """Give everything back.  Waits for calls that run in other threads; later ones raise ValueError."""
        self._stop.set()
        follower = getattr(self, "_follower", None)
        if follower is not None and follower is not threading.current_thread():
            follower.join()
        with self._refreshing, self._lock:
            handle, self._handle = self._handle, ctypes.c_void_p()
            sessions, self._sessions = self._sessions, []
            for session in sessions:
                session.close()
            if handle:
                library().undine_scorer_close(handle)

    @property
    def closed(self) -> bool:
        return not self._handle

    def _gone(self, session: _Session) -> None:
        with self._lock:
            if session in self._sessions:
                self._sessions.remove(session)
                session.close()

    def _session(self) -> _Session:
        mine = self._local.mine
        if mine is None:
            with self._lock:
                if not self._handle:
                    raise ValueError("the scorer is closed")
                session = _Session(self._handle)
                self._sessions.append(session)
            owner = weakref.ref(self)

            def gone(session: _Session) -> None:
                scorer = owner()
                if scorer is not None:
                    scorer._gone(session)

            mine = self._local.mine = _Mine(session, gone)
        return mine.session

    # ---- versions ----

    def refresh(self) -> bool:
        """Look whether another version is published and use it if it is good: True = it is in use now.

        Never blocks a call of :meth:`score`.  Raises an UndineError where the version cannot be used; the one in
        use stays in use.
        """
        error = Error()
        with self._refreshing:
            if not self._handle:
                raise ValueError("the scorer is closed")
            rc: int = library().undine_scorer_refresh(self._handle, ctypes.byref(error))
        if rc < 0:
            raise error.exception()
        return rc == 1

    @property
    def version(self) -> int:
        """Number of the version in use."""
        return self.info.version

    @property
    def info(self) -> VersionInfo:
        """What the version in use is and expects."""
        session = self._session()
        info = self._info
        with self._lock:
            if not self._handle:
                raise ValueError("the scorer is closed")
            number = library().undine_scorer_version(self._handle)
        if info is None or info.version != number:
            info = self._info = session.describe()
        return info

    # ---- scores ----

    def score(
        self,
        user: Any = None,
        sequences: Any = None,
        candidates: Any = (),
        *,
        profile: Optional[Mapping[str, Any]] = None,
        context: Optional[Mapping[str, Any]] = None,
    ) -> Scores:
        """A probability of a click for each candidate, for one user in one context.

        ``user``
            the user's id, or None.
        ``sequences``
            ``{name: steps}``, oldest step first; or, of a model with one sequence, its steps alone.
        ``candidates``, and the steps of a sequence
            a list of ``{field: value or values}``; or columns, ``{field: [value or values, ...]}``; or a pandas
            DataFrame; or a structured numpy array; or a list or numpy array of ids, which are those of the model's
            first candidate field (of the sequence's first field).
        ``profile``, ``context``
            ``{field: value or values}``.

        A value is an id: a string, bytes or an integer, numpy's too.  None, NaN and pandas' NA are no value.

        The result is a list of floats with the number of the version that gave them.  Raises
        :class:`undine.BadRequest` with the name of a field or sequence that the model does not have, or of a value
        that is no id.
        """
        session = self._session()
        named = {name: listed(steps) for name, steps in self._named(sequences).items()}
        candidates = listed(candidates)
        encoder = Encoder().encode(
            user,
            _features(profile, "profile"),
            _features(context, "context"),
            {str(name): rows_of(steps, self._step_field(name, steps)) for name, steps in named.items()},
            rows_of(candidates, self._item_field(candidates)),
        )
        return session.score(encoder)

    def _named(self, sequences: Any) -> Mapping[str, Any]:
        if sequences is None:
            return {}
        if isinstance(sequences, Mapping):
            return sequences
        names = [q.name for q in self.info.sequences]
        if len(names) != 1:
            raise BadRequest(f"the model has the sequences {names}: say which, as {{name: steps}}", -5)
        return {names[0]: sequences}

    def _item_field(self, candidates: Any) -> str:
        if not _has_plain_ids(candidates):
            return ""
        for field in self.info.fields:
            if field.group == "candidate":
                return field.name
        raise BadRequest("the model has no candidate field that an id could be of", -5)

    def _step_field(self, sequence: str, steps: Any) -> str:
        if not _has_plain_ids(steps):
            return ""
        for q in self.info.sequences:
            if q.name == sequence:
                return q.fields[0]
        raise BadRequest(f"the model has no sequence `{sequence}`", -5)


def _features(features: Optional[Mapping[str, Any]], what: str) -> Mapping[str, Any]:
    if features is None:
        return {}
    if not hasattr(features, "keys"):
        raise BadRequest(f"{what} is {features!r}, expected {{field: value or values}}", -5)
    return features


def _has_plain_ids(table: Any) -> bool:
    if is_columns(table) or getattr(getattr(table, "dtype", None), "names", None) is not None:
        return False
    return hasattr(table, "__iter__") and any(not hasattr(row, "keys") for row in table)


def _follow(
    owner: "weakref.ref[Scorer]",
    stop: threading.Event,
    seconds: float,
    on_error: Optional[Callable[[UndineError], None]],
) -> None:
    while not stop.wait(seconds):
        scorer = owner()
        if scorer is None:
            return
        try:
            scorer.refresh()
            scorer.follow_error = None
        except UndineError as e:
            scorer.follow_error = e
            if on_error is not None:
                on_error(e)
        except ValueError:
            return  # closed meanwhile
        del scorer
