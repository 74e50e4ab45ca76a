"""The server that speaks MongoDB's wire protocol, asked by MongoDB's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.mongo import Mongo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


def test_an_upsert_keeps_one_document_under_its_id(tmp_path: Path) -> None:
    """What the example of a pipeline relies on; and it is gone once it is stopped."""
    with Mongo(tmp_path) as mongo:
        collection = mongo.client["shop"]["orders"]
        for status in ("accepted", "baked"):
            collection.replace_one({"_id": 7}, {"_id": 7, "status": status}, upsert=True)
        assert list(collection.find()) == [{"_id": 7, "status": "baked"}]
        process = mongo.process
    assert process is not None
    assert not process.running
