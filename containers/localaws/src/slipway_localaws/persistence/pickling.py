"""Pickles of moto's backends, locks and back-references included."""

from __future__ import annotations

import io
import pickle
import threading
from collections import defaultdict
from functools import partial
from typing import Any

from moto.backends import get_backend
from moto.core.base_backend import BackendDict, BaseBackend
from moto.s3.utils import _VersionedKeyStore
from moto.ssm.models import ParameterDict

_LOCK_TYPE = type(threading.Lock())
_RLOCK_TYPE = type(threading.RLock())


class UnpicklableError(TypeError):
    """A backend holds something that cannot be kept."""


class _Pickler(pickle.Pickler):
    """Knows how to write what the standard pickler refuses."""

    def persistent_id(self, obj: Any) -> tuple[str, ...] | None:
        """Backends are referred to by name, so that what points back at its backend finds the live one."""
        if isinstance(obj, BaseBackend):
            return ("backend", _service_of(obj), obj.account_id, obj.region_name)
        if isinstance(obj, BackendDict):
            return ("backends", obj.service_name)
        return None

    def reducer_override(self, obj: Any) -> Any:
        """Locks come back unlocked, private keys from their own serialised form, S3 keys with all their versions."""
        if isinstance(obj, _LOCK_TYPE):
            return threading.Lock, ()
        if isinstance(obj, _RLOCK_TYPE):
            return threading.RLock, ()
        if hasattr(obj, "private_bytes") and hasattr(obj, "private_numbers"):
            return _load_private_key, (_dump_private_key(obj),)
        if isinstance(obj, _VersionedKeyStore):  # its items() shows the latest versions only
            return _load_versions, ({key: obj.getlist(key) for key in obj},)
        if isinstance(obj, ParameterDict):  # its constructor takes other arguments than a defaultdict's
            return _load_parameters, (obj.account_id, obj.region_name, dict(obj))
        if type(obj) is defaultdict and getattr(obj.default_factory, "__name__", "") == "<lambda>":
            return _load_nested, (dict(obj),)  # SSM's only: a defaultdict of defaultdicts of dicts
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        kind, service, *place = pid
        backends = get_backend(service)
        if kind == "backends":
            return backends
        account, region = place
        return backends[account][region]


def dump(content: Any) -> bytes:
    """Pickle a backend's content.

    Raises:
        UnpicklableError: it holds something that cannot be kept.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(content)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UnpicklableError(str(error)) from error
    return buffer.getvalue()


def load(data: bytes) -> Any:
    """Undo ``dump``. Only for files that this program wrote: pickles can run code."""
    return _Unpickler(io.BytesIO(data)).load()


def _load_versions(versions: dict[str, list[Any]]) -> _VersionedKeyStore:
    store = _VersionedKeyStore()
    dict.update(store, versions)
    return store


def _load_parameters(account: str, region: str, parameters: dict[str, Any]) -> ParameterDict:
    restored = ParameterDict(account, region)
    restored.update(parameters)
    return restored


def _load_nested(content: dict[str, Any]) -> defaultdict[str, Any]:
    return defaultdict(partial(defaultdict, dict), content)


_service_names: dict[type, str] = {}


def _service_of(backend: BaseBackend) -> str:
    """The name under which moto finds the backends of this class."""
    kind = type(backend)
    if kind not in _service_names:
        for candidates in BackendDict._instances:
            _service_names.setdefault(candidates.backend, candidates.service_name)
    return _service_names[kind]


def _dump_private_key(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    dumped: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return dumped


def _load_private_key(data: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    return load_der_private_key(data, password=None)
