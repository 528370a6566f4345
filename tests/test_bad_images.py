"""Every odd image file ends in pixels by the stated rule or in one sentence that names the file."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from radlib.data.files import UnreadKind
from radlib.data.images import decode_image, inner_box, letterbox, to_square
from radlib.data.masks import decode_masks
from radlib.errors import UserError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def test_grey_and_colour_files_give_the_channels_asked_for():
    colour = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(encoded(RAMP), "x", colour=False), RAMP)
    assert np.array_equal(decode_image(encoded(RAMP), "x", colour=True), np.stack([RAMP] * 3, axis=-1))
    assert np.array_equal(decode_image(encoded(colour), "x", colour=True), colour)
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(decode_image(encoded(colour), "x", colour=False) - luma).max() <= 1


def stretched(values: np.ndarray) -> np.ndarray:
    """By the stated rule, with numbers in order instead of numpy's percentile: linear between neighbours."""
    ordered = np.sort(values.ravel()).astype(float)
    low, high = np.interp([0.005, 0.995], np.linspace(0, 1, len(ordered)), ordered)
    return np.rint(255 * np.clip((values - low) / (high - low), 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_from_the_image_s_own_percentiles(kind):
    deep = np.linspace(1000, 3000, 256).reshape(16, 16).astype(np.uint16)
    pixels = decode_image(encoded(deep, kind), "x", colour=False)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, stretched(deep))
    assert decode_image(encoded(deep, kind), "x", colour=True).shape == (16, 16, 3)


def test_a_saturated_marker_leaves_the_picture_its_grey_levels():
    deep = np.random.default_rng(0).integers(1000, 3000, (64, 64)).astype(np.uint16)
    marked = deep.copy()
    marked[:4, :4] = 65535  # 16 of 4096 pixels
    plain, pixels = (decode_image(encoded(one), "x", colour=False) for one in (deep, marked))
    assert np.abs(pixels[4:].astype(int) - plain[4:]).max() <= 1 and len(np.unique(pixels)) > 240
    dot = np.zeros((64, 64), dtype=np.uint16)
    dot[0, 0] = 9  # both percentiles are 0
    assert decode_image(encoded(dot), "x", colour=False)[0, 0] == 255


def sixteen_bit_png(pixels: np.ndarray) -> bytes:
    """uint16 (H, W, 2 to 4) as PNG, by the specification; Pillow writes none."""
    kind = {2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def colour_tiff(pixels: np.ndarray, order: str, compressed: bool = False) -> bytes:
    """uint16 or float32 (H, W, 3) as TIFF, by the specification."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if compressed else data
    bits, sample = 8 * pixels.itemsize, 3 if pixels.dtype.kind == "f" else 1
    tail = struct.pack(f"{order}6H", bits, bits, bits, sample, sample, sample)
    (height, width), end = pixels.shape[:2], 8 + len(data)
    values = {
        256: (3, 1, width), 257: (3, 1, height), 258: (3, 3, end), 259: (3, 1, 8 if compressed else 1),
        262: (3, 1, 2), 273: (4, 1, 8), 277: (3, 1, 3), 278: (3, 1, height), 279: (4, 1, len(data)),
        284: (3, 1, 1), 339: (3, 3, end + 6),
    }  # fmt: skip
    entries = b""
    for tag, (kind, count, value) in values.items():
        short = (kind, count) == (3, 1)
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        entries += struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, end + 12)
    return start + data + tail + struct.pack(f"{order}H", len(values)) + entries + struct.pack(f"{order}I", 0)


def test_sixteen_bit_colour_keeps_all_its_bits():
    grey = np.random.default_rng(0).integers(0, 4096, (24, 32)).astype(np.uint16)  # 12 of 16 bits
    opaque = np.full_like(grey, 65535)
    files = [
        sixteen_bit_png(np.stack([grey, opaque], axis=-1)),
        sixteen_bit_png(np.stack([grey] * 3, axis=-1)),
        sixteen_bit_png(np.stack([grey] * 3 + [opaque], axis=-1)),
        *(colour_tiff(np.stack([grey] * 3, axis=-1), order) for order in "<>"),
        *(colour_tiff(np.stack([grey] * 3, axis=-1), order, compressed=True) for order in "<>"),
    ]
    for data in files:
        assert np.abs(decode_image(data, "x", colour=False) - stretched(grey)).max() <= 1
    colour = np.random.default_rng(1).integers(0, 4096, (24, 32, 3)).astype(np.uint16)
    assert np.array_equal(decode_image(sixteen_bit_png(colour), "x", colour=True), stretched(colour))
    half = np.where(np.arange(32) < 16, opaque, 0)  # what is transparent is black
    pixels = decode_image(sixteen_bit_png(np.stack([grey, half], axis=-1)), "x", colour=False)
    assert (pixels[:, 16:] == 0).all() and np.abs(pixels - stretched(np.where(half, grey, 0))).max() <= 1


def test_float_images_are_scaled_and_must_be_numbers():
    values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(decode_image(encoded(values, "TIFF"), "x", colour=False), stretched(values))
    values[3, 3] = np.nan
    with pytest.raises(UserError, match="x.tif holds values that are no numbers"):
        decode_image(encoded(values, "TIFF"), "x.tif", colour=False)


def test_kinds_that_pillow_does_not_convert_are_read_otherwise_or_named():
    lab = Image.merge("LAB", [Image.fromarray(RAMP), *[Image.new("L", (16, 16), 128)] * 2])
    grey, colour = (decode_image(encoded(lab, "TIFF"), "x", colour=colour) for colour in (False, True))
    assert np.abs(grey.astype(int) - colour.mean(axis=2)).max() <= 1
    assert (np.diff(grey.astype(int)) >= 0).all()
    with pytest.raises(UnreadKind, match="x.tif is left out .*kind that is not read.*export it as 8-"):
        decode_image(colour_tiff(np.ones((16, 16, 3), dtype=np.float32), "<"), "x.tif", colour=False)


def test_transparent_pixels_count_as_black():
    alpha = np.full((16, 16), 255, dtype=np.uint8)
    alpha[:8] = 0
    alpha[8:10] = 128
    with_alpha = Image.merge("LA", [Image.new("L", (16, 16), 200), Image.fromarray(alpha)])
    for image in (with_alpha, with_alpha.convert("RGBA")):
        pixels = decode_image(encoded(image), "x", colour=False)
        assert (pixels[:8] == 0).all() and (pixels[10:] == 200).all()
        assert np.abs(pixels[8:10].astype(int) - 100).max() <= 1


def test_palettes_are_looked_up():
    indexed = Image.fromarray(np.tile(np.arange(2, dtype=np.uint8), (16, 8)), mode="P")
    indexed.putpalette([10, 10, 10, 250, 250, 250])
    assert set(np.unique(decode_image(encoded(indexed), "x", colour=False))) == {10, 250}


def test_a_noted_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half
    data = encoded(RAMP, "PNG", exif=exif)
    assert np.array_equal(decode_image(data, "x", colour=False), RAMP[::-1, ::-1])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "scan.png is empty"),
        (
            b"<html>404 not found</html>",
            "scan.png is no readable image .*replace or delete it",
        ),
        (encoded(NOISE)[:2000], "scan.png is no readable image"),
        (encoded(np.tile(RAMP, (20, 20)), "JPEG")[:2000], "scan.png is no readable image"),
        (encoded(RAMP[:1, :1]), "scan.png is 1 x 1 px; 8 px are the least"),
        (encoded(RAMP[:, :7]), "scan.png is 7 x 16 px"),
    ],
    ids=["empty", "html", "half a PNG", "half a JPEG", "1 x 1", "7 x 16"],
)
def test_damaged_files_are_named_with_the_remedy(data, sentence):
    with pytest.raises(UserError, match=sentence):
        decode_image(data, "scan.png", colour=False)


def test_stacks_are_refused_not_cut_to_their_first_picture():
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    with pytest.raises(UserError, match="stack.tif holds 2 pictures; export the one"):
        decode_image(
            encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "stack.tif", colour=False
        )


def test_gigantic_pictures_are_refused():
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 200_000, 200_000, 8, 0, 0, 0, 0)
    with pytest.raises(UserError, match="huge.png is no readable image"):
        decode_image(header + b"\0\0\0\0", "huge.png", colour=False)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF"]),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(1, 5000),
)
def test_any_damage_ends_in_pixels_or_in_a_user_error(kind, changes, length):
    data = bytearray(encoded(np.tile(RAMP, (2, 2)), kind))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        pixels = decode_image(bytes(data[:length]), "damaged", colour=False)
    except UserError as exc:
        assert "damaged" in str(exc)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 2


def square(top: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((32, 24), dtype=np.uint8)
    mask[top : top + 8, 4:12] = value
    return mask


def test_several_masks_are_united_and_codings_agree():
    files = [(encoded(square(0, 255)), "m"), (encoded(square(16, 1)), "m1"), (encoded(square(4) > 0), "m2")]
    expected = (square(0) > 0) | (square(16) > 0) | (square(4) > 0)
    assert np.array_equal(decode_masks(files, (32, 24)), expected)
    jpeg = decode_masks([(encoded(square(8), "JPEG", quality=60), "m.jpg")], (32, 24))
    assert np.abs(jpeg.astype(int) - (square(8) > 0)).mean() < 0.02


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="m.png has 24 x 32 px, its image 16 x 16 px"):
        decode_masks([(encoded(square(0)), "m.png")], (16, 16))


def in_alpha(mask: np.ndarray, grey: int, mode: str) -> Image.Image:
    bands = [Image.new("L", mask.shape[::-1], grey)] * (len(mode) - 1)
    return Image.merge(mode, [*bands, Image.fromarray(mask)])


ON = square(8)
CODINGS = {
    "0 and 255": ON,
    "0 and 1": ON // 255,
    "one bit": ON > 0,
    "16 bits": ON.astype(np.uint16) * 257,
    "white, the lesion opaque": in_alpha(ON, 255, "RGBA"),
    "black, the lesion opaque": in_alpha(ON, 0, "RGBA"),
    "grey, the lesion opaque": in_alpha(ON, 255, "LA"),
    "opaque": Image.merge("RGBA", [Image.fromarray(ON)] * 3 + [Image.new("L", (24, 32), 255)]),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_codings_of_one_lesion_agree(coding):
    assert np.array_equal(decode_masks([(encoded(CODINGS[coding]), "m.png")], (32, 24)), ON > 0)


RING = np.pad(np.zeros((18, 12), dtype=np.uint8), ((4, 4), (4, 4)), constant_values=1)
RING = np.pad(RING[3:-3, 3:-3] * 255, 3)
STRANGE = {
    "7": (square(0, 7), r"no mask \(largest value 7\); it holds 0, 7; write 0 and 255"),
    "0.5": (square(0).astype(np.float32) / 510, r"no mask \(largest value 0.5\)"),
    "labels": (square(0) | square(16, 170), r"not only 0 and 255 \(64 pixels have the value 170\)"),
    "unsure border": (square(8, 1) + square(16), r"\(64 pixels have the value 1\); it holds 0, 1, 255;"),
    "labels of 16 bits": (square(0) + square(16).astype(np.uint16) * 4, "largest value 1020"),
    "picture": (NOISE[:32, :24], "is a picture, not a mask"),
    "colour": (np.stack([ON, ON * 0, ON * 0], axis=-1), "is coloured"),
    "16-bit colour": (sixteen_bit_png(np.stack([ON.astype(np.uint16)] * 3, axis=-1)), "16 bits with colour"),
    "outline": (RING, r"marks an outline \(64 px around 216 px\); fill it"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_mask_of_one_lesion_is_refused(kind):
    mask, sentence = STRANGE[kind]
    data = mask if isinstance(mask, bytes) else encoded(mask, "TIFF" if mask.dtype.kind == "f" else "PNG")
    with pytest.raises(UserError, match=f"m.png .*{sentence}"):
        decode_masks([(data, "m.png")], (32, 24))


def test_a_mask_is_not_its_image_and_is_turned_like_it():
    def with_orientation(pixels: np.ndarray, value: int) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = value
        return encoded(pixels, exif=exif)

    shape, flat = (32, 24), encoded(ON)
    with pytest.raises(UserError, match="m.png is the image itself"):
        decode_masks([(flat, "m.png")], shape, flat)
    half, quarter = with_orientation(NOISE[:32, :24], 3), with_orientation(NOISE[:24, :32], 6)
    both = decode_masks([(with_orientation(ON, 3), "m.png")], shape, half)
    assert np.array_equal(both, ON[::-1, ::-1] > 0)
    with pytest.raises(UserError, match="m.png has the EXIF orientation 1, its image 3"):
        decode_masks([(flat, "m.png")], shape, half)
    # An image turned by a quarter has other sides than a mask drawn before turning, unless it is square.
    assert np.array_equal(decode_masks([(flat, "m.png")], shape, quarter), ON > 0)
    with pytest.raises(UserError, match="m.png has 32 x 24 px, its image 24 x 32 px"):
        decode_masks([(encoded(ON.T.copy()), "m.png")], shape, quarter)
    with pytest.raises(UserError, match="m.png has the EXIF orientation 1, its image 6"):
        decode_masks([(encoded(ON[:24]), "m.png")], (24, 24), with_orientation(NOISE[:24, :24], 6))


def test_smooth_edges_are_no_labels():
    smooth = Image.fromarray(np.kron(square(8), np.ones((4, 4), np.uint8))).resize((61, 83))
    assert ((np.asarray(smooth) > 32) & (np.asarray(smooth) < 224)).sum() > 50
    assert decode_masks([(encoded(np.asarray(smooth)), "m.png")], (83, 61)).any()


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 60), width=st.integers(8, 60))
def test_letterboxing_moves_the_image_and_changes_nothing_in_it(height, width):
    pixels = np.random.default_rng(0).integers(1, 255, (height, width, 3), dtype=np.uint8)
    square = letterbox(pixels)
    assert square.shape == (max(height, width),) * 2 + (3,)
    assert np.array_equal(square[inner_box((height, width))], pixels)
    assert (square > 0).sum() == pixels.size
    rows, columns = np.nonzero(square[..., 0])
    margins = (rows.min(), len(square) - 1 - rows.max()), (columns.min(), len(square) - 1 - columns.max())
    assert all(abs(first - last) <= 1 for first, last in margins)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 60), width=st.integers(8, 60), size=st.integers(8, 40), grey=st.integers(0, 255))
def test_stretching_keeps_a_flat_image_flat(height, width, size, grey):
    for shape in ((height, width), (height, width, 3)):
        stretched = to_square(np.full(shape, grey, dtype=np.uint8), size, "stretch")
        assert stretched.shape == (size, size, 3 if len(shape) == 3 else 1)
        assert (stretched == grey).all()


def test_shrinking_averages_instead_of_skipping():
    """One-pixel stripes become their mean; without antialiasing they would become 0 or 255."""
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    assert np.abs(to_square(stripes, 8, "stretch").astype(int) - 127).max() < 15
