"""Which files there are, all of a folder or zip or those that a table names, and which are masks of others.

A mask is called as its image with _mask, _mask_1, _seg, _gt or _label behind, or lies in a folder `masks`
(`mask`, `labels`, `gt`, ...) beside it, with any image suffix in any case. What is called so is never taken
for an image.
"""

import os
import posixpath
import re
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from radlib.datasets.record import FileRef, Record, open_zip
from radlib.errors import UserError, explained, listed

_IMAGE = re.compile(r"\.(png|jpe?g|jpe|jfif|bmp|dib|tiff?|webp|gif|pgm|ppm|jp2|tga)")
_MASK = re.compile(
    r"(?P<image>.*?)(?P<joint>^|[ _.-])"
    r"(?:masks?(?:[ _-]?\(?(?P<number>\d+)\)?)?|seg|segmentation|gt|ground[ _-]?truth|label)",
    re.I,
)
_CALLED_IMAGE = re.compile(r"(?P<image>.*?)(?:^|[ _.-])(?:image|img|original|raw)", re.I)
_MASK_FOLDER = re.compile("masks?|seg|segmentations?|gt|groundtruth|labels?")
_IMAGE_FOLDER = re.compile("images?|imgs?")
# What systems and programs put beside one's files.
_HIDDEN = re.compile(r"\.|__MACOSX|@eaDir|(Thumbs\.db|desktop\.ini)$")


def list_all(path: Path, root: str = "") -> tuple[dict[str, FileRef], list[Record]]:
    """Files below `root` of a folder or zip, by their name relative to `root`, sorted; hidden ones left out.

    What else was seen comes as records to be dropped: links that lead nowhere or to a folder.

    Raises:
        UserError: no such folder, one that cannot be listed, or a damaged zip.
    """
    if not path.is_dir():
        return _zip_members(path, root), []
    base = path / root
    if not base.is_dir():
        raise UserError(f"no folder {base}; set option 'root' to the folder that holds the class folders")
    seen = [(name, FileRef(base, name), reason) for name, reason in sorted(_seen_in(base, ""))]
    dropped = [Record(name, None, None, ref, drop=reason) for name, ref, reason in seen if reason]
    return {name: ref for name, ref, reason in seen if not reason}, dropped


def _seen_in(base: Path, folder: str) -> Iterator[tuple[str, str]]:
    """Names below `base / folder`, each with why it cannot be used, "" for a file; no file is touched."""
    broken, remedy = (OSError, UnicodeEncodeError), "make it readable, and write names in UTF-8"
    with explained(broken, f"cannot list {base / folder}", remedy):
        for entry in os.scandir(base / folder):
            entry.name.encode()  # names of older systems, which archives bring, fit in no table
            if _HIDDEN.match(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _seen_in(base, f"{folder}{entry.name}/")
            else:
                yield folder + entry.name, _not_usable(entry)


def _not_usable(entry: os.DirEntry) -> str:
    if entry.is_file():
        return ""
    if entry.is_dir():
        return "a link to a folder, which is not followed; put the folder itself there"
    return "a link that leads nowhere; fetch the file" if entry.is_symlink() else "not an ordinary file"


def _zip_members(path: Path, root: str) -> dict[str, FileRef]:
    with explained(
        (OSError, zipfile.BadZipFile), f"{path} is neither a folder nor a whole zip", "unpack or replace it"
    ):
        names = [name for name in open_zip(path).namelist() if not name.endswith("/")]
    # Some programs of Windows write backslashes.
    members = {name.replace("\\", "/").lstrip("/"): name for name in names}
    if len(members) < len(names):
        raise UserError(f"{path} holds two files of one name; pack it again with each file once")
    prefix = f"{root.strip('/')}/" if root.strip("/") else ""
    inside = sorted(name.removeprefix(prefix) for name in members if name.startswith(prefix))
    if not inside:
        tops = sorted({name.split("/")[0] for name in members})
        raise UserError(f"{path} holds nothing below '{root}'; set option 'root'; it starts with: {tops[:5]}")
    shown = [name for name in inside if not any(map(_HIDDEN.match, name.split("/")))]
    return {name: FileRef(path, members[prefix + name]) for name in shown}


def no_image(name: str) -> str:
    """Why a file is none, for counts by reason: "not an image file (.txt)"."""
    suffix = PurePosixPath(name).suffix.lower()
    return f"not an image file ({suffix if suffix[1:].isalpha() else 'no ending'})"


def left_out(reasons: Iterable[str]) -> str:
    """How much is not used, by reason: "; 2 left out: not an image file (.txt)"."""
    counted = sorted(Counter(reasons).items())
    return "".join(f"; {count} left out: {reason}" for reason, count in counted)


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image; UserError for DICOM, which must be exported first."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in {".dcm", ".dicom"}:
        raise UserError(f"{name} is DICOM, which is not read directly; export the images to PNG first")
    return _IMAGE.fullmatch(suffix) is not None


def below(root: Path, names: Iterable[str], where: Path) -> list[FileRef]:
    """The files that the table `where` names below `root`.

    Every folder is listed once and no file is touched, so that a million names cost seconds. A name that is
    not there as it is written stands for the one file that differs in case, Unicode form, backslashes or a
    missing ending alone.

    Raises:
        UserError: a name that leaves `root`, that fits several files, or files that are not there.
    """
    refs, held, absent, index = [], {}, [], None
    for name in names:
        folder, file = posixpath.split(name)
        if folder not in held:
            if folder.startswith("/") or ".." in folder.split("/"):
                raise UserError(f"'{name}' points outside {root}; list only files below that folder")
            here = root / folder
            held[folder] = frozenset(os.listdir(here) if here.is_dir() else ())  # noqa: PTH208 (strings are cheap)
        if file not in held[folder]:
            index = _alike(root) if index is None else index
            fitting = index.get(_folded(name), [])
            if len(fitting) > 1:
                raise UserError(f"{where} names {name}, which fits {listed(fitting)}; write one of them")
            absent += [] if fitting else [name]
            name = fitting[0] if fitting else name
        refs.append(FileRef(root, name))
    if absent:
        raise UserError(
            f"{where} names {listed(absent, most=1)}, but there is no file {root / absent[0]}; correct the "
            "names, add the files or delete the rows"
        )
    return refs


def _alike(root: Path) -> dict[str, list[str]]:
    """The files below `root` by their folded names, with and without the ending."""
    index: dict[str, list[str]] = {}
    for name in list_all(root)[0] if root.is_dir() else ():
        for key in {_folded(name), _folded(name.removesuffix(PurePosixPath(name).suffix))}:
            index.setdefault(key, []).append(name)
    return index


def _folded(name: str) -> str:
    """A name without what other systems and programs change in it."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./")).casefold()


def split_masks(names: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The masks of each image, `{image: [masks]}`, and the masks that have no image.

    Args:
        names: image files with their folders, of which the first is a class (`ill/masks/1.png`).
    Raises:
        UserError: a mask that fits several images.
    """
    images, masks, partners, orphans = defaultdict(list), [], {}, []
    for name in names:
        place, stems, is_mask = _place(name)
        if is_mask:
            masks.append((name, place, stems))
            continue
        partners[name] = []
        for stem in stems:
            images[place, stem].append(name)
    for name, place, stems in masks:
        fitting = [image for stem in stems for image in images[place, stem]]
        if len(fitting) > 1:
            raise UserError(f"{name} is the mask of {fitting[0]} or of {fitting[1]}; rename one of these")
        (partners[fitting[0]] if fitting else orphans).append(name)
    return partners, orphans


def _place(name: str) -> tuple[tuple[str, ...], list[str], bool]:
    """Folders without those that only say what lies in them, stems of the image, and whether it is a mask."""
    top, *inner = name.lower().split("/")[:-1] or [""]
    stem = PurePosixPath(name.lower()).stem
    others = [folder for folder in inner if not _MASK_FOLDER.fullmatch(folder)]
    place = (top, *(folder for folder in others if not _IMAGE_FOLDER.fullmatch(folder)))
    if called := _MASK.fullmatch(stem):
        # P1_mask_2 is the second mask of P1, or the mask of P1_2.
        image, joint, number = called["image"], called["joint"] or "_", called["number"]
        return place, [image, f"{image}{joint}{number}"] if number else [image], True
    if len(others) < len(inner):
        return place, [stem], True
    called = _CALLED_IMAGE.fullmatch(stem)
    return place, [stem, called["image"]] if called else [stem], False
