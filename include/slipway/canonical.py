"""One spelling for equal content, so that names can be derived from content.

Equal values give equal bytes whatever the order of their keys; a value that JSON cannot carry exactly (NaN,
infinity, a key that is no string, a set) is refused instead of being spelt in some way of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Spell a JSON value in the one way that its digest is taken from.

    Args:
        value: dicts with string keys, lists, tuples, strings, finite numbers, booleans and None.

    Returns:
        UTF-8 bytes: keys sorted, no blanks, no escapes beyond those that JSON needs.

    Raises:
        TypeError: a type or a key that JSON does not have.
        ValueError: NaN or infinity.
    """
    _refuse_other_keys(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def content_digest(value: Any) -> str:
    """Return the SHA-256 of the canonical spelling, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _refuse_other_keys(value: Any) -> None:
    """``json.dumps`` turns the keys 1, None and True into strings silently; two different values must not meet so."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys of canonical JSON are strings, found {key!r} ({type(key).__name__})")
            _refuse_other_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_other_keys(inner)
