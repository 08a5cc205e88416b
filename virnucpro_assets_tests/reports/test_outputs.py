"""docs/outputs.md says what is in the files that a finished drop really has."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.reports.outputs import BEGIN, OUTPUTS, Output, with_outputs
from virnucpro_assets.storage.call_tables import READ_CALLS_FILE
from virnucpro_assets.storage.pair_calls import PAIR_CALLS_FILE, write_pair_calls
from virnucpro_assets_tests.results import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "outputs.md"


def test_the_documentation_has_every_column_with_its_meaning() -> None:
    page = PAGE.read_text()
    assert with_outputs(page) == page, "python -m virnucpro_assets.reports.outputs docs/outputs.md writes it"


def test_the_documentation_has_every_file_and_an_example_of_each_table() -> None:
    page = PAGE.read_text()
    assert [name for name in TABLES if f"`{name}`" not in page] == []
    for output in OUTPUTS:
        of_file = page.partition(f"### `{output.file}`")[2].partition("\n#")[0]
        rows = [line for line in of_file.splitlines() if line.startswith("| `")]
        examples = [row.split(" | ")[-1].strip("| ") for row in rows]
        assert len(examples) == len(output.columns)
        assert any(examples)


def test_examples_stay_with_their_columns_when_the_order_of_columns_changes() -> None:
    page = PAGE.read_text()
    lines = page.splitlines(keepends=True)
    begin = lines.index(BEGIN)
    first = next(number for number, line in enumerate(lines) if number > begin and line.startswith("| `"))
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    assert "".join(lines) != page
    assert with_outputs("".join(lines)) == page


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.file)
def test_the_columns_are_those_of_the_file(finished: DropWork, output: Output) -> None:
    if output.file == PAIR_CALLS_FILE:
        write_pair_calls(finished.folder.calls / READ_CALLS_FILE, finished.folder.calls / PAIR_CALLS_FILE)
    path = next(finished.folder.path.glob(f"*/{output.file}"))
    if output.schema is None:
        assert path.read_text().splitlines()[0].split("\t") == list(output.columns)
        return
    fields = list(pq.read_schema(path))
    assert [field.name for field in fields] == list(output.columns)
    assert [field.type for field in fields] == [field.type for field in output.schema]
    assert [field.nullable for field in fields] == [bool(column.null) for column in output.columns.values()]
