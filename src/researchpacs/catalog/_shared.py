"""The scaled-out form of the lake: metadata in PostgreSQL, Parquet in an S3-compatible store.

Every archive has a schema of its own in the database and a folder of that name in the store, so one database serves any
number of homes. Credentials are secrets of the connection: no statement, path or error of DuckDB repeats them.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import duckdb
from filelock import FileLock, Timeout

from researchpacs.catalog._database import LIBPQ, Database, listed, secret
from researchpacs.catalog._lake import NAME, quoted
from researchpacs.catalog._outage import outage
from researchpacs.config import endpoint_options
from researchpacs.errors import ResearchPacsError

if TYPE_CHECKING:
    from researchpacs.config import CatalogPlace
    from researchpacs.storage.home import Home

__all__ = ["SharedLake"]

_POLL_S = 0.05


class SharedLake:
    """Where the catalog of one archive lies outside its home.

    Parameters
    ----------
    home
        Of the archive; its lock file keeps this machine's processes apart before the database is asked.
    place
        The database and the store.
    feed_id
        Gives the id of the archive's change feed, which names the schema.
    """

    extensions = ("ducklake", "postgres_scanner", "httpfs")
    stays_attached = False  # the database may have been started again meanwhile

    def __init__(self, home: "Home", place: "CatalogPlace", feed_id: Callable[[], str]) -> None:
        self._place = place
        self._feed_id = feed_id
        self._file_lock = FileLock(home.catalog_lock, thread_local=False)
        self._database = Database(place)

    @cached_property
    def schema(self) -> str:
        """The schema in the database and the folder in the store."""
        return f"researchpacs_{sha256(self._feed_id().encode()).hexdigest()[:16]}"

    @property
    def shown(self) -> str:
        """Where it lies, in words."""
        return f"{self._place.shown}{self.schema}"

    @property
    def _data(self) -> str:
        return f"{self._place.data}{self.schema}/"

    def prepare(self, con: duckdb.DuckDBPyConnection) -> None:
        """Tell a connection the credentials."""
        for statement in self._secrets():
            con.execute(statement)

    def statement(self, *, name: str = NAME, read_only: bool = True, snapshot: int | None = None) -> str:
        """Write the statement that attaches the lake, without credentials."""
        options = [f"data_path {quoted(self._data)}", "override_data_path true"]
        options += [f"metadata_schema {quoted(self.schema)}", f"meta_secret {quoted(f'{self.schema}_metadata')}"]
        options += ["read_only"] if read_only else []
        options += [f"snapshot_version {int(snapshot)}"] if snapshot is not None else []
        return f"attach {quoted(f'ducklake:postgres:{LIBPQ}')} as {name} ({', '.join(options)})"

    def preamble(self) -> str:
        """What another client has to do before the statement; who runs it fills in the credentials."""
        place = self._place
        user = f", user {quoted(place.user)}" if place.user else ""
        endpoint = "".join(f", {name} {quoted(value)}" for name, value in endpoint_options(place.endpoint).items())
        return (
            "install ducklake; install postgres; install httpfs;\n"
            "-- the password: PGPASSWORD or ~/.pgpass\n"
            f"create secret {self.schema}_metadata (type postgres, host {quoted(place.host)}, port {place.port}, "
            f"database {quoted(place.database)}{user});\n"
            f"create secret {self.schema}_data (type s3, scope {quoted(self._data)}, "
            f"region {quoted(place.region)}{endpoint}, key_id '...', secret '...');"
        )

    def stamp(self) -> object | None:
        """The database's number of the schema.

        Raises
        ------
        RemoteError, AccessError
            The database does not answer, or not to this user.
        """
        ask = f"select oid::bigint from pg_namespace where nspname = '{self.schema}'"  # noqa: S608 - hex digits
        with self._telling():
            return next(iter(self._database.ask(ask)), None)

    @contextmanager
    def lock(self, timeout: float | None = None) -> Iterator[None]:
        """Be the only writer, on this machine and all others.

        The database gives the lock back with the transaction, so also when this process is killed.

        Raises
        ------
        filelock.Timeout
            Another process has it, and had it for `timeout` seconds.
        RemoteError, AccessError
            The database does not answer, or not to this user.
        """
        begun = time.monotonic()
        with self._file_lock.acquire(timeout=-1 if timeout is None else timeout):
            while not self._locks():
                if timeout is not None and time.monotonic() - begun > timeout:
                    raise Timeout(self._file_lock.lock_file)
                time.sleep(_POLL_S)
            try:
                yield
            finally:
                self._database.unlock()

    def discard(self) -> bool:
        """Drop the schema; the data files are swept when the next one is made."""
        with self._telling():
            self._database.run(f'drop schema if exists "{self.schema}" cascade')
        return True

    def sweep(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Remove files in the lake's folder that a new lake, attached for writing, knows nothing of."""
        if not self._names(con):
            return False
        con.execute(f"call ducklake_delete_orphaned_files('{NAME}', cleanup_all => true)")
        return True

    def sizes(self, con: duckdb.DuckDBPyConnection, files: Collection[str]) -> Mapping[str, int]:
        """Bytes of those of its data files that are there."""
        there = sorted(set(files) & self._names(con))
        found = con.execute("select filename, size from read_blob(?)", [there]).fetchall() if there else []
        return dict(found)

    def _names(self, con: duckdb.DuckDBPyConnection) -> set[str]:
        return {name for (name,) in con.execute("select file from glob(?)", [f"{self._data}**"]).fetchall()}

    def failure(self, error: duckdb.Error) -> ResearchPacsError | None:
        """What an error says of the database or the store; None where it is about something else."""
        return outage(error, f"the catalog at {self.shown}")

    def close(self) -> None:
        """Close the connection to the database."""
        self._database.close()

    # -- behind --------------------------------------------------------------------------------------------------------

    def _secrets(self) -> Iterator[str]:
        place = self._place
        yield secret(f"{self.schema}_metadata", place)
        options = {"scope": self._data, "region": place.region, "key_id": place.access_key_id or ""}
        options |= {"secret": place.secret_access_key or ""}
        options |= {"session_token": place.session_token} if place.session_token else {}
        options |= endpoint_options(place.endpoint)
        yield f"create or replace temporary secret {self.schema}_data (type s3, {listed(options)})"

    def _locks(self) -> bool:
        with self._telling():
            return self._database.try_lock(self.schema)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise self.failure(error) or ResearchPacsError(
                f"the database of the catalog at {self.shown} refuses ({type(error).__name__})"
            ) from None
