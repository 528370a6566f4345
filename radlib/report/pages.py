"""The executed notebooks of a report as pages: self-contained HTML that reads on paper and on a telephone."""

from html import escape
from pathlib import Path
from typing import NamedTuple

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from radlib.store import atomic_path

SUMMARY = "07_summary"
STYLE = Path(__file__).with_name("page.css")


class Page(NamedTuple):
    """Where a notebook's page lies, and its first heading."""

    path: Path
    title: str


def write_pages(report: Path, study_title: str) -> list[Page]:
    """Write `pages/<notebook>.html` for every notebook of a report, and `index.html` from the summary.

    A page that is newer than its notebook and the style stays; pages without a notebook are removed.

    Args:
        report: the folder `reports/<study>`; its `notebooks/` are read.
        study_title: stands at the head of every page.
    """
    pages = []
    for source in sorted((report / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(source, as_version=4)
        page = Page(report / "pages" / f"{source.stem}.html", _title(notebook, source.stem))
        pages.append(page)
        if not _up_to_date(page.path, source):
            _write(page.path, html_of(notebook, page.title, study_title, home="../index.html"))
    for path in set((report / "pages").glob("*.html")) - {page.path for page in pages}:
        path.unlink()
    summary = report / "notebooks" / f"{SUMMARY}.ipynb"
    if summary.is_file():
        notebook = nbformat.read(summary, as_version=4)
        title = title_of(notebook) or study_title
        _write(report / "index.html", html_of(notebook, title, study_title, listed=pages, code=False))
    return pages


def _title(notebook: NotebookNode, stem: str) -> str:
    """The heading, with what the notebook was run for: `01_data-breast_us` is one of many."""
    subject = stem.partition("-")[2]
    return (title_of(notebook) or stem) + (f" ({subject})" if subject else "")


def title_of(notebook: NotebookNode) -> str:
    """The first heading, without its mark; "" where there is none."""
    lines = (line for c in notebook.cells if c.cell_type == "markdown" for line in c.source.splitlines())
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("# ")), "")


def html_of(
    notebook: NotebookNode,
    title: str,
    study_title: str,
    home: str = "",
    listed: list[Page] = (),
    code: bool = True,
) -> str:
    """One page: a contents list, prose, code, tables, and figures with alternative texts.

    Args:
        home: address of the study's first page, where this is another one.
        listed: pages that the contents list names after the headings.
        code: whether cells show their code.
    """
    exporter = HTMLExporter(template_name="basic", exclude_input=not code)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(notebook)
    soup = BeautifulSoup(body, "html.parser")
    for element in soup.find_all(["script", "style"]):
        element.decompose()
    _label_cells(soup)
    _describe_images(soup, title)
    headings = _links([(f"#{h['id']}", _text(h)) for h in soup.find_all("h2") if h.get("id")], "Contents")
    others = _links([(f"pages/{page.path.name}", page.title) for page in listed], "Notebooks")
    back = f' · <a href="{home}">the result on one page</a>' if home else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body>\n"
        f"<header>{escape(study_title)}{back}</header>\n{headings}<main>{soup}</main>\n{others}</body></html>\n"
    )


def _links(links: list[tuple[str, str]], label: str) -> str:
    items = "".join(f'<li><a href="{escape(href)}">{escape(text)}</a></li>' for href, text in links)
    return f'<nav aria-label="{label}"><ul>{items}</ul></nav>\n' if links else ""


def _label_cells(soup: BeautifulSoup) -> None:
    """On a narrow screen each cell of a table stands on a line of its own, behind its column's name."""
    for table in soup.find_all("table"):
        table.attrs = {}
        table.wrap(soup.new_tag("div", attrs={"class": "table"}))
        heads = [row.find_all(["th", "td"]) for row in table.select("thead tr")]
        # pandas names the columns of the index in a second row
        names = [max((_text(cell) for cell in column), key=len) for column in zip(*heads, strict=False)]
        for row in table.select("tbody tr"):
            cells = row.find_all(["th", "td"])
            # a cell that spans rows is missing from the left of those below
            for name, cell in zip(names[len(names) - len(cells) :], cells, strict=False):
                if name:
                    cell["data-label"] = name


def _describe_images(soup: BeautifulSoup, title: str) -> None:
    for image in soup.find_all("img"):
        heading = image.find_previous(["h1", "h2", "h3"])
        image["alt"] = f"Figure: {_text(heading) if heading else title}"


def _text(element: Tag) -> str:
    return element.get_text().replace("¶", "").strip()


def _up_to_date(page: Path, source: Path) -> bool:
    newest = max(path.stat().st_mtime for path in (source, STYLE, Path(__file__)))
    return page.is_file() and page.stat().st_mtime > newest


def _write(path: Path, html: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
