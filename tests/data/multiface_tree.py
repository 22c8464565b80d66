"""A tiny multiface as it is published, for a local server: one entity with short segments and one that is split by camera."""

import hashlib
import io
import random
import tarfile

ENTITY = "m--20180227--0000--6795937--GHS"
SHORT, LONG = "E001_Neutral_Eyes_Open", "EXP_ROM07_Facial_Expressions"
CAMERAS, FRAMES = ("400002", "400029"), ("000010", "000013")
ROOT = f"v0.0/identities/{ENTITY}"


def tar(members: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    """A tar of files, and of members as they are given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def tars() -> dict[str, bytes]:
    """Tars of the entity by name; members are in the capture's folder."""
    rng = random.Random(0)

    def files(kind: str, segment: str, folders, suffixes=(".png",)) -> dict[str, bytes]:
        names = [f"{folder}{frame}{suffix}" for folder in folders for frame in FRAMES for suffix in suffixes]
        return {f"{ENTITY}/{kind}/{segment}/{name}": rng.randbytes(2000) for name in names}

    found = {"metadata.tar": {f"{ENTITY}/KRT": b"k", f"{ENTITY}/frame_list.txt": b"f"}, "audio.tar": {f"{ENTITY}/audio/a.wav": b"w"}}
    folders = [f"{camera}/" for camera in CAMERAS]
    found[f"images--{SHORT}.tar"] = files("images", SHORT, folders)
    found[f"unwrapped_uv_1024--{SHORT}.tar"] = files("unwrapped_uv_1024", SHORT, [*folders, "average/"])
    for segment in (SHORT, LONG):
        found[f"tracked_mesh--{segment}.tar"] = files("tracked_mesh", segment, [""], (".bin", "_transform.txt"))
    for camera in CAMERAS:
        found[f"images--{LONG}_cam{camera}.tar"] = files("images", LONG, [f"{camera}/"])
    for folder in (*CAMERAS, "average"):
        found[f"unwrapped_uv_1024--{LONG}_cam{folder}.tar"] = files("unwrapped_uv_1024", LONG, [f"{folder}/"])
    return {name: tar(members) for name, members in found.items()}


def tree(found: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Files of the server."""
    found = tars() if found is None else found
    page = "".join(f'<a href="{name}">{name}</a><br>\n' for name in (*found, "CHECKSUM"))
    sums = "".join(f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in found.items())
    lists = {"index.html": f"<html>{page}</html>".encode(), "CHECKSUM": sums.encode()}
    models = {"PretrainedModel/6795937_model.pth": random.Random(1).randbytes(5000)}
    return {f"{ROOT}/{name}": content for name, content in (found | lists).items()} | models
