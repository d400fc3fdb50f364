"""Definitions of generated data sets: TOML tables, one on top of another where one names its `base`."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["defined", "definition", "digest"]

VERSION = 1
"""Of the generator: raised whenever the same definition would give other bytes."""


def defined() -> list[str]:
    """Names of all definitions, sorted."""
    return sorted(file.stem for file in _folder().glob("*.toml"))


def definition(name: str) -> dict[str, Any]:
    """Read a definition, merged into its base.

    Parameters
    ----------
    name
        Out of `defined`.
    """
    table = tomllib.loads((_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    base = table.pop("base", None)
    merged = _merge(definition(base), table) if base else table
    return {**merged, "name": name}


def digest(table: Mapping[str, Any], series_uid: str) -> str:
    """12 hex digits that change with whatever changes the bytes of a series made from a definition."""
    text = json.dumps([VERSION, series_uid, table], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, Mapping) and key in merged else value
    return merged


def _folder() -> Path:
    """In an installed package beside this file, in a checkout the top-level ``datasets``."""
    installed = Path(__file__).parent / "definitions"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "datasets"
