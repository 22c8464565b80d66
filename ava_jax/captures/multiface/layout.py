"""Names in a capture of multiface. Imports nothing: a command shows them with its flags."""

SENSOR = (2048, 1334)  # height and width, pixels, that KRT refers to
IMAGES, MESHES, TEXTURES, AVERAGE = "images", "tracked_mesh", "unwrapped_uv_1024", "average"
KRT, FRAME_LIST = "KRT", "frame_list.txt"
TEXTURE_MEAN, TEXTURE_VARIANCE, VERTEX_MEAN, VERTEX_VARIANCE = "tex_mean.png", "tex_var.txt", "vert_mean.bin", "vert_var.txt"
STATISTICS = (TEXTURE_MEAN, TEXTURE_VARIANCE, VERTEX_MEAN, VERTEX_VARIANCE)
NEUTRALS = ("EXP_neutral_peak", "E001_Neutral_Eyes_Open", "EXP_eye_neutral")  # the first that there is
FOLDERS = "m--*--*--*"
