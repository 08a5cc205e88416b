"""Pickles of a whole torch module, read without running anything that is in them.

`torch.save(model)` writes an archive: `data.pkl`, and the numbers of each tensor in an entry of
their own. The pickle names the module's class, the classes of its parts, and a few functions that
put tensors together; to load it as torch does is to run whatever it names. Here it is read in four
steps, each of which refuses what it does not know:

1. the archive: a small file whose entries are stored as they are and have the names torch gives;
2. the opcodes of the pickle, one by one, without running any: only those that torch writes for a
   module, and only names that are admitted. What else it names is said in the error;
3. the pickle: every admitted name stands for something inert of this file, so that what comes out
   is a tree of `Part`s with `Numbers`, and no torch class is ever made or called;
4. the numbers: plain bytes, whose count must be that of the shape.

Errors never show an object of the pickle: a few bytes can make one whose text has no end.
"""

import io
import math
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.folders import require_file
from virnucpro_assets.models.formats.tensor_files import refuse_compressed

LARGEST_FILE = 1 << 28
LARGEST_PICKLE = 1 << 20
MOST_DIMENSIONS = 4

_ENTRY = re.compile(
    r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
_OPCODES = frozenset(
    [
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "SETITEM", "SETITEMS", "APPEND", "APPENDS"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
        *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    ]
)
_PARTS = {
    "torch.nn.modules.linear Linear": "Linear",
    "torch.nn.modules.batchnorm BatchNorm1d": "BatchNorm1d",
    "torch.nn.modules.dropout Dropout": "Dropout",
}
_NUMBER_KINDS = {"torch FloatStorage": torch.float32, "torch LongStorage": torch.int64}


class _Finished:
    """What a pickle may hold and hand on, but not change."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("attributes for what has none")


class Part:
    """A module as the pickle describes it: the name of its class, and its attributes."""

    kind = ""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __new__(cls) -> "Part":
        part = super().__new__(cls)
        part.attributes = {}
        return part

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise pickle.UnpicklingError("attributes that are no dict of names")
        self.attributes = state


@dataclass(frozen=True)
class Numbers(_Finished):
    """A tensor as the pickle describes it: an entry of the archive, its kind of numbers, and its shape."""

    entry: str
    dtype: torch.dtype
    count: int
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class PickledModule:
    """A module's description, and the bytes of its tensors by the name of their entry."""

    path: Path
    root: Part
    entries: dict[str, bytes]

    def tensor(self, numbers: Numbers) -> torch.Tensor:
        """A tensor of its own; IntegrityError if the archive holds another count of numbers."""
        content = self.entries.get(numbers.entry, b"")
        if (
            len(content) != numbers.count * numbers.dtype.itemsize
            or numbers.offset + math.prod(numbers.shape) > numbers.count
        ):
            raise _refused(self.path, f"{len(content)} bytes for {numbers.count} numbers of {numbers.dtype}")
        flat = torch.frombuffer(bytearray(content), dtype=numbers.dtype)
        return flat[numbers.offset : numbers.offset + math.prod(numbers.shape)].view(numbers.shape).clone()


def read_pickled_module(path: Path, module: str) -> PickledModule:
    """Read the module of class `module`, as `__main__ MLPClassifier`, that `torch.save` wrote to `path`.

    Raises IntegrityError if the file is missing, damaged, or holds anything beside such a module,
    naming what it held; nothing of it has run then.
    """
    require_file(path)
    program, entries = _read_archive(path)
    admitted = _admitted(module)
    _check_opcodes(path, program, frozenset(admitted))
    try:
        root = _Unpickler(program, admitted).load()
    # What a broken sequence of admitted opcodes comes to.
    except (
        pickle.UnpicklingError,
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        EOFError,
        AttributeError,
    ) as error:
        raise _refused(path, f"a pickle that is no module ({error})") from error
    if not isinstance(root, Part) or root.kind != module:
        raise _refused(path, f"a pickle of {getattr(root, 'kind', type(root).__name__)}, not of {module}")
    return PickledModule(path, root, entries)


class _Unpickler(pickle.Unpickler):
    def __init__(self, program: bytes, admitted: dict[str, Any]) -> None:
        super().__init__(io.BytesIO(program))
        self._admitted = admitted

    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in self._admitted:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self._admitted[f"{module} {name}"]

    def persistent_load(self, pid: Any) -> "_Storage":
        word, dtype, entry, _device, count = pid
        if word != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a reference that is no tensor's storage")
        if not isinstance(entry, str) or not entry.isdecimal() or not _is_size(count):
            raise pickle.UnpicklingError("a storage without a number or a count")
        return _Storage(entry, dtype, count)


@dataclass(frozen=True)
class _Storage(_Finished):
    entry: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class _Function(_Finished):
    run: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.run(*arguments)


class _Ordered(_Finished, OrderedDict[str, Any]):
    """An OrderedDict that takes neither arguments nor attributes."""

    def __init__(self) -> None:
        super().__init__()


def _admitted(module: str) -> dict[str, Any]:
    """What each admitted name stands for."""
    parts = {name: type("Part", (Part,), {"kind": kind}) for name, kind in _PARTS.items()}
    parts[module] = type("Part", (Part,), {"kind": module})
    return {
        **parts,
        **_NUMBER_KINDS,
        "collections OrderedDict": _Ordered,
        "__builtin__ set": _Function(_empty_set),
        "builtins set": _Function(_empty_set),
        "torch._utils _rebuild_tensor_v2": _Function(_rebuild_tensor),
        "torch._utils _rebuild_parameter": _Function(_rebuild_parameter),
    }


def _empty_set(items: Any) -> frozenset[str]:
    if items != []:
        raise pickle.UnpicklingError("a set that is not empty")
    return frozenset()


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _requires_grad: Any, hooks: Any
) -> Numbers:
    if not isinstance(storage, _Storage) or not _are_sizes(shape) or not _is_size(offset) or hooks:
        raise pickle.UnpicklingError("a tensor without storage or shape, or with hooks")
    if not _are_sizes(stride) or stride != tuple(
        math.prod(shape[place + 1 :]) for place in range(len(shape))
    ):
        raise pickle.UnpicklingError(f"a tensor of shape {list(shape)} whose numbers are not in order")
    return Numbers(storage.entry, storage.dtype, storage.count, offset, shape)


def _rebuild_parameter(numbers: Any, _requires_grad: Any, hooks: Any) -> Numbers:
    if not isinstance(numbers, Numbers) or hooks:
        raise pickle.UnpicklingError("a parameter that is no tensor, or with hooks")
    return numbers


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_FILE


def _are_sizes(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= MOST_DIMENSIONS and all(map(_is_size, values))


def _read_archive(path: Path) -> tuple[bytes, dict[str, bytes]]:
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise _refused(path, f"{size} bytes, where {LARGEST_FILE} are the most for a classifier")
    if not zipfile.is_zipfile(path):
        raise _refused(path, "no archive of torch 1.6 or later")
    refuse_compressed(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries: dict[str, bytes] = {}
            for entry in archive.infolist():
                found = _ENTRY.fullmatch(entry.filename)
                if found is None or found[1] in entries:
                    raise _refused(path, f"the entry {entry.filename} in the archive")
                if entry.file_size > size or (found[1] == "data.pkl" and entry.file_size > LARGEST_PICKLE):
                    raise _refused(path, f"the entry {entry.filename} of {entry.file_size} bytes")
                entries[found[1]] = archive.read(entry)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _refused(path, f"a damaged archive ({error})") from error
    if "data.pkl" not in entries or entries.get("byteorder", b"little") != b"little":
        raise _refused(path, "an archive without data.pkl, or of a machine with another order of bytes")
    numbers = {
        name.removeprefix("data/"): content for name, content in entries.items() if name[:5] == "data/"
    }
    return entries["data.pkl"], numbers


def _check_opcodes(path: Path, program: bytes, admitted: frozenset[str]) -> None:
    """Raise IntegrityError unless the pickle has only opcodes and names that such a module needs."""
    names, opcodes, length = set(), set(), 0
    try:
        for opcode, argument, place in pickletools.genops(program):
            length = (place or 0) + 1
            opcodes.add(opcode.name)
            if opcode.name in {"GLOBAL", "INST"}:
                names.add(str(argument))
            # The reader makes a table as long as the largest number under which it keeps an object.
            if opcode.name in {"BINPUT", "LONG_BINPUT"} and int(argument or 0) > len(program):
                raise _refused(path, f"the opcode {opcode.name} with {argument} in the pickle")
    except (ValueError, UnicodeDecodeError) as error:
        raise _refused(path, f"a damaged pickle ({error})") from error
    if foreign := sorted(names - admitted):
        raise _refused(path, ", ".join(name.replace(" ", ".") for name in foreign))
    if foreign := sorted(opcodes - _OPCODES):
        raise _refused(path, f"the opcodes {', '.join(foreign)} in the pickle")
    if length != len(program):
        raise _refused(path, f"{len(program) - length} bytes after the end of the pickle")


def _refused(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: found {excerpt(found)}; expected a classifier as VirNucPro's train.py saves it. Nothing of it was "
        "run. Import the file that the authors publish, and no other."
    )
