"""`wakegate validate`: every mistake in YAML before it is applied, with its line and the fix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activator import settings
from activator.cli import BAD_INPUT
from activator.cli.output import add_output, print_json
from activator.errors import SettingsError

if TYPE_CHECKING:
    import argparse

    from activator.specs.files import Checked

SUFFIXES = {".yaml", ".yml", ".json"}
_SET_BY_THE_OPERATOR = "kafka:9092"
"""Stands for the operator's own servers, which a file cannot tell: leaving them out is no mistake here."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the files and the flags."""
    parser.epilog = (
        "example:\n"
        "  wakegate validate deployment.yaml scaled-object.yaml\n"
        "  wakegate validate k8s/                       # every YAML and JSON file in it, not below its folders\n"
        "  kustomize build . | wakegate validate -      # standard input\n"
        "  wakegate validate k8s/ --output json\n\n"
        "Checks annotated Deployments and StatefulSets, and ScaledObjects; other objects are passed over.\n"
        "Exit code 0: nothing is wrong; 2: a mistake is listed, or a file cannot be read."
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, a folder, or - for standard input")
    add_output(parser, "json")


def execute(arguments: argparse.Namespace) -> int:
    """List every mistake; return 0 where there is none."""
    from activator.specs.defaults import AnnotationDefaults  # noqa: PLC0415 - a moment of everybody's `--help`
    from activator.specs.files import check  # noqa: PLC0415

    read = settings.read()
    defaults = AnnotationDefaults(
        bootstrap_servers=read.bootstrap_servers or _SET_BY_THE_OPERATOR,
        allowed_bootstrap_servers=frozenset(read.allowed_bootstrap_servers),
    )
    checked = check(_texts(arguments.files), defaults)
    if arguments.output == "json":
        print_json(_as_json(checked))
    else:
        for mistake in checked.mistakes:
            sys.stderr.write(f"{mistake}\n")
        told = f"{_counted(len(checked.objects), 'object')} checked, {_counted(len(checked.mistakes), 'mistake')}"
        sys.stdout.write(f"{told}\n")
    if not checked.objects:
        sys.stderr.write(
            "nothing was checked: no annotated Deployment or StatefulSet and no ScaledObject is in "
            f"{', '.join(arguments.files)} (of a folder its own files are read, and none below its folders)\n"
        )
    return BAD_INPUT if checked.mistakes else 0


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _texts(names: list[str]) -> dict[str, str]:
    """Read the files, by name. Raises SettingsError: one cannot be read."""
    texts: dict[str, str] = {}
    for name in names:
        if name == "-":
            try:
                texts["-"] = sys.stdin.read()
            except UnicodeDecodeError as error:
                raise SettingsError(f"standard input: it cannot be read: {error}") from None
            continue
        path = Path(name)
        try:
            found = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES) if path.is_dir() else [path]
            texts |= {str(file): file.read_text(encoding="utf-8") for file in found}
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}: it cannot be read: {error}") from None
    return texts


def _as_json(checked: Checked) -> dict[str, Any]:
    return {
        "objects": list(checked.objects),
        "mistakes": [
            {
                "file": mistake.file,
                "line": mistake.line,
                "object": mistake.object,
                "where": mistake.problem.where,
                "value": mistake.problem.got,
                "allowed": mistake.problem.allowed,
                "didYouMean": mistake.problem.did_you_mean,
            }
            for mistake in checked.mistakes
        ],
    }
