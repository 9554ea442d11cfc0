"""The tests of the pictures: real files through real filters. Nothing has to be started for them."""

import pytest
from PIL import Image

from grpcflow import ChordError
from pictures import images, tasks
from pictures.tasks import apply_filter, develop, develop_all, upload

SMALL = (120, 90)


@pytest.fixture(autouse=True)
def studio(tmp_path, monkeypatch):
    folder = tmp_path / "studio"
    folder.mkdir()
    monkeypatch.setenv(tasks.VARIABLE, str(folder))
    return folder


def test_every_filter_makes_another_picture_of_the_same_size(tmp_path, studio):
    [path] = images.paint(tmp_path, 1, SMALL)
    name = upload(str(path))
    made = [images.opened(studio / apply_filter(name, effect)) for effect in images.FILTERS]
    assert {image.size for image in made} == {SMALL}
    assert len({image.tobytes() for image in made}) == len(images.FILTERS)


def test_a_picture_goes_through_every_filter(grpcflow_cluster, tmp_path, studio):
    [path] = images.paint(tmp_path, 1, SMALL)
    row = develop(path).delay().get(timeout=60)
    assert row == {"name": path.name, "tiles": [f"{path.stem}.{effect}.jpg" for effect in images.FILTERS]}
    assert all((studio / tile).is_file() for tile in row["tiles"])


def test_the_sheet_holds_every_tile_in_its_place(grpcflow_cluster, tmp_path):
    paths = images.paint(tmp_path, 2, SMALL)
    sheet = develop_all(paths).delay().get(timeout=60)
    assert sheet["rows"] == [path.name for path in paths]
    with Image.open(sheet["file"]) as paper:
        assert paper.size == tuple(sheet["size"])
        skies = [paper.crop(images.place(row, 0)).getpixel((80, 45)) for row in range(2)]
        assert skies[0] != skies[1]


def test_what_is_no_picture_fails_and_is_named(grpcflow_cluster, tmp_path):
    paths = images.paint(tmp_path, 1, SMALL)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Anne,")
    with pytest.raises(ChordError, match=r"letter\.txt is not a picture"):
        develop_all([*paths, letter]).delay().get(timeout=60)
    assert grpcflow_cluster.calls("pictures.tasks.contact_sheet") == []


def test_an_upload_that_comes_twice_is_there_once(grpcflow_cluster, tmp_path, studio):
    [path] = images.paint(tmp_path, 1, SMALL)
    assert [upload.delay(str(path)).get(timeout=60) for _ in range(2)] == [path.name] * 2
    assert [file.name for file in studio.iterdir()] == [path.name]
