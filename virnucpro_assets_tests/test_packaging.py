"""What is installed: ranges that the resolver is done with soon, and all files of the package."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from virnucpro_assets_tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
REQUIRED = sorted({*PROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra)})
TRIED = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE
    )
}
NOT_TRIED_HERE = {"flash-attn"}
"""It needs a GPU to be built."""


@pytest.mark.parametrize("line", REQUIRED)
def test_a_range_begins_at_the_release_that_was_tried(line: str) -> None:
    required = Requirement(line)
    lowest = [Version(one.version) for one in required.specifier if one.operator == ">="]
    assert len(lowest) == 1
    name = canonicalize_name(required.name)
    if name not in NOT_TRIED_HERE:
        assert TRIED[name] in required.specifier
        assert lowest[0].release[:2] == TRIED[name].release[:2]


def test_every_file_of_the_package_is_installed() -> None:
    package = REPOSITORY / "virnucpro_assets"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["virnucpro_assets"]
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    missing = [
        str(path.relative_to(package))
        for path in files
        if not any(fnmatch(path.name, Path(pattern).name) for pattern in patterns)
    ]
    assert len(files) > 20
    assert missing == []


def test_the_workspace_of_the_package_is_that_of_the_repository() -> None:
    own = REPOSITORY / "virnucpro_assets" / "defs" / "workspace.yaml"
    assert own.read_bytes() == (REPOSITORY / "workspace.yaml").read_bytes()
