"""A request in Python's words becomes struct undine_request.

All structs of undine.h are rows of machine words, so a request is a few arrays of integers: no object is made for a
value, a feature or a candidate.  What may stand for what is in the documentation of Scorer.score.
"""

from __future__ import annotations

import ctypes
from array import array
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ._library import Request
from .errors import BadRequest

_WORD = next(c for c in "ILQ" if array(c).itemsize == ctypes.sizeof(ctypes.c_size_t))
_WORD_BYTES = ctypes.sizeof(ctypes.c_size_t)
_EXACT = 2**53  # every integer up to it is a float of its own


def encode_value(value: Any) -> Optional[bytes]:
    """The bytes of an id, or None where there is none."""
    kind = type(value)
    if kind is str:
        try:
            encoded: bytes = value.encode()
        except UnicodeEncodeError as e:
            raise BadRequest(f"{value!r} is no text that has a UTF-8 form: {e.reason}", -5) from None
        return encoded
    if kind is int:
        return b"%d" % value
    if value is None or kind.__name__ in ("NAType", "NaTType"):  # pandas
        return None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if kind is float:
        if value != value:
            return None
        if value.is_integer() and abs(value) <= _EXACT:  # a column of integers with gaps, to pandas
            return b"%d" % int(value)
    elif kind is not bool:
        if isinstance(value, str):
            return encode_value(str(value))
        if isinstance(value, int):
            return encode_value(int(value))
        plain = getattr(value, "item", None)  # numpy's scalars
        if plain is not None:
            return encode_value(plain())
    raise BadRequest(f"{value!r} is no id: a string, bytes or an integer is", -5)


def _is_row(value: Any) -> bool:
    return hasattr(value, "keys")


def is_columns(table: Any) -> bool:
    """A mapping or a data frame; a series, which has keys too, is a list."""
    return hasattr(table, "keys") and not hasattr(table, "tolist")


def _plain(values: Any) -> Any:
    """Arrays of numpy and series of pandas as lists of Python's own values."""
    tolist = getattr(values, "tolist", None)
    return tolist() if tolist is not None else values


def _values(value: Any) -> Iterable[Any]:
    value = _plain(value)
    return value if isinstance(value, (list, tuple)) else (value,)


def _column(table: Any, name: Any) -> List[Any]:
    column = _plain(table[name])
    if not isinstance(column, (list, tuple)):
        raise BadRequest(f"column {name!r} is {column!r}, expected a list with a value or values for each row", -5)
    return list(column)


def _rows_of_columns(table: Any) -> Sequence[Mapping[str, Any]]:
    names = list(table.keys())
    if len(set(names)) != len(names):
        raise BadRequest(f"a column is there twice: {names}", -5)
    columns = {str(name): _column(table, name) for name in names}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise BadRequest(f"the columns are of unequal lengths: {lengths}", -5)
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def listed(table: Any) -> Any:
    """What can be gone through only once as a list, all else as it is."""
    return list(table) if hasattr(table, "__next__") else table


def rows_of(table: Any, only_field: str) -> Sequence[Mapping[str, Any]]:
    """Candidates or steps as a sequence of {field: value or values}; a row that is no mapping is of only_field."""
    names = getattr(getattr(table, "dtype", None), "names", None)  # numpy's structured arrays
    if names is not None:
        table = {name: table[name] for name in names}
    if is_columns(table):
        return _rows_of_columns(table)
    if isinstance(table, (str, bytes)):
        raise BadRequest(f"{table!r} is neither a list of candidates or steps nor columns of them", -5)
    try:
        return [row if _is_row(row) else {only_field: row} for row in _plain(table)]
    except TypeError:
        raise BadRequest(f"{table!r} is neither a list of candidates or steps nor columns of them", -5) from None


class Encoder:
    """One request.  Everything that the request points to lives as long as this object."""

    def __init__(self) -> None:
        self._ids: List[bytes] = []
        self._names: Dict[str, Tuple[bytes, int]] = {}
        self._features: List[int] = []  # name's address, first value, number of values; three a feature
        self._lists: List[int] = []  # first feature, number of features; two a list
        self._sequences: List[int] = []  # name's address, first list, number of lists; three a sequence
        self._keep: List[Any] = []
        self.request = Request()

    def _name(self, name: str) -> int:
        known = self._names.get(name)
        if known is None:
            text = str(name).encode()
            if b"\0" in text:
                raise BadRequest(f"{name!r} is no name of a field or sequence", -5)
            known = self._names[name] = (text, ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0)
        return known[1]

    def _add_list(self, features: Mapping[str, Any]) -> None:
        first = len(self._features) // 3
        for name in features.keys():
            begin = len(self._ids)
            for value in _values(features[name]):
                encoded = encode_value(value)
                if encoded:
                    self._ids.append(encoded)
            self._features += (self._name(name), begin, len(self._ids) - begin)
        self._lists += (first, len(self._features) // 3 - first)

    def encode(
        self,
        user: Any,
        profile: Mapping[str, Any],
        context: Mapping[str, Any],
        sequences: Mapping[str, Sequence[Mapping[str, Any]]],
        candidates: Sequence[Mapping[str, Any]],
    ) -> "Encoder":
        self._add_list(profile)
        self._add_list(context)
        for row in candidates:
            self._add_list(row)
        for name, steps in sequences.items():
            self._sequences += (self._name(name), len(self._lists) // 2, len(steps))
            for row in steps:
                self._add_list(row)
        self._finish(encode_value(user) or b"", len(candidates))
        return self

    def _words(self, words: Iterable[int]) -> int:
        """Address of an array of these words."""
        kept = array(_WORD, words)
        self._keep.append(kept)
        return kept.buffer_info()[0]

    def _bytes(self, data: bytes) -> int:
        kept = ctypes.create_string_buffer(data, len(data) + 1)
        self._keep.append(kept)
        return ctypes.addressof(kept)

    def _finish(self, user: bytes, n_candidates: int) -> None:
        at = self._bytes(b"".join(self._ids))
        words: List[int] = []
        for encoded in self._ids:
            words += (at, len(encoded))
            at += len(encoded)
        values = self._words(words)
        f, lists, q = self._features, self._lists, self._sequences
        f[1::3] = [values + first * 2 * _WORD_BYTES for first in f[1::3]]
        features = self._words(f)
        lists[0::2] = [features + first * 3 * _WORD_BYTES for first in lists[0::2]]
        lists_at = self._words(lists)
        q[1::3] = [lists_at + first * 2 * _WORD_BYTES for first in q[1::3]]
        r = self.request
        r.user_id, r.user_id_len = self._bytes(user), len(user)
        r.user, r.n_user, r.context, r.n_context = lists[:4]
        r.sequences, r.n_sequences = self._words(q), len(q) // 3
        r.candidates, r.n_candidates = lists_at + 4 * _WORD_BYTES, n_candidates
