"""VOC's annotation XML: what is read of it, and what is refused in one line."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segmix_core.data import silhouettes
from segmix_core.data.annotations import Annotation, VocObject, read_annotation
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.errors import InputError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"


def one_object(inside: str = f"<name>horse</name>{BOX}") -> str:
    return f"<annotation><object>{inside}</object></annotation>"


def read(tmp_path: Path, text: str | bytes) -> Annotation:
    path = tmp_path / "one.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_annotation(path, VOC_CATEGORIES)


def test_a_file_as_voc_writes_it(tmp_path: Path) -> None:
    """The second object as in files of 2007: no `occluded`, and parts with names and boxes of their own."""
    found = read(
        tmp_path,
        """<annotation><folder>VOC2012</folder><segmented>1</segmented>
        <object><name>horse</name><pose>Left</pose><truncated>1</truncated><occluded>1</occluded>
            <bndbox><xmax>196.5</xmax><xmin>45.7</xmin><ymax>167</ymax><ymin>18</ymin></bndbox>
            <difficult>0</difficult></object>
        <object><name>person</name><part><name>head</name><bndbox><xmin>4</xmin><ymin>5</ymin>
            <xmax>6</xmax><ymax>7</ymax></bndbox></part><truncated>0</truncated><difficult>1</difficult>
            <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
        </annotation>""",
    )
    assert found.objects == (
        VocObject(
            category=13, occluded=True, truncated=True, difficult=False, box=(45.7, 18.0, 196.5, 167.0)
        ),
        VocObject(category=15, occluded=False, truncated=False, difficult=True, box=(1, 2, 30, 40)),
    )


SIDE = st.integers(1, 500)
OBJECTS = st.builds(
    lambda category, flags, corner, size: VocObject(
        category=category,
        occluded=flags[0],
        truncated=flags[1],
        difficult=flags[2],
        box=(*corner, corner[0] + size[0], corner[1] + size[1]),
    ),
    st.integers(1, 20),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.tuples(SIDE, SIDE),
    st.tuples(SIDE, SIDE),
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OBJECTS, min_size=1, max_size=4), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
def test_what_was_written_is_read(tmp_path: Path, objects: list[VocObject], encoding: str) -> None:
    root = ElementTree.Element("annotation")
    for one in objects:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = VOC_CATEGORIES[one.category]
        for flag in ("difficult", "occluded", "truncated"):
            ElementTree.SubElement(entry, flag).text = str(int(getattr(one, flag)))
        box = ElementTree.SubElement(entry, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), one.box, strict=True):
            ElementTree.SubElement(box, side).text = str(value)
    assert read(tmp_path, ElementTree.tostring(root, encoding=encoding)).objects == tuple(objects)


def test_generated_scenes_are_read_as_they_were_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = {}
    write = silhouettes.write_scene

    def keep(out: Path, identifier: str, scene: silhouettes.Scene) -> None:
        scenes[identifier] = scene
        write(out, identifier, scene)

    monkeypatch.setattr(silhouettes, "write_scene", keep)
    silhouettes.make(tmp_path / "made", images=12, val=4, size=48, seed=5)
    assert len(scenes) == 16
    for identifier, scene in scenes.items():
        found = read_annotation(tmp_path / "made" / "Annotations" / f"{identifier}.xml", VOC_CATEGORIES)
        read_back = [(one.category, one.occluded, one.truncated, one.box) for one in found.objects]
        assert read_back == [(one.category, one.occluded, one.truncated, one.box) for one in scene.instances]


LAUGHS = """<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>
<annotation><object><name>&b;</name></object></annotation>"""
FOREIGN = """<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<annotation><object><name>&a;</name></object></annotation>"""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not readable as XML"),
        ("<annotation><object>", "not readable as XML"),
        ("horse, 1, 2, 30, 40", "not readable as XML"),
        (b"\x89PNG\r\n\x1a\n", "not readable as XML"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "not readable as XML"),
        (one_object(f"<name>&horse;</name>{BOX}"), "not readable as XML"),
        (LAUGHS, "declares a document type; remove the DOCTYPE"),
        (FOREIGN, "declares a document type"),
        (LAUGHS.replace("?>", ' encoding="utf-16"?>', 1).encode("utf-16"), "declares a document type"),
        ('<!DOCTYPE annotation SYSTEM "voc.dtd">' + one_object(), "declares a document type"),
        ("<annotation><segmented>1</segmented></annotation>", "names no object"),
        ("<html><object><name>horse</name></object></html>", "names no object"),
        (one_object(f"<name>hourse</name>{BOX}"), "category 'hourse'; did you mean 'horse'?"),
        (one_object(f"<name>zzz</name>{BOX}"), "object 1: unknown category 'zzz'; known: aeroplane, "),
        (one_object(f"<name>background</name>{BOX}"), "object 1: unknown category 'background'"),
        (one_object(BOX), "object 1: unknown category ''"),
        (one_object(f"<name>horse</name><occluded>2</occluded>{BOX}"), "occluded is '2'; write 0 or 1"),
        (one_object(f"<name>horse</name><truncated>yes</truncated>{BOX}"), "object 1: truncated is 'yes'"),
        (one_object(f"<name>horse</name><difficult/>{BOX}"), "object 1: difficult is ''"),
        (one_object("<name>horse</name>"), "object 1: its box is ['', '', '', '']"),
        (one_object().replace("40", "1"), "object 1: its box is ['1', '2', '30', '1']"),
        (one_object().replace("40", "nan"), "object 1: its box is"),
        (one_object().replace("40", "inf"), "object 1: its box is"),
        (one_object().replace("30", "inf"), "object 1: its box is"),
        (one_object().replace("<xmin>1<", "<xmin>-inf<"), "object 1: its box is"),
        (one_object().replace("30", "left"), "object 1: its box is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str | bytes, what: str) -> None:
    with pytest.raises(InputError, match=re.escape(what)) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "one.xml"))
    assert "\n" not in str(caught.value)


def test_the_second_object_is_named(tmp_path: Path) -> None:
    entry = f"<object><name>horse</name>{BOX}</object>"
    with pytest.raises(InputError, match="object 2: unknown category 'unicorn'"):
        read(tmp_path, f"<annotation>{entry}{entry.replace('horse', 'unicorn')}</annotation>")


def test_a_missing_file_and_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.xml: no such annotation; restore the file"):
        read_annotation(tmp_path / "none.xml", VOC_CATEGORIES)
    (tmp_path / "one.xml").mkdir()
    with pytest.raises(InputError, match=r"one\.xml: not readable as XML"):
        read_annotation(tmp_path / "one.xml", VOC_CATEGORIES)
