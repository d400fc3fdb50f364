"""The SQL cell: ``%load_ext researchpacs``, then ``%%pacs`` above a query."""

import keyword
from typing import TYPE_CHECKING, Any

import duckdb
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from researchpacs._pacs import Pacs, connect, opened
from researchpacs.errors import InvalidInputError
from researchpacs.jupyter.completion import add_completion

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from researchpacs.catalog import Result

__all__ = ["PacsMagics", "load"]

_ROWS = 20
_MOST_ROWS = 1000


@magics_class
class PacsMagics(Magics):
    """``%%pacs`` and ``%pacs``."""

    @magic_arguments()
    @argument("--save", metavar="NAME", help="keep the answer as a temporary table and as a variable of this name")
    @argument("--rows", type=int, default=_ROWS, metavar="N", help=f"rows to show, {_ROWS} unless told")
    @argument("--on", metavar="VARIABLE", help="the archive to ask; else pacs, or the only one that is open")
    @argument("query", nargs="*", help="the query, where it stands in the line")
    @line_cell_magic
    def pacs(self, line: str, cell: str | None = None) -> "Result":
        """Ask the catalog in SQL.

        ``$name`` in the query stands for the value of the variable ``name``: it is bound, never pasted. DataFrames are
        tables by their names, files by theirs (``from 'answers.csv'``). Interrupting the kernel stops the query.
        """
        options, query = self._told(line, cell)
        archive = self._archive(options.on)
        values = self._values(query)
        if options.save is None:
            return archive.sql(query, **values).showing(options.rows)
        name = _as_name(options.save)
        archive.sql(f'create or replace temporary table "{name}" as\n{_as_one_select(query)}', **values)
        saved = archive.sql(f'from "{name}"').showing(options.rows)
        self._shell.user_ns[name] = saved
        return saved

    @property
    def _shell(self) -> "InteractiveShell":
        assert self.shell is not None
        return self.shell

    def _told(self, line: str, cell: str | None) -> tuple[Any, str]:
        """The options, and the query from the cell or else from the line."""
        head, _, rest = ("", "", line) if cell is None else (line, "", cell)
        if cell is None:
            head, rest = _split_options(line)
        options = parse_argstring(PacsMagics.pacs, head)
        if options.query:
            raise UsageError("below %%pacs the query stands in the cell, not in its first line")
        if not 1 <= options.rows <= _MOST_ROWS:
            raise UsageError(f"--rows is a number from 1 to {_MOST_ROWS}")
        if not rest.strip():
            raise UsageError("there is no query: %%pacs stands above one, as in\n%%pacs\nselect count(*) from series")
        return options, rest

    def _archive(self, name: str | None) -> Pacs:
        found = self._shell.user_ns.get(name or "pacs")
        if isinstance(found, Pacs):
            return found
        if name is not None:
            raise UsageError(f"--on {name}: there is no archive of that name; make it with {name} = rp.connect(...)")
        archives = opened()
        if len(archives) > 1:
            raise UsageError(f"{len(archives)} archives are open: say which with --on VARIABLE")
        return archives[0] if archives else connect()

    def nearest_archive(self) -> Pacs | None:
        """The archive that a query without ``--on`` would ask, where one is open."""
        found = self._shell.user_ns.get("pacs")
        archives = [found] if isinstance(found, Pacs) and not found.closed else opened()
        return archives[0] if len(archives) == 1 else None

    def _values(self, query: str) -> dict[str, Any]:
        """What ``$name`` stands for."""
        try:
            statements = duckdb.extract_statements(query)
        except duckdb.Error:
            return {}  # the archive says what is wrong with it
        names = {name for statement in statements for name in statement.named_parameters}
        missing = sorted(name for name in names if name not in self._shell.user_ns)
        if missing:
            raise InvalidInputError(f"${missing[0]} in the query: there is no variable {missing[0]!r} in this notebook")
        return {name: self._shell.user_ns[name] for name in names}


def load(shell: "InteractiveShell") -> None:
    """Add the SQL cell and its completion to a running IPython."""
    magics = PacsMagics(shell)
    shell.register_magics(magics)
    add_completion(shell, magics.nearest_archive)


def _split_options(line: str) -> tuple[str, str]:
    """Part the options in front of a query in one line from the query, whose quotes are none of ours."""
    words = line.split()
    taken = 0
    while taken < len(words) and words[taken].startswith("--"):
        taken += 1 if "=" in words[taken] else 2
    rest = line
    for word in words[:taken]:
        rest = rest.lstrip()[len(word) :]
    return " ".join(words[:taken]), rest


def _as_name(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise UsageError(f"--save {text}: a name of letters, digits and underscores that Python takes for a variable")
    return text


def _as_one_select(query: str) -> str:
    """The only statement of a query, without its semicolon."""
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:
        return query
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError("--save keeps the answer of one select")
    return str(statements[0].query).strip().rstrip(";")
