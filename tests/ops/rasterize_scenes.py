"""Meshes that the tests of `ops.mesh` draw."""

import numpy as np


def icosphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] on the unit sphere and faces [T, 3], counter-clockwise from outside."""
    g = (1 + 5**0.5) / 2
    vertices = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g), (g, 0, -1), (g, 0, 1),
                (-g, 0, -1), (-g, 0, 1)]  # fmt: skip
    faces = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8),
             (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)]  # fmt: skip
    vertices = [np.asarray(v) / np.linalg.norm(v) for v in vertices]
    for _ in range(subdivisions):
        middle, finer = {}, []

        def between(a, b):
            if (key := (min(a, b), max(a, b))) not in middle:
                middle[key] = len(vertices)
                m = vertices[a] + vertices[b]
                vertices.append(m / np.linalg.norm(m))
            return middle[key]

        for a, b, c in faces:
            ab, bc, ca = between(a, b), between(b, c), between(c, a)
            finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        faces = finer
    return np.asarray(vertices, np.float32), np.asarray(faces, np.int32)


def soup(rng: np.random.Generator, images: int, triangles: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of any size over and beside the picture: vertices [B, 3 T, 3] as `project` gives them, and faces [T, 3]."""
    centre = rng.uniform((-0.2, -0.2), (1.2, 1.2), (images, triangles, 1, 2)) * (width, height)
    spread = np.exp(rng.uniform(0, np.log(max(height, width, 3)), (images, triangles, 1, 1)))
    pixel = centre + spread * rng.standard_normal((images, triangles, 3, 2))
    depth = rng.uniform(1, 4, (images, triangles, 3, 1))
    vertices = np.concatenate([pixel * depth, depth], -1).reshape(images, 3 * triangles, 3)
    return vertices.astype(np.float32), np.arange(3 * triangles, dtype=np.int32).reshape(-1, 3)


def grid(rows: int, columns: int, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sheet that just covers the picture: pixels [V, 2], moved a little inside so that nothing folds; faces [T, 3] of either winding."""
    y, x = np.meshgrid(np.linspace(-0.5, height - 0.5, rows + 1), np.linspace(-0.5, width - 0.5, columns + 1), indexing="ij")
    pixel = np.stack([x, y], -1)
    room = np.array([width / columns, height / rows])
    pixel[1:-1, 1:-1] += rng.uniform(-0.15, 0.15, pixel[1:-1, 1:-1].shape) * room
    pixel[::2, ::3] = np.round(pixel[::2, ::3] * 2) / 2  # many vertices on pixel centres, and edges through them
    pixel[0, :, 1], pixel[-1, :, 1], pixel[:, 0, 0], pixel[:, -1, 0] = -0.5, height - 0.5, -0.5, width - 0.5
    at = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]
    faces = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    flip = rng.random(len(faces)) < 0.5
    faces[flip] = faces[flip][:, ::-1]
    return pixel.reshape(-1, 2), faces.astype(np.int32)
