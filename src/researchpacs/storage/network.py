"""Tell network file systems, where SQLite's locks do not hold, from local ones."""

from pathlib import Path

__all__ = ["network_file_system"]

_NETWORK = frozenset(
    """
    9p afs beegfs ceph cifs fhgfs glusterfs gpfs lustre ncpfs nfs nfs3 nfs4 panfs pvfs2 smb smb2 smb3 smbfs wekafs
    fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.goofys fuse.rclone fuse.s3fs fuse.sshfs
    """.split()  # noqa: SIM905 - a table of words reads better than quotes
)


def network_file_system(path: Path, *, mounts: str | None = None) -> str | None:
    """Name the network file system that a folder is on; None for a local one, and where the system does not tell.

    Parameters
    ----------
    path
        An existing folder.
    mounts
        Text in the form of ``/proc/mounts``; read from there by default.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(errors="surrogateescape")
        except FileNotFoundError:
            return None
    real = path.resolve()
    kind, depth = "", -1
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(_unescape(fields[1]))
        # Of two mounts on one point the later one is seen.
        if real.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = fields[2], len(point.parts)
    return kind if kind in _NETWORK else None


def _unescape(text: str) -> str:
    """Undo the octal escapes of proc(5): blank, tab, line feed and backslash."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, character)
    return text
