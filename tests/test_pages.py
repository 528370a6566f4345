"""Executed notebooks as pages: self-contained, labelled, and readable on a narrow screen."""

import re
import shutil
import subprocess

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from radlib.report.pages import write_pages

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
TABLE = """<table border="1">
<thead><tr><th></th><th>difference</th><th>low</th></tr><tr><th>task</th><th></th><th></th></tr></thead>
<tbody><tr><th rowspan="2">breast</th><td>0.1</td><td>0.0</td></tr><tr><td>0.2</td><td>0.3</td></tr></tbody>
</table>"""


@pytest.fixture
def report(tmp_path):
    outputs = [
        new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}),
        new_output("display_data", {"text/html": f"<script>alert()</script>{TABLE}", "text/plain": "table"}),
    ]
    cells = [
        new_markdown_cell("# The question"),
        new_markdown_cell("## What we see"),
        new_code_cell("show(" + "x" * 300 + ")", outputs=outputs),
    ]
    (tmp_path / "notebooks").mkdir()
    for name in ("04_auc", "07_summary"):
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    write_pages(tmp_path, "A study")
    return tmp_path


def page(report, name: str) -> BeautifulSoup:
    return BeautifulSoup((report / name).read_text(), "html.parser")


def test_a_page_has_title_contents_alternative_texts_and_nothing_from_elsewhere(report):
    soup = page(report, "pages/04_auc.html")
    assert soup.title.string == soup.h1.get_text().strip("¶") == "The question"
    assert [a["href"] for a in soup.nav.find_all("a")] == [f"#{soup.h2['id']}"]
    assert soup.img["alt"] == "Figure: What we see"
    assert not soup.find("script") and not soup.find("link")
    assert not re.search(r"(src|href)=\"(https?:)?//", str(soup))
    assert soup.find("pre")


def test_the_first_page_is_the_summary_without_code_and_leads_to_all_others(report):
    soup = page(report, "index.html")
    assert not soup.find("pre")
    for link in soup.find_all("a", href=re.compile("^pages/")):
        assert (report / link["href"]).is_file()
    assert [a["href"] for a in soup.find_all("a", href=re.compile("^pages/"))] == ["pages/04_auc.html"]
    assert not (report / "pages/07_summary.html").exists(), "the summary is one file"


def test_cells_carry_the_names_of_their_columns_below_a_cell_that_spans_rows_too(report):
    rows = page(report, "pages/04_auc.html").select("tbody tr")
    assert [c["data-label"] for c in rows[0].find_all(["th", "td"])] == ["task", "difference", "low"]
    assert [c["data-label"] for c in rows[1].find_all(["th", "td"])] == ["difference", "low"]


def test_only_what_changed_is_written_again_and_pages_without_a_notebook_go(report):
    before = (report / "pages/04_auc.html").stat().st_mtime_ns
    (report / "pages/09_old.html").write_text("old")
    write_pages(report, "A study")
    assert (report / "pages/04_auc.html").stat().st_mtime_ns == before
    assert not (report / "pages/09_old.html").exists()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium to draw the page with")
@pytest.mark.parametrize("width", [1200, 500])
def test_nothing_is_wider_than_the_screen(report, tmp_path, width):
    html = (report / "pages/04_auc.html").read_text()
    measure = (
        "<script>document.title = document.documentElement.scrollWidth + ' ' + innerWidth</script></body>"
    )
    (tmp_path / "page.html").write_text(html.replace("</body>", measure))
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/user",
        f"--window-size={width},900", "--dump-dom", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    wide, screen = map(int, BeautifulSoup(drawn, "html.parser").title.string.split())
    assert wide <= screen <= width
