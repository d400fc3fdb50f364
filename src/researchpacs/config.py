"""One frozen `Settings`, read from arguments, the home's ``researchpacs.toml`` and the environment."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from researchpacs.errors import AccessError, InvalidInputError

__all__ = ["FILE", "CatalogPlace", "Settings", "endpoint_options", "store_options"]

FILE = "researchpacs.toml"
"""The name of the file in a home that says where its catalog lies."""

_MOST_WORKERS = 256
_KNOWN = {
    "catalog": ("metadata", "data"),
    "s3": ("endpoint", "region", "access_key_id", "secret_access_key", "session_token"),
}
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class CatalogPlace:
    """Where the catalog lies when it is not in the home: metadata in PostgreSQL, Parquet in an S3-compatible store.

    What is not given here, a password among it, libpq finds as all its clients do: ``PGPASSWORD``, ``PGSSLMODE``,
    ``~/.pgpass``.
    """

    host: str
    port: int
    database: str
    user: str | None
    data: str
    """``s3://bucket/folder/``, with the slash."""
    password: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    """``http://host:port`` of the store; None is Amazon's."""
    region: str = "us-east-1"
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The place in words, without credentials."""
        return f"postgresql://{self.host}:{self.port}/{self.database} and {self.data}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process was told; nothing here changes after `connect`."""

    home: Path
    """The folder of the embedded archive and the catalog."""
    workers: int
    """Processes that scan and hash while ingesting."""
    catalog: CatalogPlace | None = None
    """Where the catalog lies, unless it is in the home."""

    @classmethod
    def load(cls, home: str | os.PathLike[str] | None = None) -> "Settings":
        """Read the settings.

        The home is the argument, else ``RESEARCHPACS_HOME``, else the platform's user data folder. Where its catalog
        lies is said by ``researchpacs.toml`` in it, else by ``RESEARCHPACS_CATALOG`` and ``RESEARCHPACS_CATALOG_DATA``.

        Raises
        ------
        InvalidInputError
            Something else than the path of a folder, or a value that cannot be.
        AccessError
            A ``researchpacs.toml`` with a secret that other users of the machine can read.
        """
        chosen = home if home is not None else os.environ.get("RESEARCHPACS_HOME")
        if not chosen and home is None:
            import platformdirs

            chosen = platformdirs.user_data_path("researchpacs")
        folder = _as_folder(chosen)
        return cls(folder, _workers(os.environ.get("RESEARCHPACS_WORKERS")), _catalog_place(folder / FILE, os.environ))


def store_options(endpoint: str | None) -> dict[str, str]:
    """What DuckDB is told of a store that is not the catalog's: where it is, and the keys of the environment.

    Parameters
    ----------
    endpoint
        ``http://host:port``; None is that of the environment, else Amazon's.
    """
    place = _endpoint(endpoint or _first(os.environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    options = {"region": _first(os.environ, "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"}
    names = {"key_id": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "session_token": "AWS_SESSION_TOKEN"}
    options |= {option: value for option, name in names.items() if (value := os.environ.get(name))}
    return options | endpoint_options(place)


def endpoint_options(endpoint: str | None) -> dict[str, str]:
    """What DuckDB is told of where a store is; nothing for Amazon's."""
    if endpoint is None:
        return {}
    scheme, _, address = endpoint.partition("://")
    return {"endpoint": address, "url_style": "path", "use_ssl": str(scheme == "https").lower()}


def _as_folder(home: object) -> Path:
    if not isinstance(home, (str, os.PathLike)) or not home or "\0" in os.fspath(home):
        raise InvalidInputError(
            "the home of an archive is the path of a folder, as in connect('~/pacs'); leave it out for the default"
        )
    try:
        return Path(home).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidInputError("the ~ in the path of the home names no user's folder; write the path out") from error


def _workers(told: str | None) -> int:
    if not told or not told.strip():
        return min(8, _usable_cores())
    if not told.strip().isdecimal() or not 1 <= int(told) <= _MOST_WORKERS:
        raise InvalidInputError(
            f"RESEARCHPACS_WORKERS={told!r} is no number of processes from 1 to {_MOST_WORKERS}; set one, or unset it"
        )
    return int(told)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _catalog_place(path: Path, environment: Mapping[str, str]) -> CatalogPlace | None:
    """Where a home's catalog lies; None is in the home itself."""
    told = _told(path)
    catalog, s3 = told.get("catalog", {}), told.get("s3", {})
    metadata = catalog.get("metadata") or environment.get("RESEARCHPACS_CATALOG")
    data = catalog.get("data") or environment.get("RESEARCHPACS_CATALOG_DATA")
    if not metadata and not data:
        return None
    if not metadata or not data:
        raise InvalidInputError(
            "a catalog outside the home needs both: RESEARCHPACS_CATALOG=postgresql://user@host/database and "
            f"RESEARCHPACS_CATALOG_DATA=s3://bucket/folder, or metadata and data of [catalog] in {FILE}"
        )
    # Key and secret belong together, so they come from one place.
    keys = s3 if "access_key_id" in s3 else {}
    for name in ("access_key_id", "secret_access_key", "session_token") if not keys else ():
        keys[name] = environment.get(f"AWS_{name.upper()}")
    if not keys.get("access_key_id") or not keys.get("secret_access_key"):
        raise InvalidInputError(
            "the store of the catalog needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or both access_key_id and "
            f"secret_access_key of [s3] in {FILE}"
        )
    at = _postgresql(metadata)
    place = CatalogPlace(
        host=at.hostname or "",
        port=at.port or 5432,
        database=unquote(at.path.strip("/")),
        user=None if at.username is None else unquote(at.username),
        password=None if at.password is None else unquote(at.password),
        data=_bucket(data),
        endpoint=_endpoint(s3.get("endpoint") or _first(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
        region=s3.get("region") or _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        access_key_id=keys.get("access_key_id"),
        secret_access_key=keys.get("secret_access_key"),
        session_token=keys.get("session_token"),
    )
    if path.is_file() and ((catalog.get("metadata") and place.password) or "secret_access_key" in s3):
        _refuse_readable(path)
    return place


def _told(path: Path) -> dict[str, dict[str, Any]]:
    """What a file says; every word in it is one that is known."""
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read ({type(error).__name__}); mend or remove it") from None
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"{path} is no TOML: {error}") from None
    for section, values in told.items():
        known = _KNOWN.get(section)
        if known is None or not isinstance(values, dict):
            raise InvalidInputError(f"{path} has the sections [{'] and ['.join(_KNOWN)}]; found {section!r}")
        for name, value in values.items():
            if name not in known or not isinstance(value, str):
                raise InvalidInputError(f"[{section}] in {path} has the texts {', '.join(known)}; found {name!r}")
    return told


def _refuse_readable(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise AccessError(f"{path} holds a secret that other users of this machine can read: chmod 600 it")


def _postgresql(url: str) -> SplitResult:
    """Take a URL apart; it may hold a password, so no message repeats it."""
    try:
        at = urlsplit(url)
        sound = at.scheme in {"postgresql", "postgres"} and at.hostname and at.path.strip("/") and at.port != 0
    except ValueError:
        sound = False
    if not sound or at.query or at.fragment:
        raise InvalidInputError(
            "the catalog's metadata are at postgresql://user@host:port/database; what else libpq needs stands in its "
            "own variables, such as PGSSLMODE"
        )
    return at


def _bucket(url: str) -> str:
    at = urlsplit(url)
    if at.scheme != "s3" or not at.netloc or at.query or at.fragment or "@" in at.netloc or "*" in url:
        raise InvalidInputError("the catalog's files are at s3://bucket/folder; keys stand in AWS_ACCESS_KEY_ID ...")
    return url.rstrip("/") + "/"


def _endpoint(url: str | None) -> str | None:
    if not url:
        return None
    at = urlsplit(url)
    if at.scheme not in {"http", "https"} or not at.hostname or at.username or at.path.strip("/") or at.query:
        raise InvalidInputError("the endpoint of an S3-compatible store is http(s)://host:port, and nothing more")
    return f"{at.scheme}://{at.netloc}"


def _first(environment: Mapping[str, str], *names: str) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
