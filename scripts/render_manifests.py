"""Write one file an overlay below manifests/rendered/, for `kubectl apply --server-side -f`; `--check`: is any stale?

Run as ``python -m scripts.render_manifests [--check]``, or by ``make manifests`` and ``make check``. Needs kubectl.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
RENDERED = MANIFESTS / "rendered"
OVERLAYS = tuple(sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir() if folder.is_dir()))
SECONDS = 60


class RenderError(Exception):
    """A kustomization could not be rendered; the message is kustomize's."""


def has_kubectl() -> bool:
    """Tell whether there is a kubectl to render with."""
    return shutil.which("kubectl") is not None


def kustomize(folder: Path) -> str:
    """Return all objects of a kustomization as YAML. Raises RenderError."""
    command = ["kubectl", "kustomize", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)  # noqa: S603 - our own folders
    except FileNotFoundError:
        raise RenderError("kubectl is not on PATH: install it, 1.27 or newer, to render manifests") from None
    except subprocess.CalledProcessError as error:
        raise RenderError(f"{folder}: {error.stderr.strip()}") from None
    return done.stdout


def render(overlay: str) -> str:
    """Return the content of the single file of an overlay. Raises RenderError."""
    return f"# Made from manifests/overlays/{overlay}; do not edit.\n{kustomize(MANIFESTS / 'overlays' / overlay)}"


def main() -> int:
    """Write or check every file; return 1 where a check finds a stale one, 2 where they cannot be rendered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is stale")
    check = parser.parse_args().check
    stale = False
    for overlay in OVERLAYS:
        path = RENDERED / f"{overlay}.yaml"
        try:
            content = render(overlay)
        except RenderError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        if path.exists() and path.read_text() == content:
            continue
        stale = True
        if check:
            sys.stderr.write(f"manifests/rendered/{path.name} is stale: run 'make manifests'\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            sys.stdout.write(f"written: manifests/rendered/{path.name}\n")
    return int(stale and check)


if __name__ == "__main__":
    sys.exit(main())
