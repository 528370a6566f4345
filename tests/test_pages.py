"""Executed notebooks as pages: self-contained, labelled, and readable on a narrow screen."""

import re
import shutil
import subprocess

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from radlib.report.pages import write_pages

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
TABLE = """<table border="1">
<thead><tr><th></th><th>difference</th><th>low</th></tr><tr><th>task</th><th></th><th></th></tr></thead>
<tbody><tr><th rowspan="2">breast</th><td>0.1</td><td>0.0</td></tr><tr><td>0.2</td><td>0.3</td></tr></tbody>
</table>"""


CELLS = {f"c{n}": "+0.123" if n == 5 else [f"{n}1.4567", f"{n}2.4567"] for n in range(1, 16)}
WIDE = pd.DataFrame(CELLS, index=["a", "b"]).to_html()
LINKS = "From `05_auc#difference`, `auc.csv#row=7` and `moon.csv`; see `17_summary`."


@pytest.fixture
def report(tmp_path):
    outputs = [
        new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"}),
        new_output("display_data", {"text/html": f"<script>alert()</script>{TABLE}{WIDE}"}),
    ]
    cells = [
        new_markdown_cell("# The question"),
        new_markdown_cell("## What we see"),
        new_code_cell("show(" + "x" * 300 + ")", outputs=outputs, id="difference"),
        new_markdown_cell(LINKS),
    ]
    (tmp_path / "auc.csv").write_text("delta\n")
    (tmp_path / "notebooks").mkdir()
    for name in ("05_auc", "17_summary"):
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    write_pages(tmp_path, "A study")
    return tmp_path


def page(report, name: str) -> BeautifulSoup:
    return BeautifulSoup((report / name).read_text(), "html.parser")


def test_a_page_has_title_contents_alternative_texts_and_nothing_from_elsewhere(report):
    soup = page(report, "pages/05_auc.html")
    assert soup.title.string == soup.h1.get_text().strip("¶") == "The question"
    assert [a["href"] for a in soup.nav.find_all("a")] == [f"#{soup.h2['id']}"]
    assert soup.header.a["href"] == "../index.html"
    assert soup.img["alt"] == "Figure: What we see"
    assert not soup.find("script") and not soup.find("link")
    assert not re.search(r"(src|href)=\"(https?:)?//", str(soup))
    assert soup.find("pre")


def test_the_first_page_is_the_summary_without_code_and_leads_to_all_others(report):
    soup = page(report, "index.html")
    assert not soup.find("pre")
    for link in soup.find_all("a", href=re.compile("^pages/")):
        assert (report / link["href"].partition("#")[0]).is_file()
    assert soup.find("nav", attrs={"aria-label": "Notebooks"}).a["href"] == "pages/05_auc.html"
    assert not (report / "pages/17_summary.html").exists(), "the summary is one file"


def test_cells_carry_the_names_of_their_columns_below_a_cell_that_spans_rows_too(report):
    rows = page(report, "pages/05_auc.html").select("tbody tr")
    assert [c["data-label"] for c in rows[0].find_all(["th", "td"])] == ["task", "difference", "low"]
    assert [c["data-label"] for c in rows[1].find_all(["th", "td"])] == ["difference", "low"]


def test_what_is_named_is_linked_to_its_cell_and_line(report):
    soup, there = page(report, "index.html"), page(report, "pages/05_auc.html")
    links = {code.get_text(): code.a and code.a["href"] for code in soup.find_all("code")}
    assert links == {
        "05_auc#difference": "pages/05_auc.html#cell-id=difference", "auc.csv#row=7": "auc.csv#row=7",
        "moon.csv": None, "17_summary": None,
    }  # fmt: skip
    assert there.find(id="cell-id=difference").img
    links = [code.a["href"] for code in there.find_all("code") if code.a]
    assert links == ["../pages/05_auc.html#cell-id=difference", "../auc.csv#row=7", "../index.html"]


def test_a_wide_table_says_once_what_all_its_rows_say(report):
    table = page(report, "pages/05_auc.html").find("table", class_="wide")
    assert [len(row.find_all(["th", "td"])) for row in table.find_all("tr")] == [15, 15, 15]
    assert "c5" not in [cell.get_text() for cell in table.thead.find_all("th")]
    assert table.find_next_sibling("p").get_text() == "In every row: c5 +0.123."


def test_only_what_changed_is_written_again_and_pages_without_a_notebook_go(report):
    before = (report / "pages/05_auc.html").stat().st_mtime_ns
    (report / "pages/09_old.html").write_text("old")
    write_pages(report, "A study")
    assert (report / "pages/05_auc.html").stat().st_mtime_ns == before
    assert not (report / "pages/09_old.html").exists()


def test_a_page_follows_the_title_of_the_study_and_its_notebook_without_the_summary(report):
    """What ran again alone is shown as it is now; index.html is written by the stage that DVC knows of."""
    first = (report / "index.html").read_bytes()
    write_pages(report, "Another <study>", first=False)
    assert page(report, "pages/05_auc.html").header.get_text().startswith("Another <study> ")
    path = report / "notebooks" / "05_auc.ipynb"
    path.write_text(path.read_text().replace("What we see", "What we see now"))
    write_pages(report, "Another <study>", first=False)
    assert "What we see now" in page(report, "pages/05_auc.html").h2.get_text()
    assert (report / "index.html").read_bytes() == first


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium to draw the page with")
@pytest.mark.parametrize("width", [1200, 800, 390])
def test_nothing_is_wider_than_the_screen(report, tmp_path, width):
    """Neither the page nor a table in it; in a frame, for Chromium has no window below 500 px."""
    html = (report / "pages/05_auc.html").read_text()
    measure = """<script>
        const scrolls = [document.documentElement, ...document.querySelectorAll(".table")]
            .filter(box => box.scrollWidth > box.clientWidth).map(box => box.outerHTML.slice(0, 40))
        parent.postMessage(innerWidth + " " + scrolls.join(" "), "*")</script></body>"""
    (tmp_path / "page.html").write_text(html.replace("</body>", measure))
    (tmp_path / "frame.html").write_text(
        f"<iframe src=page.html style='width: {width}px; border: 0'></iframe>"
        "<script>onmessage = event => document.title = event.data</script>"
    )
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/user",
        "--allow-file-access-from-files", "--virtual-time-budget=4000", "--dump-dom",
        (tmp_path / "frame.html").as_uri(),
    ]  # fmt: skip
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert BeautifulSoup(drawn, "html.parser").title.string.split() == [str(width)]
