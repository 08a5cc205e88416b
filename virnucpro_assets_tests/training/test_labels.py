"""Tables of labels, and from which genome a read is."""

from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.training.labels import LabelledDrop, keep_labels, read_labels


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("lambda:1-9000", "lambda"),
        ("NC_001416.1", "NC_001416.1"),
        ("read7/1", "read7"),
        ("read7/2", "read7"),
        ("lambda:1-300/2", "lambda"),
        (":odd", ":odd"),
        ("/1", "/1"),
    ],
)
def test_the_name_of_a_read_tells_its_source(name, source):
    assert LabelledDrop(drop="d", label="virus").source_of(name, "names") == source


def test_the_table_or_the_drop_can_say_it_instead():
    assert LabelledDrop(drop="d", label="virus", source="phage").source_of("a:1", "names") == "phage"
    assert LabelledDrop(drop="d", label="virus", source="phage").source_of("a:1", "drops") == "phage"
    assert LabelledDrop(drop="d", label="virus").source_of("a:1", "drops") == "d"


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    rows = [LabelledDrop(drop="a", label="virus", source="x y"), LabelledDrop(drop="b", label="others")]
    path = keep_labels(tmp_path, rows)
    assert path.read_text() == "drop\tlabel\tsource\na\tvirus\tx y\nb\tothers\t\n"
    assert read_labels(path) == rows


def test_a_table_that_is_kept_is_never_replaced_by_that_of_another_training(tmp_path: Path):
    ours = [LabelledDrop(drop="a", label="virus"), LabelledDrop(drop="b", label="others")]
    others = [LabelledDrop(drop="b", label="virus"), LabelledDrop(drop="a", label="others")]
    paths = [keep_labels(tmp_path, rows) for rows in (ours, others, ours)]
    assert paths[0] == paths[2] != paths[1]
    assert [read_labels(path) for path in paths] == [ours, others, ours]


def test_the_column_source_may_be_missing_and_lines_may_be_blank(tmp_path: Path):
    (tmp_path / "t.tsv").write_text("drop\tlabel\na\tvirus\n\nb\tothers\n")
    assert read_labels(tmp_path / "t.tsv") == [
        LabelledDrop(drop="a", label="virus"),
        LabelledDrop(drop="b", label="others"),
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "line 1: found nothing"),
        ("drop,label\n", "line 1: found 'drop,label'; expected drop, label and source, separated by tabs"),
        ("drop\tlabel\na\tphage\n", "line 2: found label 'phage'; expected virus or others"),
        ("drop\tlabel\na\n", "line 2: found 1 field; expected 2, separated by tabs"),
        ("drop\tlabel\na\tvirus\tx\n", "line 2: found 3 fields; expected 2, separated by tabs"),
        (
            "drop\tlabel\na\tvirus\na\tothers\n",
            "line 3: found drop a, which line 2 has too; expected each drop once",
        ),
        ("drop\tlabel\n../a\tvirus\n", "drop key, '../a': found a name of 4 characters that does not fit"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_line(tmp_path: Path, content, complaint):
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(InputError) as error:
        read_labels(tmp_path / "t.tsv")
    assert complaint in str(error.value)
