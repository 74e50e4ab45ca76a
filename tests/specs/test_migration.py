"""docs/migration-from-keda.md: its ScaledObject and its annotations mean the same; its table names what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import yaml

from activator.core.model import Policy
from activator.specs.annotations import TABLE, parse
from activator.specs.defaults import AnnotationDefaults
from activator.specs.files import check
from activator.specs.keda.scaled_object import read_scaled_object

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migration-from-keda.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SCALED_OBJECT, DEPLOYMENT = (yaml.safe_load(block) for block in BLOCKS)
OTHERWISE = {"scaled_object", "on_release", "config_hash", "notes"}
"""Where it was written, and what becomes of the count once it is not managed any more: the page says so."""


def test_both_forms_are_one_policy() -> None:
    """What the annotations ask for is what the ScaledObject asked for, triggers and credentials included."""
    defaults = AnnotationDefaults()
    by_keda, wrong = read_scaled_object(SCALED_OBJECT, {}, defaults)
    metadata = DEPLOYMENT["metadata"]
    by_annotations, mistakes = parse(metadata["annotations"], defaults, metadata["namespace"])
    assert [*wrong, *mistakes] == []
    names = [field.name for field in fields(Policy) if field.name not in OTHERWISE]
    assert {n: getattr(by_annotations, n) for n in names} == {n: getattr(by_keda, n) for n in names}


def test_both_forms_pass_validate() -> None:
    """The documents of the page are without a mistake."""
    checked = check({f"{number}.yaml": block for number, block in enumerate(BLOCKS)}, AnnotationDefaults())
    assert (checked.objects, checked.mistakes) == (("ScaledObject orders", "Deployment orders"), ())


def test_each_annotation_of_the_table_is_one() -> None:
    """What stands in the right column of the table is the name of an annotation."""
    rows = re.findall(r"^\| `.*? \| (.*) \|$", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)(?:: [^`]*)?`", row)}
    assert named
    assert named <= {row.name for row in TABLE}
