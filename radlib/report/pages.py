"""The executed notebooks of a report as pages: self-contained HTML that reads on paper and on a telephone.

What a page says in code or in a cell of a table and what is the name of another page or of a table of the
report, such as `07_dice`, `07_dice#difference` (a cell) or `dice.csv#row=7` (RFC 7111), leads there.
"""

from functools import cache
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import Environment, FileSystemLoader
from markupsafe import escape
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from radlib.store import atomic_path

SUMMARY = "17_summary"
MOST = 8  # columns; a table with more is set narrowly
_HERE = Path(__file__).parent
_PAGE = Environment(loader=FileSystemLoader(_HERE), autoescape=True).get_template("page.html.j2")
_BESIDE = ["params.yaml", "dvc.lock", "provenance.json", "results"]  # written once the study is done
_MADE_BY = [Path(__file__), _HERE / "page.html.j2", _HERE / "page.css"]


def write_pages(report: Path, study_title: str, first: bool = True) -> None:
    """Write `index.html` from the summary and `pages/<notebook>.html` for every other notebook of a report.

    A page of this title that is newer than its notebook and the style stays; pages without a notebook are
    removed.

    Args:
        report: the folder `reports/<study>`; its `notebooks/` are read.
        study_title: stands at the head of every page.
        first: `index.html` too.
    """
    notebooks = {path.stem: path for path in sorted((report / "notebooks").glob("*.ipynb"))}
    pages = {name: f"pages/{name}.html" for name in notebooks if name != SUMMARY}
    addresses = (
        {path.name: path.name for path in report.glob("*.csv")} | pages | {name: name for name in _BESIDE}
    )
    titles = {}
    for name, page in pages.items():
        notebook = nbformat.read(notebooks[name], as_version=4)
        titles[page] = _title(notebook, name)
        newest = max(path.stat().st_mtime for path in (notebooks[name], *_MADE_BY))
        old, head = report / page, f"<header>{escape(study_title)} "
        current = old.is_file() and old.stat().st_mtime > newest and head in old.read_text(encoding="utf-8")
        if not current:
            known = {SUMMARY: "../index.html"} | {word: f"../{to}" for word, to in addresses.items()}
            _write(report / page, notebook, titles[page], known, study=study_title)
    for path in set((report / "pages").glob("*.html")) - {report / page for page in pages.values()}:
        path.unlink()
    if first and SUMMARY in notebooks:
        notebook = nbformat.read(notebooks[SUMMARY], as_version=4)
        about = {"study": study_title, "first": True, "others": list(titles.items())}
        _write(report / "index.html", notebook, _title(notebook, study_title), addresses, **about)


def _title(notebook: NotebookNode, name: str) -> str:
    """The first heading, with what the notebook was run for: `01_data-breast_us` is one of many."""
    lines = [line for c in notebook.cells if c.cell_type == "markdown" for line in c.source.splitlines()]
    heading = next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), name)
    subject = name.partition("-")[2]
    return f"{heading} ({subject})" if subject else heading


def _write(path: Path, notebook: NotebookNode, title: str, addresses: dict[str, str], **about) -> None:
    """One page: a contents list, prose, tables, figures with alternative texts, and code but on the first.

    Args:
        addresses: name of a page or table -> where it lies, seen from here. about: of the template.
    """
    body, _ = _exporter(code="first" not in about).from_notebook_node(notebook)
    soup = BeautifulSoup(body, "html.parser")
    for element in soup.find_all(["script", "style"]):
        element.decompose()
    for table in soup.find_all("table"):
        _narrow(table, soup)
    for image in soup.find_all("img"):
        heading = image.find_previous(["h1", "h2", "h3"])
        image["alt"] = f"Figure: {_text(heading) if heading else title}"
    for element in soup.select("td, :not(pre) > code"):
        name, mark, place = _text(element).partition("#")
        if name in addresses:
            anchor = f"#{'' if name.endswith('.csv') else 'cell-id='}{place}" if mark else ""
            link = soup.new_tag("a", href=addresses[name] + anchor)
            link.extend(list(element.contents))
            element.append(link)
    headings = [(f"#{h['id']}", _text(h)) for h in soup.find_all("h2") if h.get("id")]
    with atomic_path(path) as temporary:
        html = _PAGE.render(title=title, headings=headings, body=str(soup), **about)
        temporary.write_text(html, encoding="utf-8")


@cache
def _exporter(code: bool) -> HTMLExporter:
    exporter = HTMLExporter(template_name="basic", exclude_input=not code)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    return exporter


def _narrow(table: Tag, soup: BeautifulSoup) -> None:
    """Cells carry their column's name, for on a narrow screen each stands on a line of its own.

    Of a table with many columns, those that say the same in every row become one sentence.
    """
    table.attrs = {}
    table.wrap(soup.new_tag("div", attrs={"class": "table"}))
    heads = [row.find_all(["th", "td"]) for row in table.select("thead tr")]
    # pandas names the columns of the index in a second row
    names = [max((_text(cell) for cell in column), key=len) for column in zip(*heads, strict=False)]
    rows = [row.find_all(["th", "td"]) for row in table.select("tbody tr")]
    for cells in rows:
        # a cell that spans rows is missing from the left of those below
        for name, cell in zip(names[len(names) - len(cells) :], cells, strict=False):
            if name:
                cell["data-label"] = name
    if len(names) <= MOST:
        return
    table["class"] = "wide"
    same = []
    for back, name in enumerate(reversed(names), 1):
        column = [cells[-back] for cells in rows if len(cells) >= back]
        if len(rows) > 1 and len({_text(cell) for cell in column}) == 1 and column[0].name == "td":
            same[:0] = [f"{name} {text}" for text in [_text(column[0])] if text]
            for cell in [*column, *(row[-back] for row in heads)]:
                cell.decompose()
    if same:
        sentence = soup.new_tag("p", attrs={"class": "same"})
        sentence.string = f"In every row: {'; '.join(same)}."
        table.insert_after(sentence)


def _text(element: Tag) -> str:
    return element.get_text().replace("¶", "").strip()
