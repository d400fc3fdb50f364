"""The command `researchpacs`: argument parsing only."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import researchpacs as rp
from researchpacs.errors import MissingExtraError, ResearchPacsError

if TYPE_CHECKING:
    from researchpacs.ingest import IngestReport
    from researchpacs.server.auth import Access
    from researchpacs.server.node import Node
    from researchpacs.server.serve import Started

__all__ = ["main"]

LEVELS = ("patient", "study", "series", "instance")

as_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")


class _Group(click.Group):
    """Turns errors of the contract's tree into one line and exit status 1; wrong use stays 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ResearchPacsError as error:
            _fail(str(error))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(rp.__version__, prog_name="researchpacs")
@click.option("--home", type=click.Path(path_type=Path), help="The archive's folder; else $RESEARCHPACS_HOME.")
@click.pass_context
def main(ctx: click.Context, home: Path | None) -> None:
    """A research PACS that lives in JupyterLab."""
    ctx.obj = home


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def lab(home: Path | None, arguments: tuple[str, ...]) -> None:
    """Open JupyterLab on the archive; ARGUMENTS go to `jupyter lab`."""
    from researchpacs import notebook

    sys.exit(notebook.lab(arguments, home=home))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--no-copy", is_flag=True, help="Index in place; the files stay where they are and are never touched.")
@click.option("--progress/--no-progress", default=None, help="Show a bar; by default on a terminal.")
@as_json
@click.pass_obj
def ingest(home: Path | None, paths: tuple[Path, ...], no_copy: bool, progress: bool | None, as_json: bool) -> None:
    """Take files, folders and zip archives into the archive."""
    with rp.connect(home) as pacs:
        report = pacs.ingest(list(paths), copy=not no_copy, progress=progress)
        if as_json:
            _print_json({"counts": _counts(report), "inputs": _records(report.df())})
        else:
            click.echo(repr(report))


@main.command()
@click.argument("terms", nargs=-1, metavar="[LEVEL] [KEYWORD=VALUE]...")
@click.option("--where", help="A condition in SQL over the level's columns.")
@click.option("--text", help="Words that must all be found in the descriptions.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@as_json
@click.pass_obj
def search(home: Path | None, /, terms: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Search the catalog: `researchpacs search series Modality=CT StudyDate=2021..2023`.

    LEVEL is patient, study (unless said otherwise), series or instance. Repeat a keyword for any-of; `LOW..HIGH` is an
    inclusive range, either end may be left open.
    """
    level, filters = (terms[0], terms[1:]) if terms and "=" not in terms[0] else ("study", terms)
    if level not in LEVELS:
        raise click.UsageError(f"{level!r} is neither a level ({', '.join(LEVELS)}) nor KEYWORD=VALUE")
    with rp.connect(home) as pacs:
        hits = pacs.search(level, **options, **_as_filters(filters))
        _print_frame(hits.df(), as_json=as_json)


@main.command()
@click.argument("query")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A value bound to $NAME.")
@as_json
@click.pass_obj
def sql(home: Path | None, query: str, params: tuple[str, ...], as_json: bool) -> None:
    """Ask the catalog in SQL; `-` reads the query from standard input."""
    text = sys.stdin.read() if query == "-" else query
    with rp.connect(home) as pacs:
        _print_frame(pacs.sql(text, **dict(_as_pairs(params))).df(), as_json=as_json)


@main.command()
@click.option("--rebuild", is_flag=True, help="Make the catalog anew from the archive.")
@as_json
@click.pass_obj
def sync(home: Path | None, rebuild: bool, as_json: bool) -> None:
    """Bring the catalog up to the archive."""
    with rp.connect(home) as pacs:
        report = pacs.sync(rebuild=rebuild)
        _print_report(report, as_json=as_json)


@main.command()
@as_json
@click.pass_obj
def verify(home: Path | None, as_json: bool) -> None:
    """Read every file again and compare it with its hash; exit status 1 if one is missing or altered."""
    with rp.connect(home) as pacs:
        report = pacs.verify()
        _print_report(report, as_json=as_json)
        if not report.ok:
            sys.exit(1)


@main.command()
@as_json
@click.pass_obj
def doctor(home: Path | None, as_json: bool) -> None:
    """Ask whether disk, ledger and catalog are sound, in a moment; exit status 1 if something has to be done."""
    from researchpacs._pacs._doctor import examine

    with rp.connect(home) as pacs:
        report = examine(pacs.catalog, pacs.archive)
        _print_report(report, as_json=as_json)
        if not report.ok:
            sys.exit(1)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Remove files of earlier backups that are not needed any more.")
@click.option("--recheck", is_flag=True, help="Read again what earlier backups brought; copy anew what is damaged.")
@click.option("--progress/--no-progress", default=None, help="Show a bar; by default on a terminal.")
@as_json
@click.pass_obj
def backup(home: Path | None, /, folder: Path, as_json: bool, **options: Any) -> None:
    """Back up ledger and files to FOLDER while others go on writing; exit status 1 if a file was missing or altered.

    A second backup to the same FOLDER copies what is new.
    """
    with rp.connect(home) as pacs:
        report = pacs.backup(folder, **options)
        _print_report(report, as_json=as_json)
        if not report.ok:
            sys.exit(1)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--leave-out-damaged", is_flag=True, help="Restore the rest where files of the backup are damaged.")
@click.option("--progress/--no-progress", default=None, help="Show a bar; by default on a terminal.")
@as_json
@click.pass_obj
def restore(home: Path | None, folder: Path, leave_out_damaged: bool, progress: bool | None, as_json: bool) -> None:
    """Make an archive in an empty home from the backup in FOLDER; every file is read again before it opens."""
    from researchpacs import archive
    from researchpacs.config import Settings

    place = Settings.load(home).home
    report = archive.restore(folder, place, leave_out_damaged=leave_out_damaged, progress=progress)
    _print_report(report, as_json=as_json)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("researchpacs-demo"), show_default=True)
@as_json
@click.pass_obj
def demo(home: Path | None, output: Path, as_json: bool) -> None:
    """Run the quick start on the sample studies, without a window, and leave it as an HTML page with its pictures."""
    from researchpacs import notebook

    page = notebook.demo(output, home=home)
    if as_json:
        _print_json({"page": str(page)})
    else:
        click.echo(f"The quick start with its pictures: {page}")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to answer at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8042, show_default=True, help="0 takes a free one.")
@click.option("--users", type=click.Path(path_type=Path), help="File of users; without it a new token is printed.")
@click.option("--no-auth", is_flag=True, help="Let everybody on this machine in; on loopback only.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key (PEM).")
@click.option("--insecure", is_flag=True, help="Allow other machines to connect without TLS.")
@click.option("--root-path", default="", metavar="PATH", help="Path below which a proxy shows the server, as /pacs.")
@click.option(
    "--cors-origin", multiple=True, metavar="URL", help="A web page's origin that may ask DICOMweb; repeatable."
)
@click.option("--ohif", type=click.Path(path_type=Path), metavar="DIR", help="Serve the build of OHIF in DIR too.")
@click.option("--ohif-port", type=click.IntRange(0, 65535), default=8043, show_default=True, help="Where OHIF is.")
@click.option("--dimse-port", type=click.IntRange(0, 65535), help="Be a DICOM node at this port; without it, be none.")
@click.option("--aet", default="RESEARCHPACS", show_default=True, help="AE title of the DICOM node.")
@click.option(
    "--worklist", type=click.Path(path_type=Path), metavar="DIR", help="Modality worklist: a folder of .wl items."
)
@click.option("--dimse-tls-cert", type=click.Path(path_type=Path), help="The node's own chain (PEM); else --tls-cert.")
@click.option("--dimse-tls-key", type=click.Path(path_type=Path), help="The node's own private key (PEM).")
@click.option("--dimse-tls-ca", type=click.Path(path_type=Path), help="Who vouches for callers' certificates (PEM).")
@click.option("--rules", type=click.Path(path_type=Path), metavar="FILE", help="What to do with each stable series.")
@click.pass_obj
def serve(home: Path | None, /, *, users: Path | None, no_auth: bool, **options: Any) -> None:
    """Serve the archive as an Orthanc would."""
    from researchpacs.config import Settings
    from researchpacs.server.lock import refuse_second

    folder = Settings.load(home).home
    refuse_second(folder)
    try:
        from researchpacs.server import serve as server
    except ModuleNotFoundError as error:
        raise MissingExtraError("a server", "server") from error
    access = server.access_for(users=users, no_auth=no_auth)
    address = server.Address(
        options["host"], options["port"], options["tls_cert"], options["tls_key"], options["root_path"]
    )
    ohif = options["ohif"]
    server.serve(
        folder,
        address,
        access,
        node=_node_of(options),
        viewer=None if ohif is None else server.Viewer(ohif, options["ohif_port"]),
        origins=options["cors_origin"],
        insecure=options["insecure"],
        rules=options["rules"],
        ready=lambda started: _print_started(folder, started, access),
    )


@main.command()
@click.argument("rule")
@click.option("--rules", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where RULE stands.")
@click.option("--dry-run", is_flag=True, help="Only say how many series it chooses.")
@as_json
@click.pass_obj
def route(home: Path | None, rule: str, rules: Path, dry_run: bool, as_json: bool) -> None:
    """Apply RULE to the series that are there already; the server that runs with the same rules does the work."""
    from researchpacs.server.routing import apply_now

    with rp.connect(home) as pacs:
        count = apply_now(pacs, rules, rule, dry_run=dry_run)
    if as_json:
        _print_json({"rule": rule, "series": count, "queued": not dry_run})
    else:
        click.echo(f"{rule} chooses {count} series" + ("" if dry_run else ": in the queue of the server"))


@main.command()
@click.argument("name")
@click.option("--users", required=True, type=click.Path(path_type=Path), help="File of users; made if there is none.")
@click.option("--role", type=click.Choice(["read", "write", "admin"]), default="read", show_default=True)
@click.password_option(help="Asked for where it is not given.")
def user(name: str, users: Path, role: Any, password: str) -> None:
    """Add NAME to a file of users for `serve`, or give a new password and role."""
    from researchpacs.server.auth import User, hash_password, write_user

    write_user(users, User(name, role, hash_password(password)))
    click.echo(f"{name} may {role}")


def _node_of(options: Mapping[str, Any]) -> "Node | None":
    from researchpacs.server.node import Node

    own = ("worklist", "dimse_tls_cert", "dimse_tls_key", "dimse_tls_ca")
    if options["dimse_port"] is None:
        for name in own:
            if options[name] is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} is for the DICOM node; give --dimse-port too")
        return None
    tls = "dimse_tls" if options["dimse_tls_cert"] else "tls"
    return Node(
        port=options["dimse_port"],
        host=options["host"],
        aet=options["aet"],
        certificate=options[f"{tls}_cert"],
        key=options[f"{tls}_key"],
        authority=options["dimse_tls_ca"],
        worklist=options["worklist"],
        insecure=options["insecure"],
    )


def _print_started(home: Path, started: "Started", access: "Access") -> None:
    """Say where and how to come in; the token appears here and nowhere else."""
    click.echo(f"researchpacs serves {home} at {started.url}")
    if access.token is not None:
        click.echo(f"token: {access.token}  (Bearer, or the password of any user name)")
    elif access.users:
        click.echo("log in as one of the users")
    else:
        click.echo("no log-in: everybody on this machine may do everything")
    if started.viewer_url is not None:
        click.echo(f"OHIF: {started.viewer_url}")
    if started.node is not None:
        click.echo(f"DICOM node: {started.node}")


def _as_filters(filters: Iterable[str]) -> dict[str, Any]:
    """``["Modality=CT", "Modality=PT", "StudyDate=2021..2023"]`` as keyword filters of `Pacs.search`."""
    found: dict[str, list[Any]] = {}
    for keyword, value in _as_pairs(filters):
        low, dots, high = value.partition("..")
        found.setdefault(keyword, []).append((low or None, high or None) if dots else value)
    for keyword, values in found.items():
        if len(values) > 1 and any(isinstance(value, tuple) for value in values):
            raise click.UsageError(f"{keyword} has a range and other values; give one of both")
    return {keyword: values[0] if len(values) == 1 else values for keyword, values in found.items()}


def _as_pairs(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"expected NAME=VALUE, found {text!r}")
        yield name, value


def _counts(report: "IngestReport") -> dict[str, int]:
    return {kind: getattr(report, kind) for kind in ("stored", "duplicates", "conflicts", "refused")}


def _print_frame(frame: Any, *, as_json: bool) -> None:
    if as_json:
        _print_json(_records(frame))
    else:
        click.echo(frame.to_string(index=False) if len(frame) else "nothing found")


def _records(frame: Any) -> Any:
    plain = frame.map(lambda value: value.hex() if isinstance(value, (bytes, bytearray)) else value)
    return json.loads(plain.to_json(orient="records", date_format="iso", default_handler=str))


def _print_report(report: Any, *, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(report))
    else:
        click.echo(str(report))


def _print_json(value: Mapping[str, Any] | list[Any]) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def _fail(message: str) -> NoReturn:
    click.echo(f"researchpacs: {message}", err=True)
    sys.exit(1)
