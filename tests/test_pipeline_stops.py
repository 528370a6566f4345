"""A notebook that stops. In a file of its own, so that it runs beside the whole study of test_pipeline."""

from tests.test_pipeline import call, copy_repository


def test_notebook_that_stops_prints_one_sentence(tmp_path):
    folder = copy_repository(tmp_path / "copy")
    call(folder, "python", "-m", "radlib.run", "choose", "--study", "smoke")
    output = call(folder, "python", "-m", "radlib.run", "notebook", "03_transfer", "task=breast_us", code=1)
    assert "Stopped: dataset 'breast_us' is not prepared" in output
    assert "Traceback" not in output
    assert not (folder / "reports" / "smoke" / "notebooks" / "03_transfer-breast_us.ipynb").exists()
