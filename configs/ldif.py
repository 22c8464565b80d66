"""ldif: shapes as local implicit functions, from depth images.

  ava train --config=ldif --config.data.root=DATA --workdir=RUN           # LDIF, as published
  ava train --config=ldif:sifpp --config.data.root=DATA --workdir=RUN     # SIF++: without details
  ava train --config=ldif:sif --config.data.root=DATA --workdir=RUN       # SIF: one view, elements along the axes
  ava train --config=ldif:shapenet --config.data.root=DATA --workdir=RUN  # LDIF, to the published end: scripts/ldif_shapenet.sh
  ava train --config=ldif:depth1 --config.data.root=DATA --workdir=RUN    # LDIF of a single depth image
  ava train --config=ldif:image --config.data.root=DATA --workdir=RUN     # LDIF of a picture
  ava train --config=ldif:tiny --config.data.root=DATA --workdir=RUN      # SIF++ with a small encoder, for CPUs

DATA holds SPLIT.txt and the examples that they list; `ava ldif prepare` makes it of meshes, `ava ldif synthesize` of nothing.
"""

from ml_collections import ConfigDict, FieldReference

VARIANTS = ("ldif", "sifpp", "sif", "shapenet", "depth1", "image", "tiny")


def get_config(variant: str = "ldif") -> ConfigDict:
    """Variants: the three published types; "shapenet", LDIF's published experiment; of one view, "depth1" and "image"; "tiny", for CPUs."""
    config = _ldif()
    if variant == "sifpp":
        config.model.features = 0
    elif variant == "sif":
        config.model.update(
            {"encoder": "small", "code": 1024, "elements": 100, "symmetric": 0, "rotated": False, "features": 0, "views": 1}
        )
        config.data.samples = 3_000
        config.data.inside_weight = 10.0
        config.loss_weights.update({"box": 0.0, "grid": 0.0, "center": 1.0})
    elif variant == "shapenet":
        config.train.update({"steps": 3_500_000, "log_every": 1_000, "checkpoint_every": 20_000, "validate_every": 20_000})
        config.train.validate_samples = 256
    elif variant == "depth1":
        config.model.update({"views": 1, "features_from": "code"})
    elif variant == "image":
        config.data.image = True
        config.model.features_from = "code"
    elif variant == "tiny":
        _shrink_to_tiny(config)
    elif variant != "ldif":
        raise ValueError(f"configs/ldif.py: variant must be one of {', '.join(VARIANTS)}; got {variant!r}.")
    return config


def _ldif() -> ConfigDict:
    config = ConfigDict()
    config.task = "ava_jax.tasks.ldif.task:Ldif"
    config.seed = 0

    config.data = data = ConfigDict()
    data.root = ""
    data.classes = FieldReference((), field_type=object)  # only these, as a,b; () = all
    data.image = False  # examples' pictures are read, and the network sees these instead of depth
    data.samples = 1024  # of those near the surface, and as many of those everywhere, drawn anew for each loss
    data.inside_weight = 1.0  # of samples inside the shape
    data.on_device = False  # examples take 5 MB each there: where they fit, a step waits for no copy
    data.read_threads = 8  # an example is 4 MB of compressed depth images

    config.model = model = ConfigDict()
    model.encoder = "resnet50"  # or "resnet26"; or "small", five convolutions, to codes of model.code
    model.code = 1024
    model.head_width = 2048
    model.views = 20  # the first ones of twenty
    model.elements = 32
    model.symmetric = 16  # serve again, reflected at z = 0
    model.begin = (
        "anywhere"  # elements: where the network's first weights put them; "shapes": spread over what the training's shapes have in common
    )
    model.rotated = True  # elements have axes of their own
    model.features = 32  # of each element, which the decoder makes details of; 0: SIF, SIF++
    model.features_from = "points"  # of the surface, all around; or "code": what the encoder's images tell, and nothing else
    model.surface_points = 10_000  # that are looked at
    model.local_points = 1024  # of the surface, that an element's features are found from

    model.decoder_kernels = False  # on GPUs the decoder learns by kernels of its own; experimental: they have not run on one yet
    model.precision = "float32"  # of activations and products; on recent NVIDIA GPUs these are TF32; or "bfloat16"

    # Weights as published: of the total uniform + 0.1 near + 10 box + grid; center is SIF's, its own parts weighed in it.
    config.loss_weights = ConfigDict({"uniform": 1.0, "near": 0.1, "box": 10.0, "grid": 1.0, "center": 0.0})

    config.optimizer = optimizer = ConfigDict()
    optimizer.learning_rate = 5e-5  # published, constant
    optimizer.lr_warmup_steps = 0
    optimizer.lr_decay_steps = 0  # to 0 along a cosine by this step; 0: it stays
    optimizer.clip_norm = 0.0  # of the gradient; 0: published, not clipped

    config.train = _training()

    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 4
    evaluation.max_samples = 0  # a split, evenly spaced; 0 = all
    evaluation.resolution = 256  # published: points per side of the grid that surfaces are looked for on
    return config


def _training() -> ConfigDict:
    train = ConfigDict()
    train.split = "train"
    train.epochs = 0
    train.steps = 1_000_000  # published
    train.batch_size = 24  # in the paper
    train.steps_per_call = 1
    train.init_from = ""  # a run whose weights this one starts with: RUN, RUN:STEP or RUN:best
    train.init_filter = FieldReference((), field_type=object)  # regular expressions of the parameters that are taken from it; () = all
    train.trainable = FieldReference((), field_type=object)  # regular expressions of the parameters that learn; () = all
    train.log_every = 100
    train.picture_every = 0  # draws none
    train.checkpoint_every = 2_000
    train.keep_checkpoints = 3
    train.keep_best = 1
    train.best_score = "iou"
    train.validate_every = 2_000
    train.validate_samples = 32
    train.patience = 0  # so many validations in a row without a better one, and the run ends; 0: it goes on to its last step
    train.spike_factor = 0.0
    train.spike_steps = 10
    train.spike_window = 100
    train.max_recoveries = 5
    return train


def _shrink_to_tiny(config: ConfigDict) -> None:
    """For the few hundred shapes that `ava ldif synthesize` makes, on two cores."""
    config.data.update({"samples": 256, "on_device": True, "read_threads": 2})
    config.model.update({"encoder": "small", "code": 256, "head_width": 256, "views": 4, "begin": "shapes"})
    config.model.features = 0  # details take three quarters of a step, and do not pay in so few (docs/log/ldif.md)
    config.optimizer.update({"learning_rate": 1e-3, "lr_warmup_steps": 100, "lr_decay_steps": 3_000})
    config.train.update({"steps": 3_000, "batch_size": 4, "log_every": 50, "checkpoint_every": 500, "validate_every": 500})
    config.train.validate_samples = 12
    config.eval.resolution = 128
