#!/usr/bin/env python3
"""Get the stock build of OHIF that browser tests open our server with: by npm, of one version, checked by its hash.

It is for tests only (50 MB, MIT). What is there already is not fetched again.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOON = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
"""Without a network, npm is to say so in seconds."""
sys.path.insert(0, str(ROOT / "extensions"))
from build_hook import npm_command  # noqa: E402


def main() -> int:
    """Unpack the package to .stamps/ohif/VERSION; without a network, say what is missed."""
    wanted = json.loads((ROOT / ".ci" / "ohif.json").read_text())
    place = ROOT / ".stamps" / "ohif" / wanted["version"]
    if place.is_dir():
        return 0
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        npm, environment = npm_command()
        spec = f"{wanted['name']}@{wanted['version']}"
        packed = subprocess.run(
            [*npm, "pack", "--silent", *SOON, spec], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False
        )
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode or len(archives) != 1:
            sys.stderr.write(f"tests with OHIF will be skipped; to have them, 'npm pack {spec}' has to work\n")
            return 0
        found = "sha512-" + base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
        if found != wanted["integrity"]:
            sys.exit(f"{spec} is not what it was: {found}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(Path(folder) / "unpacked", filter="data")
        shutil.move(Path(folder) / "unpacked", place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
