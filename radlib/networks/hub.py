"""Where the file of published weights comes from: a folder, or huggingface.co, from which it is fetched once.

`reports/<study>/weights/<checkpoint>.json` records what was fetched and goes with the report. A later fetch,
on any machine, is of the recorded commit, and must have the recorded digest.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import timm
from huggingface_hub import DryRunFileInfo, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from humanize import naturalsize
from timm.models import get_pretrained_cfg

from radlib.errors import UserError, explained
from radlib.store import write_json
from radlib.study import Study
from radlib.study.datasets import Checkpoint

# Nothing but the named files is fetched: no list of programs to count them by, no counting.
constants.HF_HUB_DISABLE_TELEMETRY = True
# What to do where a repository does not give a file; the first that fits, so gated before not found.
_REMEDIES = {
    GatedRepoError: "accept its terms on {page}, then type hf auth login, or set HF_TOKEN",
    RepositoryNotFoundError: "there is no such repository, or it is private: mend {key}, or set HF_TOKEN",
    RevisionNotFoundError: "it has no revision '{revision}': name one of those on {page}",
    LocalEntryNotFoundError: "{server} was not reached: connect once, set HF_ENDPOINT to a mirror, or put "
    "the file into a folder and name it by path",
    EntryNotFoundError: "it has no such file: name one of those on {page}",
}


class Address(NamedTuple):
    """Where a file is published."""

    repository: str
    revision: str
    file: str

    def __str__(self) -> str:
        return f"{self.file} of {self.repository} (revision {self.revision})"


def timm_config(backbone: str, tag: str):
    """What timm knows of the weights of a tag; UserError where it has none."""
    try:
        return get_pretrained_cfg(f"{backbone}.{tag}", allow_unregistered=False)
    except RuntimeError as exc:
        known = ", ".join(timm.list_pretrained(f"{backbone}.*")) or f"none of {backbone}"
        raise UserError(f"timm has no weights '{backbone}.{tag}'; there are: {known}") from exc


def address_of(checkpoint: Checkpoint, backbone: str) -> Address:
    """Where a checkpoint with `hub` or `tags` is published."""
    if checkpoint.hub:
        return Address(checkpoint.hub, checkpoint.revision, checkpoint.files[backbone])
    config = timm_config(backbone, checkpoint.tags[backbone])
    if not config.hf_hub_id:
        raise UserError(
            f"timm keeps the weights '{backbone}.{checkpoint.tags[backbone]}' outside huggingface.co; fetch "
            f"them from {config.url} and name the file by path and files"
        )
    return Address(config.hf_hub_id, "main", config.hf_hub_filename or constants.SAFETENSORS_SINGLE_FILE)


def weights_file(study: Study, name: str, backbone: str) -> tuple[Path, dict]:
    """The file of a backbone, and what is known of it: its address, commit, SHA-256 and size in bytes.

    It lies in the checkpoint's folder, or in the store of huggingface_hub; else it is fetched, and recorded.

    Raises:
        UserError: it is missing, cannot be fetched, or has another digest than the recorded or stated one.
    """
    checkpoint, record = study.checkpoints[name], study.fetched_record(name)
    path = located(study, name, backbone)
    wanted = {f"checkpoints.{name}.sha256": checkpoint.sha256.get(backbone)}
    if not checkpoint.fetched:
        return path, {"file": path.name, **_digest(path, wanted)}
    address, _, known = _recorded(study, name, backbone)
    path = path or Path(_asked(address, known, f"checkpoints.{name}"))
    facts = {"address": list(address), **_digest(path, {str(record): known.get("sha256"), **wanted})}
    if not known:
        if path != study.checkpoint_file(name, backbone):
            # .../snapshots/<commit>/<file>
            facts["commit"] = path.parents[len(Path(address.file).parts) - 1].name
        # Read anew, for fetching takes minutes, and another process may have recorded others.
        _, entries, _ = _recorded(study, name, backbone)
        write_json({**entries, backbone: facts}, record)
    return path, {**known, **facts}


def located(study: Study, name: str, backbone: str) -> Path | None:
    """The file in the checkpoint's folder, or of the recorded commit in the store of huggingface_hub.

    None where it must be fetched; UserError where somebody must put it into the folder.
    """
    checkpoint, path = study.checkpoints[name], study.checkpoint_file(name, backbone)
    if checkpoint.path and path.is_file():
        return path
    if checkpoint.fetched:
        address, _, known = _recorded(study, name, backbone)
        found = try_to_load_from_cache(address.repository, address.file, revision=known.get("commit"))
        return Path(found) if "commit" in known and isinstance(found, str) else None
    fetch = f"fetch it{f' from {checkpoint.url}' if checkpoint.url else ''} and put it there"
    raise UserError(
        f"no weights of checkpoint '{name}' for {backbone} at {checkpoint.path}/"
        f"{checkpoint.file_of(backbone)}; {fetch} (make study RAW=/folder/with/downloads links a folder as "
        f"data/raw), or take {backbone} out of checkpoints.{name} in params.yaml"
    )


def _recorded(study: Study, name: str, backbone: str) -> tuple[Address, dict, dict]:
    """Where a file is published, what was recorded of all files, and of it when it came from there."""
    address, record = address_of(study.checkpoints[name], backbone), study.fetched_record(name)
    with explained(ValueError, f"{record} cannot be read", "restore it, or delete it to fetch anew"):
        entries = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    known = entries.get(backbone, {})
    return address, entries, known if known.get("address") == list(address) else {}


def announced(study: Study, name: str, backbone: str) -> str:
    """What fetching a file would take, as its server says; UserError where it cannot be fetched."""
    address, _, known = _recorded(study, name, backbone)
    size = _asked(address, known, f"checkpoints.{name}", dry_run=True).file_size
    return f"make study fetches {address}, {naturalsize(size or 0)}"


def _asked(address: Address, known: dict, key: str, dry_run: bool = False) -> str | DryRunFileInfo:
    """The file, fetched with a bar, or what is known of it; of the recorded commit, where there is one."""
    try:
        revision = known.get("commit", address.revision)
        return hf_hub_download(address.repository, address.file, revision=revision, dry_run=dry_run)
    except (OSError, HTTPError, EntryNotFoundError) as exc:
        # "Not found locally" may have a reason of its own.
        kinds = [kind for one in (exc.__cause__, exc) for kind in _REMEDIES if isinstance(one, kind)]
        server = f"{'HF_HUB_OFFLINE is set, so ' if constants.HF_HUB_OFFLINE else ''}{constants.ENDPOINT}"
        values = {"page": f"{constants.ENDPOINT}/{address.repository}", "key": f"{key}.hub"}
        values |= {"revision": address.revision, "server": server}
        said = _REMEDIES[kinds[0]].format(**values) if kinds else str(exc).split("\n")[0]
        raise UserError(f"{key}: {address} cannot be fetched; {said}") from exc


def _digest(path: Path, wanted: dict[str, str | None]) -> dict:
    """SHA-256 and size of a file; UserError where what stands somewhere, by its place, is another digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for where, other in wanted.items():
        if other and other != digest:
            raise UserError(
                f"{path} has the SHA-256 {digest[:16]}..., and {where} says {other[:16]}...: these are other "
                f"weights; delete the file to fetch it again, or what {where} says to take them"
            )
    return {"sha256": digest, "bytes": path.stat().st_size}
