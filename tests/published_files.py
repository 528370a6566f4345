"""Small datasets in the published formats, written by the tests."""

import io
import json
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def noise(seed: int, size: int = 16, channels: int | None = None) -> np.ndarray:
    shape = (size, size) if channels is None else (size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(path: Path, seed: int = 0, size: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, size)).save(path, quality=95)
    return path


def write_csv(path: Path, header: str | None, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in ([header] if header else []) + rows))


def dicom_bytes(values: np.ndarray, **tags) -> bytes:
    """A grey DICOM file, uncompressed; `tags` set or replace elements by their keyword."""
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.Rows, header.Columns = values.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * values.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(np.issubdtype(values.dtype, np.signedinteger))
    header.PixelData = values.tobytes()
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom(path: Path, seed: int = 0, **tags) -> Path:
    """A picture of 16 x 16 stored values from 1000 to 1255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(1000 + noise(seed).astype(np.uint16), **tags))
    return path


def radimagenet(root: Path) -> Path:
    """Three classes in every part: ultrasound has no region, and one label occurs in two regions."""
    folders = ["MR/knee/normal", "CT/lung/normal", "US/gallbladder"]
    seed = 0
    for part, count in (("train", 3), ("val", 2), ("test", 2)):
        rows = []
        for folder in folders:
            for _ in range(count):
                name = f"radiology_ai/{folder}/image{seed:03d}.png"
                picture(root / name, 1000 + seed)  # of no task
                rows.append(f"{name},{folder.split('/')[-1]}")
                seed += 1
        write_csv(root / f"RadiologyAI_{part}.csv", "filename,label", rows)
    return root


def ddti_case(number: int, tirads: str, marks: dict[int, list | None]) -> str:
    """The XML of a case as published; marks: image -> regions, each a list of (x, y)."""
    drawn = []
    for image, regions in marks.items():
        shapes = [
            {"points": [{"x": x, "y": y} for x, y in r], "annotation": {}, "regionType": "freehand"}
            for r in regions or []
        ]
        text = json.dumps(shapes) if regions is not None else ""
        drawn.append(f"<mark><image>{image}</image><svg>{text}</svg></mark>")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><case><number>{number}</number><age>45</age><sex>F</sex>'
        f"<composition>solid</composition><tirads>{tirads}</tirads><reportbacaf/>{''.join(drawn)}</case>"
    )


def ddti_original(root: Path) -> Path:
    """Four cases, of which 3 has no score; case 2 has two images, the second without a drawing."""
    square = [(4, 2), (11, 2), (11, 9), (4, 9)]
    corner = [(13, 13), (19, 13), (19, 19), (13, 19)]  # reaches beyond the image
    cases = {
        1: ("2", {1: [square]}),
        2: ("4a", {1: [square, corner], 2: None}),
        3: ("", {1: [square]}),
        4: ("5", {1: [[(1, 1), (2, 2)]]}),
    }
    for number, (tirads, marks) in cases.items():
        for image in marks:
            picture(root / f"{number}_{image}.jpg", 10 * number + image)
        (root / f"{number}.xml").write_text(ddti_case(number, tirads, marks))
    return root


def mrnet(root: Path) -> Path:
    """Four exams of train and two of valid; volumes of 5 and 6 slices of 16 x 16."""
    for part, exams in (("train", ["0000", "0001", "0002", "0003"]), ("valid", ["1130", "1131"])):
        rows = []
        for exam in exams:
            depth = 5 + int(exam) % 2
            volume = np.random.default_rng(int(exam)).integers(0, 256, (depth, 16, 16), dtype=np.uint8)
            file = root / part / "sagittal" / f"{exam}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, volume)
            rows.append(f"{exam},{int(exam) % 2}")
        for finding in ("acl", "meniscus"):
            write_csv(root / f"{part}-{finding}.csv", None, rows)
    return root


def mrnet_lists(root: Path) -> Path:
    """The authors' picked slices in two folds: an exam's slices stay in one part."""
    slices = {"0000": (2, "no"), "0001": (3, "yes"), "1130": (1, "no"), "1131": (4, "yes")}
    folds = {1: (["0000", "0001"], ["1130"], ["1131"]), 2: (["1130", "1131"], ["0001"], ["0000"])}
    for fold, parts in folds.items():
        for part, exams in zip(("train", "val", "test"), parts, strict=True):
            rows = [f"images/{e}_sagittal_{slices[e][0]}.000000.png,{slices[e][1]}" for e in exams]
            write_csv(root / "folds" / f"{part}_fold{fold}.csv", "filename,acl_label", rows)
            rows = [row.replace(",no", ",n").replace(",yes", ",p") for row in rows]
            write_csv(root / "folds" / f"meniscus_{part}_fold{fold}.csv", "img_dir,label", rows)
    return root


def rsna_pneumonia(root: Path) -> Path:
    """Three patients, the second with two boxes."""
    for number, patient in enumerate(("0004cfab", "00436515", "003d8fa0")):
        dicom(root / "stage_2_train_images" / f"{patient}.dcm", number)
    rows = [
        "0004cfab,,,,,0",
        "00436515,264.0,152.0,213.0,379.0,1",
        "00436515,562.0,152.0,256.0,453.0,1",
        "003d8fa0,,,,,0",
    ]
    write_csv(root / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", rows)
    return root


def rsna_haemorrhage(root: Path, images: int = 6) -> Path:
    """Six rows an image, two images a patient; the first image is listed twice, as in the published table."""
    kinds = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any"]
    rows = []
    for number in range(images):
        image, positive = f"ID_{number:09x}", number % 3 == 0
        header = {"RescaleIntercept": -1024, "RescaleSlope": 1, "WindowCenter": 100, "WindowWidth": 200}
        dicom(root / "stage_2_train" / f"{image}.dcm", number, PatientID=f"ID_p{number // 2}", **header)
        listed = [f"{image}_{kind},{int(positive and kind in ('any', 'subdural'))}" for kind in kinds]
        rows += listed * (2 if number == 0 else 1)
    write_csv(root / "stage_2_train.csv", "ID,Label", rows)
    return root


def cc_ccii(root: Path) -> Path:
    """Two patients of each class, in the authors' three lists."""
    seed = 0
    for part, patients in (("train", ["1", "2"]), ("val", ["3", "4"]), ("test", ["5", "6"])):
        rows = []
        for name, patient in zip(("CP", "NCP"), patients, strict=True):
            for index in (31, 32):
                path = f"{name}/{patient}/312{patient}/{index:04d}.png"
                picture(root / "images" / path, seed)
                rows.append(f"{seed},{path},{name}_{patient},{name},images/{path}")
                seed += 1
        write_csv(root / "folds" / f"sarscovid2_{part}.csv", ",imgpath,pid,label,filename", rows)
    return root


def covid(root: Path) -> Path:
    """One patient of each class in each of the authors' three lists, two slices a patient."""
    seed = 0
    for part, patients in (
        ("train", ["Bozhou_P11", "WH104"]),
        ("val", ["WCH_P26", "Normal-7"]),
        ("test", ["Fuyang_P7", "N1"]),
    ):
        rows = []
        for label, patient in zip(("positive", "negative"), patients, strict=True):
            for index in range(2):
                name = f"images/{patient}-{index:02d}_0001.{300 + index}.png"
                picture(root / name, seed)
                rows.append(f"{seed},{name},{label}")
                seed += 1
        write_csv(root / "folds" / f"covid19_{part}.csv", ",filename,label", rows)
    return root


def medmnist(file: Path, channels: int | None = None, classes: int = 2, size: int = 16) -> Path:
    arrays = {}
    for seed, (key, count) in enumerate((("train", 12), ("val", 6), ("test", 8))):
        shape = (count, size, size) if channels is None else (count, size, size, channels)
        arrays[f"{key}_images"] = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{key}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **arrays)
    return file
