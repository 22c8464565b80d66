"""multiface: a person's deep appearance model: tracked mesh and view-specific texture, from one code.

  ava train --config=multiface --config.data.root=CAPTURE --workdir=RUN            # as published, without the screen loss
  ava train --config=multiface:002643814 --config.data.root=CAPTURE --workdir=RUN  # held out as that person's published test
  ava train --config=multiface:mini --config.data.root=CAPTURE --workdir=RUN       # the mini data set, with the screen loss
  ava train --config=multiface:warp --config.data.root=CAPTURE --workdir=RUN       # another network: res, non, bilinear, warp
  ava train --config=multiface:tiny --config.data.root=CAPTURE --workdir=RUN       # for CPUs

CAPTURE is a folder m--DATE--TIME--ID--GHS; `ava multiface download` fetches one, `ava multiface synthesize` makes one from nothing.
Variants add up: multiface:002643814,warp.
"""

from ml_collections import ConfigDict, FieldReference

ARCHS = ("base", "res", "non", "bilinear", "warp")
# What the published experiment tests on: two scripts were recorded, the second of these three people.
V1, V2 = ("EXP_ROM07_Facial_Expressions",), ("EXP_free_face",)
SCRIPT_2 = ("002421669", "002645310", "5067077")
PEOPLE = {
    **dict.fromkeys(("002539136", "002643814", "002757580", "002914589", "2183941", "5372021"), V1),
    **dict.fromkeys(("6674443", "6795937", "7889059", "8870559"), V1),
    **dict.fromkeys(SCRIPT_2, V2),
}
VARIANTS = (*ARCHS, "mini", "tiny", *PEOPLE)


def get_config(variant: str = "base") -> ConfigDict:
    """Variants, one or several with commas between: an arch, a person's ID, "mini", "tiny"."""
    config = _base()
    for one in variant.split(","):
        if one in ARCHS:
            config.model.arch = one
        elif one in PEOPLE:
            config.data.held_out.segments = PEOPLE[one]
        elif one == "mini":
            config.data.held_out.segments = ("E061",)
            config.loss_weights.screen = 1.0
            config.train.best_score = "screen"  # published, where there is one
        elif one == "tiny":
            _shrink_to_tiny(config)
        else:
            raise ValueError(f"configs/multiface.py: variant must be one of {', '.join(VARIANTS)}; got {one!r}.")
    return config


def _list(*elements: str) -> FieldReference:
    """A list that a file or a command line may write as (), [], a word, a number, or words with commas: tasks are given a tuple."""
    return FieldReference(elements, field_type=object)


def _base() -> ConfigDict:
    config = ConfigDict()
    config.task = "ava_jax.tasks.multiface.task:Multiface"
    config.seed = 0

    config.data = data = ConfigDict()
    data.root = ""  # a capture's folder, or one that holds one
    data.split = ""  # JSON {"full": {"train": [...], "test": [...]}} of cameras; "" = all are trained on and tested
    data.cameras = _list()  # only these; () = all
    data.frames = _list()  # numbers of the only frames; () = all
    data.downsample = 1  # of photographs: 1 = 2048 x 1334, as in the files
    data.weight_mask = ""  # picture in UV whose brightness weighs the screen loss; "" = the mesh counts alike everywhere
    data.max_unreadable = 0.01  # of the samples; more of them end the run
    data.on_device = False  # small captures fit there: a step then waits for no copy
    data.read_threads = 8
    data.shuffle = ConfigDict()
    data.shuffle.cameras_per_visit = 4  # views for which a frame's average texture and mesh are decoded once; 1 = for every sample
    data.shuffle.window = 16  # frames begun between two views of one
    data.held_out = ConfigDict()
    data.held_out.segments = _list("EXP_ROM", "EXP_free_face")  # beginnings of names

    config.model = model = ConfigDict()
    model.arch = "base"
    model.code = 256
    model.hidden = 256  # width of the dense layers
    model.texture_size = 1024
    model.encoder_channels = (16, 16, 32, 32, 64, 64, 128, 128)  # each halves the texture
    model.decoder_channels = (256, 64, 64, 32, 32, 16, 16)  # each doubles it, and 3 at the end once more
    model.warp_channels = (128, 128, 128, 64, 64, 32, 32, 16)  # of the field of arch "warp", from 2 x 2 texels
    model.precision = "float32"  # of the convolutions; or "bfloat16"
    model.outlines = True  # the screen loss has the gradient of outlines; published: it has none

    # Published: 1, 1, 0.01, and 1 for the screen in the mini example alone; 0: not computed.
    config.loss_weights = ConfigDict({"vert": 1.0, "tex": 1.0, "kl": 0.01, "screen": 0.0})

    config.optimizer = optimizer = ConfigDict()
    optimizer.learning_rate = 3e-4  # published, of the model and of colour correction
    optimizer.epoch_decay = 0.95  # of the model's after each epoch; that of colour correction stays
    optimizer.lr_warmup_steps = 0
    optimizer.lr_decay_steps = 0  # to 0 along a cosine by this step, instead of epoch_decay; 0: it does not
    optimizer.clip_norm = 10.0  # of the gradient of both together; 0: not clipped

    config.train = _training()

    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 8
    evaluation.max_samples = 0  # a split, evenly spaced; 0 = all
    return config


def _training() -> ConfigDict:
    train = ConfigDict()
    train.split = "train"
    train.epochs = 50
    train.steps = 0  # instead of epochs; published: 200,000 at most
    train.batch_size = 16
    train.steps_per_call = 1
    train.init_from = ""  # a run whose weights this one starts with: RUN, RUN:STEP or RUN:best
    train.init_filter = _list()  # regular expressions of the parameters that are taken from it; () = all
    train.trainable = _list()  # regular expressions of the parameters that learn; () = all
    train.log_every = 100
    train.picture_every = 5_000
    train.checkpoint_every = 5_000
    train.keep_checkpoints = 3
    train.keep_best = 1
    train.best_score = "tex"
    train.validate_every = 5_000
    train.validate_samples = 500  # published
    train.patience = 0  # so many validations in a row without a better one, and the run ends; 0: it goes on to its last step
    # Published: a batch is thrown away whose loss, or whose part of vertices or code, is over 50 x that of the last accepted one.
    train.spike_factor = 50.0
    train.spike_window = 1
    train.spike_terms = _list("vert", "kl")
    train.spike_steps = 50
    train.max_recoveries = 5
    return train


def _shrink_to_tiny(config: ConfigDict) -> None:
    """Textures of 128 and few channels, photographs of 256 x 166, on what `ava multiface synthesize` makes: minutes on two cores."""
    config.data.update({"on_device": True, "read_threads": 2, "downsample": 8})
    config.model.update({"code": 32, "hidden": 64, "texture_size": 128})
    config.model.encoder_channels = (8, 16, 16, 32, 32, 32)
    config.model.decoder_channels = (32, 32, 16, 16, 8)
    config.model.warp_channels = (32, 16, 16, 8, 8)
    config.loss_weights.screen = 1.0
    config.optimizer.update({"learning_rate": 2e-3, "lr_warmup_steps": 50, "lr_decay_steps": 500})
    config.train.update({"epochs": 0, "steps": 500, "batch_size": 8, "log_every": 50, "picture_every": 250})
    config.train.update({"checkpoint_every": 250, "validate_every": 250, "validate_samples": 14})
