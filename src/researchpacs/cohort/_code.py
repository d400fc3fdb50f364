"""What a function is: a digest of its code and of what it refers to, so that kept results are never those of another.

Code is what Python compiled, so comments and layout do not count and a new version of Python does. Functions and
classes of the same module are part of it; what comes from elsewhere counts by its name and its package's version.
"""

import copyreg
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from hashlib import sha256
from importlib import metadata
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from researchpacs.errors import InvalidInputError

__all__ = ["code_digest", "name_of"]


def name_of(function: Any) -> str:
    """What a function is called, with its module."""
    while isinstance(function, partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def code_digest(function: Any) -> str:
    """Digest a function with its defaults, the values it closes over and the globals it names.

    Raises
    ------
    InvalidInputError
        It cannot be called, or refers to something that has no bytes to digest, such as an open file.
    """
    if not callable(function):
        raise InvalidInputError(f"expected a function of a volume; found {type(function).__name__}")
    lines = [f"python {sys.version_info.major}.{sys.version_info.minor}", *_described(function, {}, None)]
    return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _described(value: Any, seen: dict[int, Any], home: str | None) -> Iterator[str]:
    """Lines that are equal for equal values, in every process."""
    if id(value) in seen:
        yield "again"
    elif isinstance(value, bytes):
        yield f"bytes {sha256(value).hexdigest()}"
    elif isinstance(value, str | int | float | complex | None | type(Ellipsis)):
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, Mapping):
        yield f"{type(value).__name__} {len(value)}"
        for key, one in value.items():
            yield from _described(key, seen, home)
            yield from _described(one, seen, home)
    elif isinstance(value, list | tuple):
        yield f"{type(value).__name__} {len(value)}"
        for one in value:
            yield from _described(one, seen, home)
    elif isinstance(value, set | frozenset):
        yield f"{type(value).__name__} {len(value)}"
        yield from sorted("\n".join(_described(one, seen, home)) for one in value)
    else:
        seen[id(value)] = value  # kept, so that nothing else gets its id
        yield from _of_code(value, seen, home)


def _of_code(value: Any, seen: dict[int, Any], home: str | None) -> Iterator[str]:
    if isinstance(value, CodeType):
        yield f"code {value.co_code.hex()} {value.co_names} {value.co_varnames} {value.co_flags}"
        yield from _described(value.co_consts, seen, home)
    elif isinstance(value, ModuleType):
        yield f"module {value.__name__} {_version(value.__name__)}"
    elif isinstance(value, partial):
        yield "partial"
        yield from _described((value.func, value.args, value.keywords), seen, home)
    elif isinstance(value, property):
        yield "property"
        yield from _described((value.fget, value.fset, value.fdel), seen, home)
    elif isinstance(value, cached_property):
        yield "cached_property"
        yield from _described(value.func, seen, home)
    elif isinstance(value, staticmethod | classmethod):
        yield type(value).__name__
        yield from _described(value.__func__, seen, home)
    elif isinstance(value, MethodType):
        yield "method"
        yield from _described((value.__func__, value.__self__), seen, home)
    elif isinstance(value, FunctionType | type) and home not in (None, value.__module__):
        yield f"from {value.__module__} {value.__qualname__} {_version(value.__module__)}"
    elif isinstance(value, FunctionType):
        yield f"function {value.__name__}"
        cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
        named = {name: value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__}
        parts = (value.__code__, value.__defaults__, value.__kwdefaults__, cells, named)
        yield from _described(parts, seen, value.__module__)
    elif isinstance(value, type):
        yield f"class {value.__qualname__}"
        own = {name: one for name, one in sorted(vars(value).items()) if _counts(name, one)}
        yield from _described((value.__bases__, own), seen, value.__module__)
    else:
        yield from _of_object(value, seen, home or value.__module__)


def _of_object(value: Any, seen: dict[int, Any], home: str) -> Iterator[str]:
    """An object by its class and its state, as pickle takes it apart."""
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        reduced = reducer(value) if reducer else value.__reduce_ex__(2)
    except Exception as error:  # whatever an object's own __reduce__ raises
        raise InvalidInputError(
            f"the function refers to a {type(value).__name__}, which cannot be told apart from another or sent to "
            "another process; make it inside the function"
        ) from error
    yield f"object {type(value).__module__}.{type(value).__qualname__}"
    # What a decorator such as lru_cache stands before is pickled by name only.
    yield from _described(getattr(value, "__wrapped__", None), seen, home)
    if isinstance(reduced, str):
        yield f"{getattr(value, '__module__', '')}.{reduced}"
        return
    # The fourth and fifth parts are iterators over the items of lists and dicts.
    parts = [list(part) if isinstance(part, Iterator) else part for part in reduced]
    yield from _described(parts, seen, home)


def _counts(name: str, attribute: Any) -> bool:
    """Whether an attribute of a class is its own, not Python's book-keeping."""
    return callable(attribute) if name.startswith("__") else name != "_abc_impl"


def _names(code: CodeType) -> list[str]:
    """Names that code and the functions within it look up, in a fixed order."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(_names(constant))
    return sorted(names)


def _version(module: str) -> str:
    """Of the package that a module belongs to; empty where it is installed as none."""
    package = module.partition(".")[0]
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", ""))
