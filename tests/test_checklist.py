"""Every cell that docs/checklist.md sends a reviewer to exists."""

import re

import nbformat
import pytest

from tests.conftest import REPOSITORY

CHECKLIST = (REPOSITORY / "docs" / "checklist.md").read_text()
SECTION = CHECKLIST.split("checklist\n")[1]
ROWS = [line for line in SECTION.splitlines() if line.startswith("| ") and '`, "' in line]


def headings(notebook: str) -> set[str]:
    cells = nbformat.read(REPOSITORY / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    lines = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    return {line.lstrip("#").strip() for line in lines if re.match("#+ ", line)}


def places(row: str) -> list[tuple[str, str]]:
    """(notebook, heading) of the row's last column."""
    where = row.strip("| ").split(" | ")[-1]
    found = []
    for notebook, quoted in re.findall(r"`(\d\d_\w+)`,((?: (?:and )?\"[^\"]+\")+)", where):
        found += [(notebook, heading) for heading in re.findall(r"\"([^\"]+)\"", quoted)]
    assert len(found) == where.count('"') / 2, f"cannot be read: {where}"
    return found


def test_no_line_is_without_a_place():
    table = [line for line in SECTION.splitlines() if line.startswith("| ")]
    assert table[1:] == ROWS and len(ROWS) > 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_the_checklist_points_at_cells_that_exist(row):
    assert places(row)
    for notebook, heading in places(row):
        assert heading in headings(notebook), f"{notebook} has no heading '{heading}'"
