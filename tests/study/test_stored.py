"""Stored results come back as they were kept, and say what made them."""

import json

import pandas as pd
import pytest
from tiny_study import tiny_study

from study import stored, truth


@pytest.fixture
def keep(tiny, tmp_path, monkeypatch):
    """Stores tables as if the experiment "truth" had made them."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "stored")

    def kept(**tables):
        monkeypatch.setattr(truth, "tables", lambda _: tables)
        stored.store(tiny, "truth")
        return tiny

    return kept


def test_a_stored_result_comes_back_with_its_manifest(keep):
    rows = pd.DataFrame({"method": ["epsilon", "random"], "score": [0.123456789, float("nan")]})
    s = keep(scores=rows)
    kept = stored.recall("truth")
    pd.testing.assert_frame_equal(kept.tables["scores"], rows, rtol=1e-5)
    assert kept.manifest["parameters"]["seeds"] == 2 and "profile" not in kept.manifest["parameters"]
    assert "profile 'smoke', made in 0 min" in kept.note(s)


def test_a_result_is_current_while_its_canaries_agree(keep):
    s = keep(scores=pd.DataFrame({"x": [1]}))
    assert not stored.recall("truth").outdated(s)
    assert "has changed since" not in stored.recall("truth").note(s)
    path = stored.FOLDER / "truth" / stored.CANARY
    kept = json.loads(path.read_text())
    kept["masks"]["count"][0] += 1
    path.write_text(json.dumps(kept))
    assert stored.recall("truth").outdated(s) == ["masks: count [0] was 1 and is 0; it must be equal"]
    assert stored.recall("truth").note(s).endswith("; code that decides its numbers has changed since")


def test_keeping_again_replaces(keep):
    one = pd.DataFrame({"x": [1]})
    keep(old=one)
    keep(new=one)
    assert set(stored.recall("truth").tables) == {"new"}


def test_what_is_not_stored_says_how_to_make_it(keep, tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m report store truth"):
        stored.recall("truth")
    with pytest.raises(ValueError, match="experiment 'nothing': there are calibration"):
        stored.store(tiny_study(tmp_path), "nothing")


def test_live_tables_stand_in_where_nothing_is_stored(keep, tmp_path):
    live = {"scores": pd.DataFrame({"method": ["epsilon"], "score": [0.5]})}
    tables, note = stored.recall_or(tiny_study(tmp_path), "truth", live)
    assert tables is live and "python -m report store truth" in note
    s = keep(scores=live["scores"] * 2)
    tables, note = stored.recall_or(s, "truth", live)
    assert tables["scores"].score.tolist() == [1.0] and note.startswith("stored result of profile 'smoke'")
