"""Photographs in folders, and the tables on them: who is on each, what is said of them, where their eyes are.

Two layouts: `root/<identity>/<image file>` (LFW, VGGFace2), or all files side by side with tables (CelebA, FairFace).
"""

import hashlib
import io
import json
import math
import os
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image, ImageOps
from skimage.transform import SimilarityTransform, warp
from tqdm import tqdm

# Only formats that Pillow decodes by itself: others start outside programs or are not photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
# Left behind by file managers. Names that begin with a dot are skipped as well.
SKIPPED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
# Folders that are no people where a root holds no others: parts of a set, and torchvision's folders of images.
PARTS = frozenset({"train", "val", "test", "img_align_celeba", "lfw_funneled", "lfw-deepfunneled"})
# Fewer source pixels than this along the shorter side show no recognisable face or object.
SMALLEST_SIDE = 16
GENDERS = {"female": ("female", "f", "woman", "w", "girl"), "male": ("male", "m", "man", "boy")}
EYES = ("left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y")
# Where the eyes lie in an aligned face: shares of its side. So brows, chin and some hair are in it.
EYES_APART, EYES_BELOW_TOP = 0.36, 0.42
SHOWN = 50
WORKERS = min(4, os.cpu_count() or 1)

Problems = list[tuple[str, str]]  # path and reason


class FolderError(ValueError):
    """Everything that is wrong with a folder of images at once: `problems` lists (path, reason)."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = _lines(problems, SHOWN, "all in the error's `problems`")
        super().__init__(f"{count} in {label(root)}; mend or remove:\n" + lines)


def list_images(
    root: str | Path,
    tables: Sequence[str | Path] = (),
    attributes: Sequence[str] = (),
    landmarks: str | Path | None = None,
) -> pd.DataFrame:
    """The images of a folder, in order of name, and what tables say of them; decodes nothing.

    Who is on an image is said by its folder. Files that lie side by side in `root` (or in `train`, `val` and `test`)
    are of whom the tables say; where no table has a column `identity`, each file is a person of its own.
    `tables`, as `read_table` takes them, say something of a file (column `file`), or of all files of a person
    (`identity` alone). `attributes` are the columns that have to be known of every image; `gender` is read where there
    is such a column. `landmarks` is a table of eyes, in pixels: `file` and EYES, or CelebA's.

    Returns a row per image: `name` (path below `root`), `identity`, `path`, a column for each attribute (text), and
    EYES where landmarks are given. `attrs["left_out"]` lists (name, reason) of files and folders that cannot be read,
    lie at a wrong place or lack an attribute or eyes.

    Raises FolderError, a ValueError, for folders or rows that contradict one another; ValueError for no images, an
    unusable table or an attribute in none of them.
    """
    root = Path(root)
    images, left_out = _scan(root)
    read = {Path(table): read_table(table) for table in tables}
    in_folder = images.identity != ""
    if len(images) and not in_folder.any():
        if not read:
            raise ValueError(
                f"the files of {label(root)} are in no identity folders; a table has to say whose they are"
            )
        whose = {path: table for path, table in read.items() if {"file", "identity"} <= set(table)}
        images["identity"] = _said(images, whose, "identity", root) if whose else images.name
    gender = ["gender"] if any("gender" in table for table in read.values()) else []
    for column in dict.fromkeys([*attributes, *gender]):
        holding = {path: table for path, table in read.items() if column in table}
        if not holding:
            there = sorted({str(name) for table in read.values() for name in table} - {"file", "identity"})
            here = f"{some(there) or 'no others'} in {some(map(label, read))}" if read else "no tables"
            raise ValueError(f"no table has the column {column!r}; there are {here}")
        images[column] = _said(images, holding, column, root)
    eyes = {} if landmarks is None else {Path(landmarks): read_table(landmarks)}
    for column in EYES if eyes else ():
        if missing := set(EYES) - set(*eyes.values()):
            raise ValueError(
                f"the landmark table {label(Path(landmarks or ''))} lacks {', '.join(sorted(missing))}"
            )
        images[column] = pd.to_numeric(_said(images, eyes, column, root), errors="coerce")
    for column in ("identity", *attributes, *(EYES if eyes else ())):
        unknown = images[column].isna()
        left_out += [(name, f"no {column} in the tables") for name in images.name[unknown]]
        images = images[~unknown]
    if not len(images):
        why = "\n" + _lines(left_out, 5, "") if left_out else ""
        raise ValueError(f"no images in {label(root)}; expected root/<identity>/<image file>{why}")
    images = images.reset_index(drop=True)
    if gender and images.gender.isna().any():
        del images["gender"]  # which no task needs
    images.attrs = {"root": label(root), "left_out": left_out}
    return images


def read_images(images: pd.DataFrame, size: int, crop: int | None = None) -> xr.Dataset:
    """Read images, listed as by `list_images`, as square RGB images of `size` pixels.

    `crop` is the side, in source pixels, of the central square that is kept (after turning the picture as its EXIF
    says); None keeps the largest. Where eyes are listed, the face is turned and cut so that they lie EYES_APART of the
    side apart and EYES_BELOW_TOP of it below the top (what lies beyond the picture repeats its edge), and `crop` is not
    used. It is resized with a Lanczos filter. Transparent pixels become white; 16-bit grey is scaled to 8 bits; CMYK is
    converted without a colour profile. Warns of what the listing left out.

    Returns `pixels (image, channel, y, x)` uint8 with the columns of the list as coordinates, but for `path` and eyes.
    Attributes: `crop`, `size` in pixels, and `enlarged` (how many images were smaller than `size`; this warns as well).

    Raises FolderError, a ValueError, naming *all* files that cannot be decoded, with the reason.
    """
    root, left_out = images.attrs["root"], images.attrs["left_out"]
    names, paths = images.name.tolist(), images.path.tolist()
    aligned = EYES[0] in images
    eyes = images[list(EYES)].to_numpy(float) if aligned else [None] * len(names)
    pixels = np.empty((len(names), 3, size, size), np.uint8)
    problems: Problems = []

    def decode(index: int) -> bool:
        pixels[index], enlarged = _decode(paths[index], size, crop, eyes[index])
        return enlarged

    # Pillow warns from 89 million pixels on and refuses from twice as many; here both are refused.
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        enlarged = sum(_in_threads(decode, names, problems, f"reading {root}"))
    if problems:
        raise FolderError(Path(root), sorted(problems))
    if left_out:
        warnings.warn(f"{root}: {len(left_out)} left out:\n" + _lines(left_out, 10), stacklevel=2)
    if enlarged:
        text = f"{root}: {enlarged} images were smaller than {size} pixels and are enlarged"
        warnings.warn(text, stacklevel=2)
    kept = [name for name in images if name not in ("path", *EYES)]
    coordinates = {name: ("image", images[name].to_numpy(dtype=str)) for name in kept}
    attributes = {
        "size": size,
        "crop": "eyes" if aligned else crop or "largest central square",
        "enlarged": enlarged,
    }
    return xr.Dataset(
        {"pixels": (("image", "channel", "y", "x"), pixels)},
        {"channel": ["R", "G", "B"]} | coordinates,
        attributes,
    )


def read_folder(root: str | Path, size: int, **options: Any) -> xr.Dataset:
    """Read all images of a folder: `read_images` of `list_images`, whose options it takes."""
    crop = options.pop("crop", None)
    return read_images(list_images(root, **options), size, crop)


def listing(root: str | Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time (ns) of every image that `list_images` would list: tells whether any changed."""
    images, _ = _scan(Path(root))
    stats = [path.stat() for path in images.path]
    return [(name, s.st_size, s.st_mtime_ns) for name, s in zip(images.name, stats, strict=True)]


def fingerprint(root: str | Path) -> str:
    """A hash of the names, sizes and contents of the image files in `root`, 32 hexadecimal digits (BLAKE2b).

    It changes when a file that `list_images` would list is added, removed, renamed or altered, and does not
    depend on the place or the times of the files. Raises FolderError for files that cannot be read.
    """
    images, _ = _scan(Path(root))
    names, paths = images.name.tolist(), images.path.tolist()
    problems: Problems = []

    def digest(index: int) -> bytes:
        with paths[index].open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        return json.dumps([*names[index].split("/"), paths[index].stat().st_size]).encode() + content

    parts = _in_threads(digest, names, problems)
    if problems:
        raise FolderError(Path(root), sorted(problems))
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def read_table(table: str | Path) -> pd.DataFrame:
    """Read a table on photographs as text: a row per file, or per identity, its index the line in the file.

    Columns, in lower case: `file` (a name, or a path that ends in it), `identity`, or both, and any others; separated
    by comma, semicolon or tab, in UTF-8. CelebA's tables are read as they are: `identity_CelebA.txt`,
    `list_attr_celeba.txt` (1 becomes "yes" and -1 "no"), `list_landmarks_align_celeba.txt`. A column `male` also gives
    `gender`. Raises ValueError for a file or columns missing.
    """
    table = Path(table)
    try:
        text = table.read_text(encoding="utf-8-sig")
        first, _, rest = text.partition("\n")
        words, above, separator = first.split(), 1, r"\s+"
        if len(words) == 1 and words[0].isdigit():  # a count, then names of all columns but that of the files
            text, above = "file " + rest, 2
        elif len(words) == 2 and Path(words[0]).suffix.lower() in Image.registered_extensions():
            text, above = "file identity\n" + text, 0
        else:
            separator = max(",;\t", key=first.count)
        # Read without a header, a row that is longer than the first is an error; with one, its end would be lost.
        options: dict[str, Any] = {"header": None, "dtype": str, "keep_default_na": False}
        options |= {"skipinitialspace": True, "skip_blank_lines": False}
        rows = pd.read_csv(io.StringIO(text), sep=separator, **options)
    except (OSError, ValueError) as error:
        why = short(str(error).strip(), 200)
        raise ValueError(f"cannot read the table {label(table)} as UTF-8 text: {why}") from error
    rows.index += above
    rows.columns = pd.Index(rows.iloc[0], dtype=str)
    rows = rows.iloc[1:]
    rows.columns = rows.columns.str.strip().str.lower().str.replace("(left|right)eye", r"\1_eye", regex=True)
    rows = rows.rename(columns={"image_id": "file", "class_id": "identity"})
    rows = rows.loc[:, ~rows.columns.duplicated()]
    if not {"file", "identity"} & set(rows):
        raise ValueError(
            f"the table {label(table)} lacks a column file or identity; its columns are {some(rows)}"
        )
    rows = rows[(rows != "").any(axis=1)]
    for name in {"file", "identity"} & set(rows):
        # macOS writes accents in file names as separate characters, tables are mostly typed with composed ones.
        rows[name] = rows[name].str.strip().str.normalize("NFC").str.replace("\\", "/")
    if "male" in rows and "gender" not in rows:
        rows["gender"] = rows.male.str.strip().replace({"1": "male", "0": "female", "-1": "female"})
    return rows


def _said(images: pd.DataFrame, tables: dict[Path, pd.DataFrame], column: str, root: Path) -> pd.Series:
    """What tables say of each image in a column, missing where they say nothing.

    FolderError for values of gender that are none and rows that contradict one another.
    """
    said, problems = pd.Series(None, images.index, dtype=object), []
    base = images.name.str.rpartition("/")[2]
    unique = base.where(~base.duplicated(keep=False))  # val/1.jpg is not train/1.jpg
    for path, table in tables.items():
        values = table[column].str.strip()
        values = values.where(values != "")
        if column == "gender":
            words = {word: gender for gender, written in GENDERS.items() for word in written}
            known = values.str.lower().map(words)
            problems += [
                (f"{label(path)}, line {line}", f"gender {values[line]!r} is neither female nor male")
                for line in values.index[values.notna() & known.isna()]
            ]
            values = known
        elif set(values.dropna()) <= {"-1", "1"} and column not in (*EYES, "identity"):
            values = values.map({"1": "yes", "-1": "no"})
        file = table.get("file", pd.Series("", table.index))
        person = table.get("identity", pd.Series("", table.index)) + "/"
        by_person = "identity" in table and column != "identity"
        key = person + file.str.rpartition("/")[2] if by_person else file
        known = values.notna()
        values, key, person = values[known], key[known], person[known]
        of_person = file[known] == ""
        again = key.duplicated(keep=False)
        first = values[again].groupby(key[again]).first()
        of_all = values[of_person].groupby(key[of_person]).first()
        for line in values.index[again | person.isin(of_all.index)]:
            value, above = values[line], first.get(key[line], values[line])
            whole = of_all.get(person[line], value)
            if value != above or value != whole:
                other = f"above {above}" if value != above else f"{person[line][:-1]} is {whole}"
                problems.append((f"{label(path)}, line {line}", f"{key[line]} is {value}, but {other}"))
        by_key = values.set_axis(key)[~key.duplicated().to_numpy()]
        keys = [images.name, label(root) + "/" + images.name, unique]
        if by_person:
            keys = [images.identity + "/" + base, images.identity + "/"]
        for each in keys:
            missing = said.isna()
            said[missing] = each[missing].map(by_key)
    if problems:
        raise FolderError(root, problems)
    return said


def label(path: Path) -> str:
    """The last part of a path as text that can be printed and stored; bytes that are not UTF-8 as \\xNN."""
    return unicodedata.normalize("NFC", os.fsencode(path.name).decode("utf-8", "backslashreplace"))


def short(text: str, most: int = 60) -> str:
    """A user's words as an error quotes them: on one line, not long, nothing that a terminal obeys."""
    cut = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def some(words: Iterable[str]) -> str:
    """The first few of many words, for an error."""
    words = list(words)
    return ", ".join(map(short, words[:5])) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def _lines(problems: Problems, most: int, more: str = "") -> str:
    lines = [f"  {short(path, 120)}: {short(reason, 240)}" for path, reason in problems[:most]]
    if len(problems) > most:
        lines.append(f"  ... and {len(problems) - most} more" + (f" ({more})" if more else ""))
    return "\n".join(lines)


def _scan(root: Path) -> tuple[pd.DataFrame, Problems]:
    """Name, identity ("" of files in no person's folder) and path of images, in byte order; what is left out.

    FolderError for two folders of one name.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected root/<identity>/<image file>")
    left_out: Problems = []
    roots = [("", root)]
    folders = [path for path in _entries(root, left_out) if path.is_dir()]
    if folders and all(path.name.lower() in PARTS for path in folders):
        roots += [(f"{label(path)}/", path) for path in folders]
    found, seen, twice = [], set(), []
    for within, part in roots:
        for path in _entries(part, left_out):
            name, directory = within + label(path), path.is_dir()
            if directory and path in [passed for _, passed in roots]:
                continue
            if directory and path.is_symlink() and root.resolve().is_relative_to(path.resolve()):
                left_out.append((name, "a link to a folder that holds it"))
            elif directory:
                if name in seen:
                    twice.append((name, "two folders have this name, written differently"))
                seen.add(name)
                files = _entries(path, left_out)
                if not files:
                    left_out.append((name, "a folder without images"))
                found += [(f"{name}/{label(file)}", label(path), file) for file in files]
            elif path.suffix.lower() in Image.registered_extensions() or not path.exists():
                found.append((name, "", path))
    if twice:
        raise FolderError(root, twice)
    reasons = [_not_an_image(path) for _, _, path in found]
    left_out += [(name, why) for (name, _, _), why in zip(found, reasons, strict=True) if why]
    kept = [each for each, why in zip(found, reasons, strict=True) if not why]
    if any(identity for _, identity, _ in kept):
        left_out += [(name, "lies beside the identity folders") for name, identity, _ in kept if not identity]
        kept = [each for each in kept if each[1]]
    return pd.DataFrame(kept, columns=["name", "identity", "path"], dtype=object), left_out


def _entries(folder: Path, problems: Problems) -> list[Path]:
    try:
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        problems.append((label(folder), f"cannot be listed: {error.strerror}"))
        return []
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in SKIPPED]


def _not_an_image(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError as error:
        return f"cannot be opened (a broken link?): {error.strerror}"
    if stat.S_ISDIR(status.st_mode):
        return "a folder inside an identity folder; is the root one level too high?"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if path.suffix and path.suffix.lower() not in Image.registered_extensions():
        return "its ending is that of no image"
    return "empty (0 bytes)" if status.st_size == 0 else None


def _decode(path: Path, size: int, crop: int | None, eyes: np.ndarray | None) -> tuple[np.ndarray, bool]:
    """One image as (3, size, size) uint8, and whether it had to be enlarged."""
    with Image.open(path, formats=FORMATS) as opened:
        # A phone's MPO file holds the picture and previews of it; in other formats no frame is the picture.
        if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
            raise ValueError(f"has {opened.n_frames} frames or pages; keep one")
        image = _to_rgb(ImageOps.exif_transpose(opened))
    if eyes is not None:
        image = _aligned(image, eyes)
        crop = None
    side = min(image.size) if crop is None else crop
    if min(image.size) < max(side, SMALLEST_SIDE):
        wanted = f"the crop of {crop}" if crop is not None else f"{SMALLEST_SIDE} pixels a side"
        raise ValueError(f"is {image.width} x {image.height} pixels, smaller than {wanted}")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    # reducing_gap=3 shrinks very large pictures in two steps, with no visible difference (Pillow's manual).
    square = image.crop(box).resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3)
    return np.asarray(square).transpose(2, 0, 1), side < size


def _aligned(image: Image.Image, eyes: np.ndarray) -> Image.Image:
    """The square around a face whose eyes `(x, y, x, y)` are then level, in source pixels."""
    left, right = sorted(eyes.reshape(2, 2).tolist())  # whichever eye a table calls left
    apart = math.dist(left, right)
    inside = all(0 <= x <= image.width and 0 <= y <= image.height for x, y in (left, right))
    if not (inside and 1 < apart < max(image.size)):
        where = " and ".join(f"({x:g}, {y:g})" for x, y in (left, right))
        raise ValueError(f"its eyes are at {where} in a picture of {image.width} x {image.height} pixels")
    side = math.ceil(apart / EYES_APART)
    back = (
        SimilarityTransform(translation=(-(side - 1) / 2, -EYES_BELOW_TOP * side))
        + SimilarityTransform(rotation=math.atan2(right[1] - left[1], right[0] - left[0]))
        + SimilarityTransform(translation=((left[0] + right[0]) / 2, (left[1] + right[1]) / 2))
    )
    turned = warp(np.asarray(image), back, output_shape=(side, side), mode="edge", preserve_range=True)
    return Image.fromarray(turned.round().astype(np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip sixteen bits at 255 instead of scaling them.
        grey = np.asarray(image).astype(np.float32) * (255 / 65535)
        image = Image.fromarray(grey.round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"has 32-bit pixels (mode {image.mode}) of unknown range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _in_threads(
    function: Callable[[int], Any], names: list[str], problems: Problems, description: str | None = None
) -> list[Any]:
    """`function` of the place of every name, in order; what it raised is added to `problems`, by name.

    With a description, progress is shown.
    """

    def attempt(index: int) -> Any:
        # Damaged files make decoders raise almost anything; each file is named with the reason.
        try:
            return function(index)
        except Exception as error:
            problems.append((names[index], _reason(error)))
            return 0

    n = len(names)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(attempt, range(n))
        return list(tqdm(results, desc=description, total=n, unit="image", disable=description is None))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "is not an image, or damaged beyond recognition"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels; reduce it first"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be opened: {error.strerror}"
    return str(error) or type(error).__name__
