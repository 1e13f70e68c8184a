import os
import shutil
import struct
import warnings
import zlib

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from faces.photographs import EYES, FolderError, fingerprint, list_images, listing, read_folder, read_table

SIZE = 32


def picture(side: int = 48, seed: int = 0) -> np.ndarray:
    """A smooth picture (side, side, 3) uint8 in which no two corners are alike."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    shift = np.random.default_rng(seed).uniform(0, 20)
    return np.stack([30 + 180 * x, 30 + 180 * y, 20 + 90 * (x * y) + shift], -1).astype(np.uint8)


def write(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if pixels is None else pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """Two people with two pictures each."""
    folder = tmp_path / "people"
    for i, name in enumerate(("Ann", "Ben")):
        for k in range(2):
            write(folder / name / f"{k}.png", picture(seed=2 * i + k))
    return folder


def read(root, **options):
    return read_folder(root, SIZE, **options)


def genders(path) -> dict:
    """Options for a table without which no image is of use."""
    return {"tables": [path], "attributes": ["gender"]}


# Edges blur over three pixels in a Lanczos filter: look at four or more from them.
def only(root, **options) -> np.ndarray:
    """The one image of a folder, (y, x, channel)."""
    data = read(root, **options)
    assert data.sizes["image"] == 1
    return data.pixels.values[0].transpose(1, 2, 0)


def reduced(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def assert_alike(found: np.ndarray, expected: np.ndarray, tolerance: int = 3) -> None:
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= tolerance


def test_dataset_has_the_documented_form(root):
    data = read(root)
    assert data.pixels.dims == ("image", "channel", "y", "x")
    assert data.pixels.shape == (4, 3, SIZE, SIZE)
    assert data.pixels.dtype == np.uint8
    assert data.identity.values.tolist() == ["Ann", "Ann", "Ben", "Ben"]
    assert data.name.values.tolist() == ["Ann/0.png", "Ann/1.png", "Ben/0.png", "Ben/1.png"]
    assert data.channel.values.tolist() == ["R", "G", "B"]
    assert_alike(data.pixels.values[3].transpose(1, 2, 0), reduced(picture(seed=3)), 0)


@pytest.mark.filterwarnings("ignore")
def test_dataset_can_be_stored(root, tmp_path):
    data = read(root)
    data.to_zarr(tmp_path / "store.zarr")
    assert xr.open_zarr(tmp_path / "store.zarr").load().equals(data)


def test_order_does_not_depend_on_when_files_were_made(tmp_path):
    for name in ("b", "a", "C"):
        for file in ("10.png", "2.png", "1.png"):
            write(tmp_path / name / file)
    assert read(tmp_path).name.values.tolist() == [
        f"{name}/{file}" for name in ("C", "a", "b") for file in ("1.png", "10.png", "2.png")
    ]


def test_crop_is_a_central_square_of_source_pixels(tmp_path):
    pixels = np.zeros((100, 80, 3), np.uint8)
    pixels[30:70, 20:60] = (10, 200, 30)
    write(tmp_path / "Ann" / "0.png", pixels)
    assert (only(tmp_path, crop=40) == (10, 200, 30)).all()
    assert (only(tmp_path)[0] == 0).all()


def test_without_crop_the_largest_central_square_is_kept(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, 16:80] = 255
    write(tmp_path / "Ann" / "0.png", pixels)
    assert (only(tmp_path) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path, orientation):
    upright = picture()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    stored = image if orientation == 1 else image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "Ann").mkdir()
    stored.save(tmp_path / "Ann" / "0.png", exif=exif)
    assert_alike(only(tmp_path), reduced(upright), 1)


def test_greyscale_and_bilevel(tmp_path):
    grey = picture()[..., 0]
    write(tmp_path / "Ann" / "0.png", grey)
    expected = np.repeat(np.asarray(Image.fromarray(grey).resize((SIZE, SIZE), 1))[..., None], 3, -1)
    assert_alike(only(tmp_path), expected)
    Image.fromarray(grey).convert("1").save(tmp_path / "Ann" / "0.png")
    found = only(tmp_path).astype(int)
    assert found.max() > 240
    assert found.min() < 15


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = picture()[..., 0]
    for name in ("0.png", "0.tif"):
        path = write(tmp_path / "Ann" / name, grey.astype(np.uint16) * 257)
        assert_alike(only(tmp_path)[..., 0], reduced(np.repeat(grey[..., None], 3, -1))[..., 0])
        path.unlink()


def test_cmyk_jpeg_has_its_colours(tmp_path):
    (tmp_path / "Ann").mkdir()
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "Ann" / "0.jpg", quality=95)
    assert_alike(only(tmp_path), reduced(picture()), 12)


def test_palette_is_expanded_and_transparent_becomes_white(tmp_path):
    indices = np.zeros((48, 48), np.uint8)
    indices[:, 24:] = 1
    image = Image.frombytes("P", (48, 48), indices.tobytes())
    image.putpalette([250, 10, 20, 10, 20, 250])
    (tmp_path / "Ann").mkdir()
    image.save(tmp_path / "Ann" / "0.png", transparency=1)
    found = only(tmp_path)
    assert (found[:, :12] == (250, 10, 20)).all()
    assert (found[:, 20:] == 255).all()
    image.save(tmp_path / "Ann" / "0.png")
    assert (only(tmp_path)[:, 20:] == (10, 20, 250)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    bands = len(mode)
    pixels = np.full((48, 48, bands), 40, np.uint8)
    pixels[..., -1] = 255
    pixels[:24, :, -1] = 0
    (tmp_path / "Ann").mkdir()
    Image.frombytes(mode, (48, 48), pixels.tobytes()).save(tmp_path / "Ann" / "0.png")
    found = only(tmp_path)
    assert (found[:12] == 255).all()
    assert (found[20:] == 40).all()


def test_hidden_files_are_skipped(root):
    before = read(root)
    for path in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (root / "Ann" / path).write_bytes(b"junk")
        (root / path).write_bytes(b"junk")
    (root / ".cache").mkdir()
    (root / "__MACOSX").mkdir()
    assert before.identical(read(root))


def test_a_readme_beside_the_identities_is_no_problem(root):
    (root / "README.txt").write_text("about")
    (root / "genders.csv").write_text("identity,gender\nAnn,f\nBen,m\n")
    assert read(root, **genders(root / "genders.csv")).sizes["image"] == 4


def test_links_are_followed(root):
    (root / "Cid").mkdir()
    (root / "Cid" / "0.png").symlink_to(root / "Ann" / "0.png")
    (root / "Dan").symlink_to(root / "Ben")
    data = read(root)
    assert data.name.values[-3:].tolist() == ["Cid/0.png", "Dan/0.png", "Dan/1.png"]
    assert (data.pixels.values[4] == data.pixels.values[0]).all()


def test_names_that_are_not_utf8_are_read_and_printable(root):
    folder = os.path.join(os.fsencode(root), b"Ren\xe9")
    os.mkdir(folder)
    os.rename(os.path.join(os.fsencode(root), b"Ann", b"0.png"), os.path.join(folder, b"\xff.png"))
    data = read(root)
    assert "Ren\\xe9" in data.identity.values
    assert "Ren\\xe9/\\xff.png" in data.name.values
    with open(os.path.join(folder, b"\xfe.png"), "wb"):
        pass
    assert list_images(root).attrs["left_out"] == [("Ren\\xe9/\\xfe.png", "empty (0 bytes)")]


def unreadable(root) -> dict[str, str]:
    """Put one of each kind of file that cannot be a photograph into `root`; path and a part of the reason of each."""
    ann = root / "Ann"
    (ann / "empty.jpg").write_bytes(b"")
    (ann / "notes.txt").write_text("remember")
    (ann / "~$0.doc").write_bytes(b"x")
    write(ann / "more" / "0.png")
    (ann / "broken.png").symlink_to(root / "nowhere.png")
    (ann / "a.png").symlink_to(ann / "b.png")
    (ann / "b.png").symlink_to(ann / "a.png")
    (ann / ".#0.png").symlink_to("someone@machine.1234")
    os.mkfifo(ann / "pipe.png")
    write(root / "stray.png")
    (root / "lost").symlink_to(root / "nowhere")
    (root / "round").symlink_to(root)
    return {
        "Ann/empty.jpg": "empty",
        "Ann/notes.txt": "ending",
        "Ann/~$0.doc": "ending",
        "Ann/more": "a folder inside an identity folder",
        "Ann/broken.png": "broken link",
        "Ann/a.png": "broken link",
        "Ann/b.png": "broken link",
        "Ann/pipe.png": "not a regular file",
        "stray.png": "beside the identity folders",
        "lost": "broken link",
        "round": "a link to a folder that holds it",
    }


def damage(root) -> dict[str, str]:
    """Put one of each kind of damaged photograph into `root`; path and a part of the reason of each."""
    ann = root / "Ann"
    (ann / "text.jpg").write_text("not a picture")
    big = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("cut.jpg", "cut.png"):
        write(ann / name, big)
        (ann / name).write_bytes((ann / name).read_bytes()[:2000])
    (ann / "header.png").write_bytes((ann / "0.png").read_bytes()[:20])
    write(ann / "dot.png", np.zeros((1, 1, 3), np.uint8))
    frames = [Image.fromarray(picture(seed=i)) for i in (1, 2)]
    frames[0].save(ann / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(ann / "pages.tif", save_all=True, append_images=frames[1:])
    Image.fromarray(picture()[..., 0].astype(np.float32)).save(ann / "float.tif")
    (ann / "bomb.png").write_bytes(bomb())
    return {
        "Ann/text.jpg": "not an image",
        "Ann/cut.jpg": "truncated",
        "Ann/cut.png": "",
        "Ann/header.png": "",
        "Ann/dot.png": "1 x 1 pixels, smaller than 16",
        "Ann/moving.gif": "2 frames",
        "Ann/pages.tif": "2 frames or pages",
        "Ann/float.tif": "32-bit",
        "Ann/bomb.png": "more than",
    }


def bomb() -> bytes:
    """A PNG header that announces 20 000 x 20 000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_what_is_no_photograph_is_left_out_with_one_warning(root):
    before = read(root)
    expected = unreadable(root)
    with pytest.warns(UserWarning, match=r"people: 11 left out:\n(  .*\n)+  \.\.\. and 1 more$") as warned:
        assert (read(root).name == before.name).all()
    assert len(warned) == 1
    left_out = dict(list_images(root).attrs["left_out"])
    assert left_out.keys() == expected.keys()
    for path, reason in expected.items():
        assert reason in left_out[path], (path, left_out[path])
    assert len(listing(root)) == 4 and fingerprint(root)


def test_every_damaged_photograph_is_named_in_one_error(root):
    expected = damage(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FolderError) as caught:
            read(root)
    problems = dict(caught.value.problems)
    assert problems.keys() == expected.keys()
    for path, reason in expected.items():
        assert reason in problems[path], (path, problems[path])
        assert f"{path}: " in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_large_but_legal_file_is_refused_like_a_larger_one(tmp_path, monkeypatch):
    write(tmp_path / "Ann" / "0.png", picture(200))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    with pytest.raises(FolderError, match="more than 30,000 pixels"):
        read(tmp_path)


def test_hundreds_of_bad_files_are_all_kept(tmp_path):
    for i in range(120):
        (tmp_path / "Ann").mkdir(exist_ok=True)
        (tmp_path / "Ann" / f"{i:03}.jpg").write_bytes(b"x")
    with pytest.raises(FolderError, match="120 problems") as caught:
        read(tmp_path)
    assert len(caught.value.problems) == 120
    assert "and 70 more" in str(caught.value)


def test_images_smaller_than_the_crop_are_named(root):
    with pytest.raises(FolderError, match=r"Ann/0\.png: is 48 x 48 pixels, smaller than the crop of 49"):
        read(root, crop=49)


def test_enlarged_images_are_reported(tmp_path):
    write(tmp_path / "Ann" / "0.png", picture(20))
    with pytest.warns(UserWarning, match="1 images were smaller than 32 pixels"):
        assert read(tmp_path).attrs["enlarged"] == 1


def test_identities_without_images_are_reported(root):
    for k in range(12):
        (root / f"Empty{k:02}").mkdir()
    (root / "Empty00" / ".DS_Store").write_bytes(b"junk")
    with pytest.warns(UserWarning, match=r"(?s)12 left out:.*Empty00: a folder without images.*and 2 more$"):
        data = read(root)
    assert set(data.identity.values) == {"Ann", "Ben"}


@pytest.mark.parametrize("content", [[], ["Ann"]], ids=["empty", "empty identity"])
def test_a_folder_without_images_is_an_error(tmp_path, content):
    for name in content:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"expected root/<identity>/<image file>"):
        read(tmp_path)


def test_a_root_that_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="not a folder"):
        read(tmp_path / "absent")


def table(tmp_path, text: str, encoding: str = "utf-8"):
    path = tmp_path / "genders.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "identity,gender\nAnn,female\nBen,male\n",
        "identity,file,gender\nAnn,0.png,female\nAnn,1.png,F\nBen,0.png,Male\nBen,1.png,m\n",
        "identity,file,gender\nAnn,Ann/0.png,woman\nAnn,C:\\x\\1.png, W \nBen,,MAN\n",
        "\ufeffIdentity;Gender\r\nAnn;f\r\nBen;m\r\n",
        "gender\tidentity\tage\nf\tAnn\t3\nm\tBen\t4\n\n",
        'identity,gender,note\n"Ann",f,"a, b\nc"\nBen,m,\nNobody,m,\n',
    ],
    ids=["identity", "file", "paths", "excel", "tabs", "quotes"],
)
def test_gender_tables(root, tmp_path, text):
    data = read(root, **genders(table(tmp_path, text)))
    assert data.gender.values.tolist() == ["female", "female", "male", "male"]


def test_gender_of_a_file_may_differ_from_the_persons_other_files(root, tmp_path):
    text = "identity,file,gender\nAnn,0.png,f\nAnn,1.png,m\nBen,0.png,m\nBen,1.png,m\n"
    assert read(root, **genders(table(tmp_path, text))).gender.values[:2].tolist() == ["female", "male"]


def test_accents_match_however_they_are_composed(tmp_path):
    write(tmp_path / "people" / "Rene\u0301" / "0.png")
    found = read(tmp_path / "people", **genders(table(tmp_path, "identity,gender\nRen\u00e9,m\n")))
    assert found.gender.values.tolist() == ["male"]


def test_people_without_what_is_needed_are_left_out(root, tmp_path):
    one = table(tmp_path, "identity,gender\nAnn,f\nBen,\n")
    images = list_images(root, **genders(one))
    assert images.identity.tolist() == ["Ann", "Ann"]
    assert images.attrs["left_out"] == [(f"Ben/{k}.png", "no gender in the tables") for k in range(2)]
    everyone = list_images(root, [one])
    assert len(everyone) == 4 and "gender" not in everyone, "which nobody asked for"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,gender\nAnn,f\n", "lacks a column file or identity; its columns are name, gender"),
        ("", "cannot read the table"),
        ("identity\nAnn\n", "no table has the column 'gender'; there are no"),
        ("identity,age\nAnn,3\n", "no table has the column 'gender'; there are age"),
        ("identity,gender\nAnn,f\nBen,m,x\n", "cannot read the table.*line 3"),
        ("identity,gender\nAnn,f,x\nBen,m\n", "cannot read the table.*line 2"),
        (
            ",".join(["identity", *map(str, range(999))]),
            r"'gender'; there are 0, 1, 10, 100, 101 and 994 more",
        ),
        ("identity,gender\n\nAnn,f\n\nBen,1\n", "line 5: gender '1' is neither"),
        ("identity,gender\nAnn,f\nBen,1\n", "line 3: gender '1' is neither"),
        ("identity,gender\nAnn,\n", "Ann/0.png: no gender in the tables"),
        ("identity,gender\nAnn,f\nAnn,m\n", "line 3: Ann/ is male, but above female"),
        ("identity,file,gender\nAnn,,f\nAnn,0.png,m\n", r"Ann/0\.png is male, but Ann is female"),
        ("identity,gender\nA\0nn,f\n", r"Ann/0\.png: no gender"),
    ],
)
def test_unusable_tables_are_explained(root, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        list_images(root, **genders(table(tmp_path, text)))


def test_tables_that_are_no_text(tmp_path):
    with pytest.raises(ValueError, match="UTF-8"):
        read_table(table(tmp_path, "identity,gender\nRené,m\n", "latin-1"))
    with pytest.raises(ValueError, match="cannot read the table"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="cannot read the table"):
        read_table(tmp_path)


@pytest.fixture
def celeba(tmp_path):
    """CelebA as torchvision lays it out, small: four files of two people."""
    root = tmp_path / "celeba"
    for k in range(1, 5):
        write(root / "img_align_celeba" / f"{k:06}.jpg", picture(seed=k))
    (root / "identity_CelebA.txt").write_text("".join(f"{k:06}.jpg {2880 + k % 2}\n" for k in range(1, 5)))
    attributes = "".join(
        f"{k:06}.jpg {'1' if k % 2 else '-1'}  {'1' if k < 3 else '-1'}\n" for k in range(1, 5)
    )
    (root / "list_attr_celeba.txt").write_text(f"4\nMale Smiling \n{attributes}")
    eyes = "".join(f"{k:06}.jpg 20  24   28  24  24  30  21 34  27  34\n" for k in range(1, 5))
    points = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    names = " ".join(f"{point}_{axis}" for point in points for axis in "xy")
    (root / "list_landmarks_align_celeba.txt").write_text(f"4\n{names}\n{eyes}")
    return root


@pytest.mark.parametrize("inside", ["", "img_align_celeba"])
def test_celeba_as_it_comes(celeba, inside):
    tables = [celeba / "identity_CelebA.txt", celeba / "list_attr_celeba.txt"]
    landmarks = celeba / "list_landmarks_align_celeba.txt"
    images = list_images(celeba / inside, tables, ["gender", "smiling"], landmarks)
    assert images.identity.tolist() == ["2881", "2880", "2881", "2880"]
    assert images.gender.tolist() == ["male", "female", "male", "female"]
    assert images.smiling.tolist() == ["yes", "yes", "no", "no"]
    assert images[list(EYES)].to_numpy().tolist() == [[20, 24, 28, 24]] * 4


def test_fairface_as_it_comes(tmp_path):
    rows = []
    for part in ("train", "val"):
        for k in range(3):
            write(tmp_path / "faces" / part / f"{k}.jpg", picture(seed=k))
            rows.append(f"{part}/{k}.jpg,20-29,{'Male' if part == 'val' else 'Female'},Black,True")
    one = table(tmp_path, "\n".join(["file,age,gender,race,service_test", *rows]))
    images = list_images(tmp_path / "faces", [one], ["gender", "race"])
    assert images.identity.nunique() == 6, "everyone is on one photograph"
    assert images.gender.tolist() == ["female"] * 3 + ["male"] * 3 and set(images.race) == {"Black"}
    assert list_images(tmp_path / "faces" / "val", [one], ["gender"]).gender.tolist() == ["male"] * 3


def test_files_without_folders_or_table_are_nobodys(tmp_path):
    write(tmp_path / "0.png")
    with pytest.raises(ValueError, match="no identity folders; a table has to say whose"):
        list_images(tmp_path)


def test_eyes_come_to_lie_at_one_place(tmp_path):
    """A picture with a red left and a blue right eye, turned and scaled: both are found where they belong."""
    y, x = np.mgrid[0:200, 0:200]
    rows = ["identity,file,left_eye_x,left_eye_y,right_eye_x,right_eye_y"]
    for k, (one, two) in enumerate([((70, 90), (120, 90)), ((80, 80), (110, 120)), ((20, 60), (60, 50))]):
        pixels = np.full((200, 200, 3), 128, np.uint8)
        for (across, down), colour in ((one, (255, 0, 0)), (two, (0, 0, 255))):
            pixels[(x - across) ** 2 + (y - down) ** 2 <= 36] = colour
        write(tmp_path / "people" / "Ann" / f"{k}.png", pixels)
        eyes = (*two, *one) if k == 1 else (*one, *two)  # whichever is called left
        rows.append(f"Ann,{k}.png," + ",".join(map(str, eyes)))
    data = read(tmp_path / "people", landmarks=table(tmp_path, "\n".join(rows)), crop=199)
    for face in data.pixels.values.astype(int):
        red, blue = face[0] - face[2], face[2] - face[0]
        places = [np.argwhere(colour > 100).mean(0) / (SIZE - 1) for colour in (red, blue)]
        assert np.allclose(places, [[0.42, 0.5 - 0.18], [0.42, 0.5 + 0.18]], atol=0.03)
        assert (face[:, 0, 0] == 128).all(), "beyond the picture its edge goes on"


@pytest.mark.parametrize("place", ["5,5,5,5", "1e6,5,1000010,5", "-9,5,20,5"])
def test_eyes_at_one_place_or_outside_the_picture_are_an_error(root, tmp_path, place):
    text = f"identity,left_eye_x,left_eye_y,right_eye_x,right_eye_y\nAnn,{place}\nBen,10,10,30,10\n"
    with pytest.raises(FolderError, match=r"Ann/0.png: its eyes are at \(.*\) in a picture of 48 x 48"):
        read(root, landmarks=table(tmp_path, text))


def test_fingerprint_follows_content_and_names_alone(root, tmp_path):
    first = fingerprint(root)
    assert len(first) == 32
    shutil.copytree(root, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "Ann" / "0.png", (0, 0))
    (tmp_path / "copy" / ".DS_Store").write_bytes(b"x")
    assert fingerprint(tmp_path / "copy") == first

    seen = {first}
    file = root / "Ann" / "0.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    seen.add(fingerprint(root))
    file.rename(root / "Ann" / "9.png")
    seen.add(fingerprint(root))
    (root / "Ann" / "9.png").rename(root / "Ben" / "9.png")
    seen.add(fingerprint(root))
    (root / "Ben" / "9.png").unlink()
    seen.add(fingerprint(root))
    assert len(seen) == 5


def test_a_changed_file_behind_a_link_is_noticed(root, tmp_path):
    write(tmp_path / "elsewhere" / "0.png")
    (root / "Cid").symlink_to(tmp_path / "elsewhere")
    before = listing(root), fingerprint(root)
    write(tmp_path / "elsewhere" / "1.png")
    assert listing(root) != before[0] and fingerprint(root) != before[1]


def test_progress_names_the_folder(root, capsys):
    read(root)
    assert "reading people" in capsys.readouterr().err
