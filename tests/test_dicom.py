"""DICOM against pydicom's own steps, on the files that pydicom ships and on small ones written here."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_windowing, get_decoder

from radlib import datasets
from radlib.datasets.dicom import (
    DicomRef,
    decode,
    hashed,
    patient_of,
    read_header,
)
from radlib.datasets.grey import windowed
from radlib.datasets.record import FileRef
from radlib.errors import UserError
from tests.published_files import dicom_bytes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


def shipped(name: str) -> bytes:
    return (SHIPPED / name).read_bytes()


def pixels(name: str, **options) -> np.ndarray:
    return decode(shipped(name), name, **options)[0]


def by_pydicom(name: str, window: tuple[float, float] | None = None, function: str = "LINEAR") -> np.ndarray:
    """0..255 as pydicom's own modality and window steps give them, not yet rounded."""
    header = pydicom.dcmread(SHIPPED / name)
    if window:
        header.WindowCenter, header.WindowWidth = window
    header.VOILUTFunction = function
    values = apply_modality_lut(header.pixel_array, header)
    shown = apply_windowing(values, header)
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    low, high = (slope * limit + intercept for limit in (-(2**15), 2**15 - 1))
    return (shown - low) / (high - low) * 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("window", [(40, 80), (40, 400), (-600, 1500), (0.5, 7)])
def test_windows_equal_pydicom_s_on_real_ct(window, function):
    header = pydicom.dcmread(SHIPPED / "CT_small.dcm")
    values = apply_modality_lut(header.pixel_array, header)
    ours = windowed(values, window, function)
    assert ours.dtype == np.uint8
    assert np.abs(ours - by_pydicom("CT_small.dcm", window, function)).max() <= 0.51


def test_rescale_and_the_option_s_window_on_real_ct():
    ours = pixels("CT_small.dcm", window=(40, 400))
    assert ours.shape == (128, 128) and len(np.unique(ours)) > 50
    assert np.abs(ours - by_pydicom("CT_small.dcm", (40, 400))).max() <= 0.51


def test_the_header_s_window_is_taken_where_there_is_no_option():
    assert np.abs(pixels("MR_small.dcm") - by_pydicom("MR_small.dcm")).max() <= 0.51
    header = pydicom.dcmread(SHIPPED / "J2K_pixelrep_mismatch.dcm")
    assert list(header.WindowCenter) == [40, 40, 40] and list(header.WindowWidth) == [100, 100, 200]
    first = pixels("J2K_pixelrep_mismatch.dcm", window=(40, 100))
    assert np.array_equal(pixels("J2K_pixelrep_mismatch.dcm"), first)


def test_without_any_window_the_image_s_own_range_is_taken():
    header = pydicom.dcmread(SHIPPED / "CT_small.dcm")
    assert "WindowCenter" not in header
    values = header.pixel_array.astype(float)
    expected = (values - values.min()) / (values.max() - values.min()) * 255
    assert np.abs(pixels("CT_small.dcm") - expected).max() <= 0.51


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_every_encoding_of_one_picture_gives_the_same_pixels(name):
    assert np.array_equal(pixels(name), pixels("MR_small.dcm"))


def test_a_compression_without_its_plugin_names_file_and_plugin():
    name = "MR_small_jpeg_ls_lossless.dcm"
    if get_decoder(pydicom.uid.JPEGLSLossless).is_available:
        assert np.array_equal(pixels(name), pixels("MR_small.dcm"))
    else:
        with pytest.raises(UserError, match=rf"{name} is compressed \(JPEG-LS Lossless.*install pyjpegls"):
            pixels(name)


def test_low_is_bright_in_monochrome1():
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for extra in ({}, {"WindowCenter": 100, "WindowWidth": 50}):
        dark = decode(dicom_bytes(ramp, **extra), "x")[0]
        bright = decode(dicom_bytes(ramp, PhotometricInterpretation="MONOCHROME1", **extra), "x")[0]
        assert np.array_equal(bright, 255 - dark) and dark[0, 0] == 0


def test_colours_come_as_rgb():
    assert np.array_equal(
        pixels("examples_rgb_color.dcm"), pydicom.dcmread(SHIPPED / "examples_rgb_color.dcm").pixel_array
    )
    ybr = pydicom.dcmread(SHIPPED / "SC_ybr_full_422_uncompressed.dcm")
    luma = pixels("SC_ybr_full_422_uncompressed.dcm") @ np.array([0.299, 0.587, 0.114])
    stored = pydicom.pixels.pixel_array(ybr, raw=True)[..., 0]
    assert np.abs(luma - stored).max() <= 2  # Y of YBR is the luma of RGB, PS3.3 C.7.6.3.1.2
    deep = pydicom.dcmread(SHIPPED / "SC_rgb_rle_16bit.dcm").pixel_array
    assert np.array_equal(pixels("SC_rgb_rle_16bit.dcm"), deep // 256)


def test_a_frame_must_be_chosen_where_there_are_several():
    frames = pydicom.dcmread(SHIPPED / "SC_rgb_rle_2frame.dcm").pixel_array
    with pytest.raises(UserError, match="SC_rgb_rle_2frame.dcm holds 2 frames; export the one"):
        pixels("SC_rgb_rle_2frame.dcm")
    assert np.array_equal(pixels("SC_rgb_rle_2frame.dcm", frame=1), frames[1])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("examples_palette.dcm", "has colours of the kind 'PALETTE COLOR'"),
        ("MR_truncated.dcm", "is no readable DICOM picture .*less than expected"),
        ("reportsi.dcm", "has colours of the kind 'None'"),
        ("no_meta.dcm", "is no readable DICOM picture"),
        ("README.txt", "is no readable DICOM picture"),
        ("badVR.dcm", "badVR.dcm"),
    ],
)
def test_what_is_no_picture_is_one_sentence_with_the_name(name, sentence):
    with pytest.raises(UserError, match=sentence) as stopped:
        pixels(name)
    assert name in str(stopped.value) and "\n" not in str(stopped.value)


def test_windows_that_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"a.dcm: window 40 / 0 is none .*; give the option 'window"):
        decode(dicom_bytes(np.eye(16, dtype=np.uint16), WindowCenter=40, WindowWidth=0), "a.dcm")
    for bad in ([40], "brain", [40, "80"], [True, 80], 80):
        with pytest.raises(
            UserError, match="option 'window': (Input should be a|List should have at least 2 items)"
        ):
            datasets.read("rsna_pneumonia", tmp_path, {"window": bad})


def test_the_patient_is_a_salted_hash_read_without_the_pixels(tmp_path):
    data = dicom_bytes(np.eye(16, dtype=np.uint16), PatientID="ID_0a1b", PatientName="Doe^Jane")
    (tmp_path / "a.dcm").write_bytes(data)
    (tmp_path / "cut.dcm").write_bytes(data[:-400])
    one, key = patient_of(FileRef(tmp_path, "a.dcm"), salt="7")
    assert (one, key) == patient_of(FileRef(tmp_path, "cut.dcm"), salt="7")
    assert one == hashed("ID_0a1b", "7") and key == hashed("id_0a1b", "7")
    assert len(one) == 16 and one != hashed("ID_0a1b", "8") and one != hashed("ID_0a1c", "7")
    ct = pydicom.dcmread(SHIPPED / "CT_small.dcm").PatientID
    assert patient_of(FileRef(SHIPPED, "CT_small.dcm"), salt="7")[0] == hashed(ct, "7")
    (tmp_path / "b.dcm").write_bytes(dicom_bytes(np.eye(16, dtype=np.uint16)))
    with pytest.raises(UserError, match="b.dcm names no patient"):
        patient_of(FileRef(tmp_path, "b.dcm"), salt="7")
    (tmp_path / "c.dcm").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="c.dcm is no readable DICOM picture"):
        patient_of(FileRef(tmp_path, "c.dcm"), salt="7")


def test_a_reference_reads_its_file(tmp_path):
    ref = DicomRef(FileRef(SHIPPED, "CT_small.dcm"), window=(40, 400))
    values, digest, rule = ref.read_pixels()
    assert np.array_equal(values, pixels("CT_small.dcm", window=(40, 400))) and len(digest) == 64
    assert rule == "RescaleSlope and RescaleIntercept, padding black, window given"
    assert ref.name == str(SHIPPED / "CT_small.dcm")
    with pytest.raises(UserError, match="cannot read .*none.dcm"):
        DicomRef(FileRef(tmp_path, "none.dcm")).read_pixels()


# Where scanners write the same thing in other places -------------------------------------------------------
def group(**values) -> pydicom.Dataset:
    """A functional group of a frame: rescale and window as Enhanced CT and MR hold them."""
    rescale, window, item = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    for keyword, value in values.items():
        setattr(rescale if keyword.startswith("Rescale") else window, keyword, value)
    item.PixelValueTransformationSequence, item.FrameVOILUTSequence = [rescale], [window]
    return item


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    shared=st.booleans(),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    window=st.sampled_from([None, (40.0, 400.0)]),
)
def test_frames_of_enhanced_objects_equal_their_classic_slices(seed, shared, function, window):
    rng = np.random.default_rng(seed)
    slices = rng.integers(0, 4096, (3, 16, 16)).astype(np.uint16)
    values = [
        {
            "RescaleSlope": float(rng.integers(1, 4)), "RescaleIntercept": float(rng.integers(-2048, 1)),
            "WindowCenter": float(rng.integers(-600, 600)), "WindowWidth": float(rng.integers(2, 2000)),
            "VOILUTFunction": function,
        }
        for _ in slices
    ]  # fmt: skip
    if shared:
        values = values[:1] * 3
        groups = {"SharedFunctionalGroupsSequence": [group(**values[0])]}
    else:
        other = group(RescaleSlope=9.0, RescaleIntercept=9.0, WindowCenter=9.0, WindowWidth=9.0)
        each = [group(**one) for one in values]
        groups = {"SharedFunctionalGroupsSequence": [other], "PerFrameFunctionalGroupsSequence": each}
    several = {"NumberOfFrames": 3, "PixelData": slices.tobytes(), "Modality": "CT"}
    enhanced = dicom_bytes(slices[0], **several, **groups)
    for frame, (stored, own) in enumerate(zip(slices, values, strict=True)):
        classic, rule = decode(dicom_bytes(stored, Modality="CT", **own), "x", window)
        found, rule_of_frame = decode(enhanced, "x", window, frame)
        assert np.array_equal(found, classic) and found.mean() == classic.mean()
        assert rule_of_frame == rule.replace("Intercept", "Intercept of the frame")


@pytest.mark.parametrize(
    ("tags", "slope", "intercept"), [({"RescaleIntercept": -1024}, 1, -1024), ({"RescaleSlope": 2}, 2, 0)]
)
def test_half_a_rescale_is_the_other_half_changing_nothing(tags, slope, intercept):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    units = slope * stored.astype(float) + intercept
    expected = np.clip((units - (500 - 0.5)) / 999 + 0.5, 0, 1) * 255
    found, rule = decode(dicom_bytes(stored, Modality="CT", **tags), "x", (500, 1000))
    assert np.abs(found - expected).max() <= 0.51 and rule == f"{next(iter(tags))}, window given"


def test_a_window_in_hounsfield_units_is_refused_where_ct_has_none():
    screen = dicom_bytes(np.eye(16, dtype=np.uint8), Modality="CT")
    with pytest.raises(UserError, match="shot.dcm is CT without rescale .*leave the file out"):
        decode(screen, "shot.dcm", (40, 400))
    assert decode(screen, "shot.dcm")[0].max() == 255


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("first", [0, 500])
def test_a_voi_table_is_looked_up(bits, first):
    rng = np.random.default_rng(bits)
    table = np.sort(rng.integers(0, 2**bits, 1000))
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [1000, first, bits], table.astype("<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    stored = rng.integers(0, 4096, (32, 32)).astype(np.uint16)
    expected = table[np.clip(stored.astype(int) - first, 0, 999)] / (2**bits - 1) * 255
    found, rule = decode(dicom_bytes(stored, VOILUTSequence=[item]), "x")
    assert np.abs(found - expected).max() <= 0.51 and rule == "stored values, VOI table"
    both = {"WindowCenter": 2000, "WindowWidth": 4000}
    plain = decode(dicom_bytes(stored, **both), "x")[0]
    assert np.array_equal(decode(dicom_bytes(stored, VOILUTSequence=[item], **both), "x")[0], plain)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("padding", "written"), [(-2000, -2000), (-2000, 63536), (0, 0), (4000, 4000)])
def test_padding_counts_for_no_range_and_is_black(kind, padding, written):
    """The picture is that of its measured pixels alone."""
    rng = np.random.default_rng(0)
    stored = rng.integers(1, 3000, (16, 16)).astype(np.int16)
    expected = decode(dicom_bytes(stored[:, 4:], PhotometricInterpretation=kind), "x")[0]
    stored[:, :4] = padding
    data = pydicom.dcmread(io.BytesIO(dicom_bytes(stored)))
    data.PhotometricInterpretation = kind
    data.add_new("PixelPaddingValue", "US" if written > 2**15 else "SS", written)
    buffer = io.BytesIO()
    data.save_as(buffer)
    found, rule = decode(buffer.getvalue(), "x")
    assert np.array_equal(found[:, 4:], expected) and not found[:, :4].any()
    assert "padding black" in rule


@pytest.mark.parametrize(
    "syntax", ["ExplicitVRLittleEndian", "ImplicitVRLittleEndian", "ExplicitVRBigEndian"]
)
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_preamble_are_read_as_those_with_one(tmp_path, syntax, meta):
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    whole = dicom_bytes(stored, PatientID="P1", Rows=16)
    data = pydicom.dcmread(io.BytesIO(whole))
    data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    if syntax == "ExplicitVRBigEndian":
        data.PixelData = stored.astype(">u2").tobytes()
    buffer = io.BytesIO()
    if not meta:
        del data.file_meta
    encoding = {"implicit_vr": "Implicit" in syntax, "little_endian": "Little" in syntax}
    pydicom.dcmwrite(buffer, data, **({} if meta else encoding))
    bare = buffer.getvalue()
    bare = bare[132:] if bare[128:132] == b"DICM" else bare
    assert np.array_equal(decode(bare, "x")[0], decode(whole, "x")[0])
    (tmp_path / "bare").write_bytes(bare)
    file = FileRef(tmp_path, "bare")
    assert patient_of(file, "7") == (hashed("P1", "7"), hashed("p1", "7"))
    assert read_header(file, ["Rows"]).Rows == 16


@pytest.mark.parametrize("text", [b"", b"a,b\n", b"\x02\x00", b"\x08\x00" * 300, b"\x00\x08" + bytes(99)])
def test_what_only_begins_like_dicom_is_none(tmp_path, text):
    (tmp_path / "file").write_bytes(text)
    assert read_header(FileRef(tmp_path, "file"), ["Rows"]) is None


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(
        [
            "MR_small.dcm",
            "MR_small_RLE.dcm",
            "MR_small_jp2klossless.dcm",
            "SC_rgb_jpeg_dcmtk.dcm",
            "image_dfl.dcm",
        ]
    ),
    changes=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(1, 10_000),
)
def test_any_damage_ends_in_pixels_or_in_a_user_error(name, changes, length):
    data = bytearray(shipped(name))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        picture, _ = decode(bytes(data[:length]), "damaged")
    except UserError as exc:
        assert "damaged" in str(exc) and "\n" not in str(exc)
    else:
        assert picture.dtype == np.uint8 and picture.ndim in (2, 3)
