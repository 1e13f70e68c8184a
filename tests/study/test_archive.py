"""Stored results come back as they were kept, say what made them, and notice when the code has changed."""

import pandas as pd
import pytest

from study import archive
from study import parameters as params


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FOLDER", tmp_path / "stored")
    return tmp_path / "stored"


def test_a_stored_result_comes_back_with_its_manifest(folder):
    rows = pd.DataFrame({"method": ["epsilon", "random"], "score": [0.123456789, float("nan")]})
    archive.keep("truth", {"scores": rows}, params.load("smoke"), ("masking",), 125.0)
    found = archive.recall("truth")
    pd.testing.assert_frame_equal(found.tables["scores"], rows, rtol=1e-5)
    assert found.manifest["parameters"]["seeds"] == 2
    assert found.is_current
    assert "profile 'smoke', made in 2 min" in str(found)


def test_a_result_of_other_code_says_so(folder):
    archive.keep("truth", {}, params.load("smoke"), ("masking",), 1.0)
    path = folder / "truth" / archive.MANIFEST
    path.write_text(path.read_text().replace('"code": "', '"code": "0'))
    assert "has changed since" in str(archive.recall("truth"))


def test_keeping_again_replaces(folder):
    one = pd.DataFrame({"x": [1]})
    archive.keep("truth", {"old": one}, params.load("smoke"), ("masking",), 1.0)
    archive.keep("truth", {"new": one}, params.load("smoke"), ("masking",), 1.0)
    assert set(archive.recall("truth").tables) == {"new"}


def test_what_is_not_stored_says_how_to_make_it(folder):
    with pytest.raises(FileNotFoundError, match="python -m report store truth"):
        archive.recall("truth")


def test_live_tables_stand_in_where_nothing_is_stored(folder):
    live = {"scores": pd.DataFrame({"method": ["epsilon"], "score": [0.5]})}
    tables, note = archive.recall_or("truth", live)
    assert tables is live and "python -m report store truth" in note
    archive.keep("truth", {"scores": live["scores"] * 2}, params.load("smoke"), ("masking",), 60.0)
    tables, note = archive.recall_or("truth", live)
    assert tables["scores"].score.tolist() == [1.0] and note.startswith("stored result of profile 'smoke'")
