"""Model files from the Hugging Face hub, or a mirror of it, at one commit.

The hub lists the files of the commit with their digests; the files of the model are fetched into a folder, resuming
interrupted downloads; then each is read and its digest compared, first with the recorded one, then with the listing.
Only this module uses the network, and only `virnucpro models fetch` calls it.

The library's `hf_hub_download` resumes after a lost connection, but not a file of an earlier process. So files are
fetched with the function that it uses, `http_get`, into a file that the next process finds.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoSibling

from virnucpro_assets import __version__
from virnucpro_assets.errors import InputError, IntegrityError, VirnucproError, counted, excerpt
from virnucpro_assets.files.atomic import sync_folder
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.encoders import TOKENIZER_FILE
from virnucpro_assets.models.folders import CONFIG_FILE
from virnucpro_assets.models.hugging_face import SAFETENSORS, TORCH, VOCABULARY_FILE

COMMIT = re.compile(r"[0-9a-f]{40}")
UNFINISHED = ".unfinished"


class HubError(VirnucproError):
    """The hub cannot be reached, or does not return a file."""


def fetch_files(
    repository: str,
    revision: str,
    folder: Path,
    *,
    endpoint: str,
    token: str | None = None,
    sha256: Mapping[str, str] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Fetch the files of a model at a commit into `folder` and verify each.

    `sha256` has the recorded digests of files. Each file is reported when its download starts; on a terminal the
    library shows its progress. Raises InputError for an unknown repository or commit, HubError if the hub fails, and
    IntegrityError for a file with another digest, which is removed, or, before anything is fetched, for a file
    without any digest to compare with.
    """
    require_commit(repository, revision)
    endpoint = endpoint.rstrip("/")
    api = HfApi(endpoint=endpoint, token=token or False)
    try:
        info = api.model_info(repository, revision=revision, files_metadata=True)
        listed = {sibling.rfilename: sibling for sibling in info.siblings or []}
        chosen = _chosen(repository, listed)
        _require_digests(endpoint, repository, [listed[name] for name in chosen], sha256 or {})
        headers = {"user-agent": f"virnucpro-assets/{__version__}"}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        paths = []
        for name in chosen:
            url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
            paths.append(_fetch(url, folder / name, headers, listed[name].size, report))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise InputError(
            f"{endpoint}, {repository} at {revision}",
            found=_first_line(error),
            expected="a repository and one of its commits",
            advice="Check both names, and HF_TOKEN if the repository is not public.",
        ) from error
    except (HfHubHTTPError, HTTPError, _ShortFileError, ConnectionError) as error:
        raise HubError(
            f"{endpoint}, {repository}: found {_first_line(error)}; expected the model's files. Check the network "
            "and HF_ENDPOINT, and fetch again: finished files are kept."
        ) from error
    for path in paths:
        _verify(path, listed[path.name], (sha256 or {}).get(path.name))
    return paths


def require_commit(repository: str, revision: str) -> None:
    """Raise InputError unless `revision` is a commit."""
    if not COMMIT.fullmatch(revision):
        raise InputError(
            repository,
            found=f"the revision {revision!r}",
            expected="a commit, 40 hexadecimal digits: a branch or a tag may be another model tomorrow",
            advice="Give --revision; the page of the repository's files shows its commits.",
        )


class _ShortFileError(Exception):
    """A download is shorter or longer than the file."""


def _fetch(
    url: str, target: Path, headers: dict[str, str], size: int | None, report: Callable[[str], None]
) -> Path:
    """Fetch `url`, or its missing part, to `target`, unless that exists."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + UNFINISHED)
    with unfinished.open("ab") as stream:
        if size is not None and stream.tell() > size:
            stream.truncate(0)
        resumed = f", {counted(stream.tell(), 'byte')} of it already there" if stream.tell() else ""
        whole = "" if size is None else f", {counted(size, 'byte')}"
        report(f"fetching {target.name}{whole}{resumed}")
        try:
            http_get(
                url,
                stream,
                resume_size=stream.tell(),
                headers=headers,
                expected_size=size,
                displayed_filename=target.name,
            )
        except OSError as error:
            # The library's error about a size has no errno, errors of the system have one.
            if error.errno is not None or isinstance(error, HfHubHTTPError):
                raise
            raise _ShortFileError(str(error)) from error
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.rename(target)
    sync_folder(target.parent)
    return target


def _chosen(repository: str, listed: Mapping[str, RepoSibling]) -> list[str]:
    """The files of the model: config, tokens, and one form of the weights."""
    small = [name for name in (CONFIG_FILE, VOCABULARY_FILE, TOKENIZER_FILE) if name in listed]
    for name in (SAFETENSORS, TORCH):
        if name in listed:
            return [*small, name]
        if (index := f"{name}.index.json") in listed:
            stem, suffix = name.split(".")
            shards = [one for one in listed if re.fullmatch(rf"{stem}-\d+-of-\d+\.{suffix}", one)]
            return [*small, index, *sorted(shards)]
    raise InputError(
        repository,
        found=f"neither {SAFETENSORS} nor {TORCH} among its files",
        expected="a repository with weights of an encoder",
        advice="Choose another repository or commit.",
    )


def _require_digests(
    endpoint: str, repository: str, files: Sequence[RepoSibling], known: Mapping[str, str]
) -> None:
    """Raise IntegrityError if there is no digest of one of the files."""
    unlisted = [
        file.rfilename
        for file in files
        if file.rfilename not in known and not (file.lfs.sha256 if file.lfs else file.blob_id)
    ]
    if unlisted:
        raise IntegrityError(
            f"{endpoint}, {repository}",
            found=f"no digest of {', '.join(unlisted)} in the listing",
            expected="one of each file, because nothing else shows whether it is the published file",
            advice="Fetch from another mirror (HF_ENDPOINT), or import the files and look at their digests yourself.",
        )


def _verify(path: Path, listed: RepoSibling, known: str | None) -> None:
    """Compare with the recorded digest and with that of the hub: SHA-256, for small files git's own digest."""
    found = sha256_of_file(path)
    if known is not None and found != known:
        _refuse(path, found, known, "as it was published")
    if listed.lfs is not None and listed.lfs.sha256:
        if found != listed.lfs.sha256:
            _refuse(path, found, listed.lfs.sha256, "as the hub lists it")
    elif listed.lfs is None and listed.blob_id:
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        if blob != listed.blob_id:
            _refuse(path, f"git's digest {blob}", listed.blob_id, "as the hub lists it")


def _refuse(path: Path, found: str, expected: str, meaning: str) -> None:
    path.unlink()
    raise IntegrityError(
        path,
        found=f"digest {found}",
        expected=f"{expected}, {meaning}",
        advice="The file was removed: fetch again, from another mirror if it happens again.",
    )


def _first_line(error: Exception) -> str:
    return excerpt((str(error).strip() or type(error).__name__).splitlines()[0]).rstrip(".")
