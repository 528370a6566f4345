"""The run store: whole files or none, damage found, a full disk said."""

import errno

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


@pytest.mark.parametrize("damage", ["cut", "emptied", "one byte changed"])
def test_damaged_run_is_said_and_forgotten(tmp_path, damage, capsys):
    path = tmp_path / "a.parquet"
    save_run(path, {"val_loss": 0.25}, PREDICTIONS)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "emptied":
        content = bytearray()
    else:
        content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    assert load_run(path) is None
    said = capsys.readouterr().out
    assert "damaged" in said and "computing it again" in said
    assert not path.exists()


def test_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_sentence(tmp_path):
    with (
        pytest.raises(UserError, match="no space left on the disk that holds .*; free some"),
        atomic_path(tmp_path / "a.txt"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
