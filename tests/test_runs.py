"""The run store: whole files or none, damage found, a full disk said."""

import errno
import shutil
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from radlib.errors import UserError
from radlib.store import atomic_path, load_run, save_run

PREDICTIONS = pd.DataFrame(
    {"image_id": [f"i{n}" for n in range(500)], "score": [n / 500 for n in range(500)]}
)


def test_run_comes_back_as_it_went(tmp_path):
    save_run(tmp_path / "a.parquet", {"val_loss": 0.25, "history": [{"epoch": 1}]}, PREDICTIONS)
    record, predictions = load_run(tmp_path / "a.parquet")
    assert record == {"val_loss": 0.25, "history": [{"epoch": 1}]}
    pd.testing.assert_frame_equal(predictions, PREDICTIONS)


def test_absent_run_is_none(tmp_path):
    assert load_run(tmp_path / "none.parquet") is None


@pytest.mark.parametrize("damage", ["cut", "emptied", "one byte changed", "not to be read"])
def test_damaged_run_is_said_and_forgotten(tmp_path, damage, capsys, monkeypatch):
    path = tmp_path / "a.parquet"
    save_run(path, {"val_loss": 0.25}, PREDICTIONS)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "emptied":
        content = bytearray()
    elif damage == "one byte changed":
        content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    if damage == "not to be read":
        monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    assert load_run(path) is None
    said = capsys.readouterr().out
    assert "damaged" in said and "computing it again" in said
    assert not path.exists()


def test_no_byte_of_a_stored_run_may_change(tmp_path, capsys):
    """Its end too, where Parquet keeps names and we the record, and of which Parquet has no checksum."""
    path = tmp_path / "a.parquet"
    save_run(path, {"val_loss": 0.25}, PREDICTIONS[:2])
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert load_run(path) is None, place


def test_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_sentence(tmp_path):
    for number in (errno.ENOSPC, errno.EDQUOT):
        with (
            pytest.raises(UserError, match="no space left on the disk that holds .*; free some"),
            atomic_path(tmp_path / "a.txt"),
        ):
            raise OSError(number, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_known_whatever_a_library_says_of_it(tmp_path, monkeypatch):
    """torch.save: `RuntimeError: unexpected pos`; safetensors: a SafetensorError. Neither has a number."""
    with pytest.raises(RuntimeError, match="unexpected pos"), atomic_path(tmp_path / "a.pt"):
        raise RuntimeError("unexpected pos 704 vs 598")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(UserError, match="no space left on the disk"), atomic_path(tmp_path / "a.pt"):
        raise RuntimeError("unexpected pos 704 vs 598")
