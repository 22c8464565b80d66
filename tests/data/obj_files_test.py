"""OBJ files: what the bulk parser reads is what the parser by line reads, in every form that programs write; errors name the line."""

import numpy as np
import pytest

from ava_jax.data import obj_files, obj_lines

SQUARE = "v 0.0 0.0 0.0\nv 1.0 0.0 0.0\nv 1.0 1.0 0.0\nv 0.0 1.0 0.5\n"
TRIANGLES = "f 1 2 3\nf 1 3 4\n"
FACES = [[0, 1, 2], [0, 2, 3]]
VERTICES = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]]


def same(a: obj_files.Obj, b: obj_files.Obj) -> bool:
    """Equal in values, shapes and types."""
    return all(
        (x is None) == (y is None) and (x is None or (x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y)))
        for x, y in zip(a, b, strict=True)
    )


def parse(text: str | bytes, *, bulk: bool = True) -> obj_files.Obj:
    """The mesh, after a look at whether both parsers agree; `bulk`: whether the quick one must be able to read it."""
    data = text.encode() if isinstance(text, str) else text
    mesh = obj_files.parse(data)
    assert same(mesh, obj_lines.parse(data.removeprefix(b"\xef\xbb\xbf"), "x"))
    plain = data.removeprefix(b"\xef\xbb\xbf")
    quick = obj_files._parse_in_bulk(plain) or obj_files._parse_in_bulk(obj_files._plain_spaces(plain))
    assert (quick is not None) == bulk
    return mesh


@pytest.mark.parametrize(
    "text",
    [
        SQUARE + TRIANGLES,
        "# made by hand\nmtllib a.mtl\no body\n\n" + SQUARE + "g skin\nusemtl m\ns off\n" + TRIANGLES,
        (SQUARE + TRIANGLES).replace("\n", "\r\n"),
        "\ufeff" + SQUARE + TRIANGLES,
        (SQUARE + TRIANGLES).replace("\n", " \n").replace("v ", "v  "),  # as 3ds Max writes
        (SQUARE + TRIANGLES).replace(" ", "\t"),
        SQUARE + TRIANGLES.rstrip(),
        SQUARE + "f -4 -3 -2\nf -4 -2 -1\n",
        SQUARE + "f 1 2 3 4\n",
        SQUARE + "vn 0 0 1\nf 1//1 2//1 3//1\nf 1//1 3//1 4//1\n",
        SQUARE.replace("0.0", "0").replace("1.0", "1"),
        SQUARE.replace("1.0", "1e0").replace("0.5", "5.0E-1") + TRIANGLES,
        SQUARE.replace("0.0", "-.0").replace("1.0", "+1."),
        SQUARE + "f 1 2 3\nvn 0 0 1\nf 1//1 3//1 4//1\n",
    ],
    ids=[
        "plain",
        "statements",
        "crlf",
        "bom",
        "spaces",
        "tabs",
        "no_last_newline",
        "negative",
        "quad",
        "normals",
        "whole",
        "exponents",
        "signs",
        "two_forms_apart",
    ],
)
def test_forms_of_one_square(text):
    mesh = parse(text)
    np.testing.assert_array_equal(mesh.vertices, np.float32(VERTICES))
    assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int32
    if "f " in text or "f\t" in text:
        np.testing.assert_array_equal(mesh.faces, FACES)
    else:
        assert mesh.faces.shape == (0, 3)
    assert mesh.uvs is None and mesh.face_uvs is None and mesh.colours is None


@pytest.mark.parametrize(
    "text",
    [
        "  " + SQUARE + TRIANGLES,
        SQUARE + "f 1 \\\n2 3\nf 1 3 4\n",
        SQUARE + "f 1 2//1 3\nf 1 3 4//1\n",
        SQUARE.replace("\nv 1.0 1.0", " # corner\nv 1.0 1.0") + TRIANGLES,
        (SQUARE + TRIANGLES).replace("\n", "\r"),
        SQUARE.replace("v 0.0 1.0 0.5", "v 0.0 1.0 0.5 1.0") + TRIANGLES,  # one vertex alone has a weight
    ],
    ids=["indented", "continued", "forms_mixed_in_a_line", "comment_after_a_vertex", "cr", "weight"],
)
def test_odd_forms_are_read_line_by_line(text):
    mesh = parse(text, bulk=False)
    np.testing.assert_array_equal(mesh.vertices, np.float32(VERTICES))
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_uvs():
    chart = "vt 0.0 0.25\nvt 1.0 0.25\nvt 1.0 1.0\n"
    for face in ("f 1/3 2/1 3/2\n", "f 1/3/1 2/1/1 3/2/1\n"):
        mesh = parse(SQUARE + chart + "vn 0 0 1\n" + face)
        np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])
        np.testing.assert_array_equal(mesh.face_uvs, [[2, 0, 1]])
        np.testing.assert_array_equal(mesh.uvs, np.float32([[0, 0.25], [1, 0.25], [1, 1]]))
    np.testing.assert_array_equal(parse(SQUARE + chart.replace("\n", " 0.0\n") + "f 1/3 2/1 3/2\n").uvs, mesh.uvs)
    assert parse(SQUARE + chart + "f 1 2 3\n").face_uvs is None
    assert parse(SQUARE + chart + "f 1/1 2/1 3/1\ng other\nf 1 2 3\n").face_uvs is None


def test_colours():
    mesh = parse("v 0.0 0.0 0.0 0.1 0.2 0.3\nv 1.0 0.0 0.0 0.4 0.5 0.6\nv 0.0 2.0 0.0 0.7 0.8 0.9\nf 1 2 3\n")
    np.testing.assert_array_equal(mesh.vertices, np.float32([[0, 0, 0], [1, 0, 0], [0, 2, 0]]))
    np.testing.assert_array_equal(mesh.colours, np.float32([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]))


def test_polygons_are_fanned_in_order():
    mesh = parse(SQUARE + "v 0.0 0.0 9.0\nf 1 2 3 4\nf 5 4 3\nf 1 2 3 4 5\n")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [4, 3, 2], [0, 1, 2], [0, 2, 3], [0, 3, 4]])


def test_negative_indices_count_from_where_they_stand():
    mesh = parse("v 0.0 0.0 0.0\nv 1.0 0.0 0.0\nv 0.0 1.0 0.0\nf -3 -2 -1\nv 0.0 0.0 1.0\nf -3 -2 -1\n")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [1, 2, 3]])


def test_numbers_are_the_nearest_float32():
    """As the usual parser gives them, whatever their number of digits."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 3)) * 10.0 ** rng.integers(-3, 4, (300, 1))
    for form in ("%.6f", "%.3f", "%.10f", "%.15f", "%r", "%.9e"):
        text = "".join("v " + " ".join(form % x for x in row) + "\n" for row in values.tolist())
        expected = np.array([[float(form % x) for x in row] for row in values.tolist()]).astype(np.float32)
        np.testing.assert_array_equal(parse(text).vertices, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be an OBJ file with vertices"),
        ("ply\nformat ascii 1.0\n", "must be an OBJ file with vertices"),
        (SQUARE + "v 1 2\n", r"x\.obj, line 5: a vertex has 3 coordinates.*'v 1 2'"),
        (SQUARE + "v 1 2 x\n", r"x\.obj, line 5: could not convert string to float: 'x'"),
        (SQUARE + "v 1.0 2.0 nan\n", r"x\.obj, line 5: finite numbers"),
        (SQUARE + "v 1.0.0 2.0 3.0\n", r"x\.obj, line 5: could not convert"),
        (SQUARE + "\n# more\nf 1 2\n", r"x\.obj, line 7: a face has 3 corners or more; got 'f 1 2'"),
        (SQUARE + "f 1 2 3\nf 1 2 5\n", r"x\.obj, line 6: a corner must name one of 4 vertices and 0 UVs; got vertex 5"),
        (SQUARE + "f 1 2 0\n", r"x\.obj, line 5: a corner is v, v/vt"),
        (SQUARE + "f 1 2 -5\n", r"x\.obj, line 5: a corner must name one of 4 vertices"),
        (SQUARE + "f 1 2 3-1\n", r"x\.obj, line 5: invalid literal"),
        (SQUARE + "f 1/1 2/1 3/1\n", r"x\.obj, line 5: a corner must name one of 4 vertices and 0 UVs"),
        (SQUARE + "f 1 2 \\\n3 x\n", r"x\.obj, line 5: invalid literal"),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, message):
    path = tmp_path / "x.obj"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        obj_files.read(path)


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(1)
    vertices, faces = rng.normal(size=(50, 3)), rng.integers(0, 50, (80, 3))
    obj_files.write(tmp_path / "x.obj", vertices, faces)
    mesh = obj_files.read(tmp_path / "x.obj")
    np.testing.assert_allclose(mesh.vertices, vertices, atol=5.1e-7)
    np.testing.assert_array_equal(mesh.faces, faces)
    obj_files.write(tmp_path / "points.obj", vertices, decimals=3)
    np.testing.assert_allclose(obj_files.read(tmp_path / "points.obj").vertices, vertices, atol=5.1e-4)


def test_vertices_move_and_all_else_stays():
    data = b"# head\r\nv 1 2 3\r\nv 4 5 6 0.1 0.2 0.3\r\nvt 0 0\r\n v 7 \\\r\n8 9\r\nvn 0 0 1\r\nf 1/1/1 2/1/1 -1/-1/-1 1/1/1\r\n#end"
    moved = obj_files.with_vertices(data, np.arange(9).reshape(3, 3), decimals=1)
    expected = (
        b"# head\r\nv 0.0 1.0 2.0\r\nv 3.0 4.0 5.0 0.1 0.2 0.3\r\nvt 0 0\r\nv 6.0 7.0 8.0\r\nvn 0 0 1\r\n"
        b"f 1/1/1 2/1/1 -1/-1/-1 1/1/1\r\n#end"
    )
    assert moved == expected
    with pytest.raises(ValueError, match=r"vertices must be \[3, 3\] as in the file; got \[2, 3\]"):
        obj_files.with_vertices(data, np.zeros((2, 3)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("head", ["# head\n", "", "vt 0 0\n"])
def test_a_block_of_vertices_is_moved_at_once(head, end):
    """As the way for all files moves it, which is told apart by a backslash."""
    text = (head + SQUARE + TRIANGLES).replace("\n", end)
    moved = obj_files.with_vertices(text.encode(), np.arange(12).reshape(4, 3))
    assert moved + b"#\\" == obj_files.with_vertices(text.encode() + b"#\\", np.arange(12).reshape(4, 3))
    assert moved.decode().startswith((head + "v 0.000000 1.000000 2.000000\n").replace("\n", end))
    assert moved.decode().endswith(TRIANGLES.replace("\n", end))
    with pytest.raises(ValueError, match=r"vertices must be \[4, 3\] as in the file; got \[3, 3\]"):
        obj_files.with_vertices(text.encode(), np.zeros((3, 3)))
