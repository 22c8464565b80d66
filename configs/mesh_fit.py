"""mesh_fit: skin interpolations to the meshes of scans, vertex by vertex.

  ava train --config=mesh_fit --config.data.root=DATA --workdir=RUN             # variant i: the skin interpolation alone
  ava train --config=mesh_fit:joints --config.data.root=DATA --workdir=RUN      # ii: the skeleton's joints beside it
  ava train --config=mesh_fit:laplacian --config.data.root=DATA --workdir=RUN   # iii: i with a term for smoothness
  ava train --config=mesh_fit:tiny --config.data.root=DATA --workdir=RUN        # a small network, minutes on two cores

DATA is a folder of folders of OBJ files, NAME_sbs, NAME_target and NAME_joints for each motion; `ava mesh_fit synthesize` writes one.
"""

from ml_collections import ConfigDict, FieldReference

VARIANTS = ("sbs", "joints", "laplacian", "tiny")


def get_config(variant: str = "sbs") -> ConfigDict:
    """Variants: "sbs", "joints", "laplacian" (the published experiment's three) and "tiny" (for CPUs)."""
    config = _sbs()
    if variant == "joints":
        config.model.joints = 83  # in the published data's skeleton
    elif variant == "laplacian":
        config.loss_weights.laplacian = 1.0
    elif variant == "tiny":
        _shrink_to_tiny(config)
    elif variant != "sbs":
        raise ValueError(f"configs/mesh_fit.py: variant must be one of {', '.join(VARIANTS)}; got {variant!r}.")
    return config


def _sbs() -> ConfigDict:
    config = ConfigDict()
    config.task = "ava_jax.tasks.mesh_fit.task:MeshFit"
    config.seed = 0

    config.data = data = ConfigDict()
    data.root = ""  # folder of NAME_sbs, NAME_target, NAME_joints, each with obj/*.obj, paired by sorted name
    data.sequences = _list()  # only these NAMEs; () = all
    data.max_frames = 0  # of each sequence, the first ones; 0 = all
    data.cache = ""  # folder of what was read from OBJs; "" = .ava_jax_cache in the root
    data.shuffle = False  # published: meshes in order
    data.on_device = True  # 798 meshes of 32,731 vertices with three frames each take 1.3 GB; a step then waits for no copy
    data.read_threads = 2  # a mesh is a copy out of a mapped file
    data.held_out = ConfigDict()
    data.held_out.last_frames = 2  # published: 00799 and 00800
    data.held_out.sequences = _list()  # whole motions that are never trained on

    config.model = model = ConfigDict()
    model.condition_frames = 3  # n, as in all published runs
    model.condition_on = (
        "time"  # a vertex in frames n-2, n-1, n, as described; "vertex": n neighbours in the file, as the published code did
    )
    model.motion_gain = 0.0  # 0: published, all n positions; else the earlier ones as steps between frames, times this
    model.joints = 0  # of the skeleton, given to the encoder; 0: none
    model.hidden = 256  # width of the layers
    model.latent = 32
    model.experts = 6
    model.output = "position"  # published; "offset": from the source, which then is the first prediction
    model.precision = "auto"  # of products in training: bfloat16 on GPUs from compute capability 8.0 on, else float32; or "tf32"

    config.loss_weights = ConfigDict({"l2": 1.0, "laplacian": 0.0})  # 0: not computed

    config.optimizer = optimizer = ConfigDict()
    optimizer.learning_rate = 1e-4  # published, constant
    optimizer.lr_warmup_steps = 0  # it rises linearly over these
    optimizer.lr_decay_steps = 0  # and falls along a cosine over these; 0: it stays
    optimizer.lr_final_fraction = 0.0  # to this part of itself
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.eps = 1e-8
    optimizer.clip_norm = 0.0  # of the gradient; 0: published, not clipped

    config.train = _training()

    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 1
    evaluation.max_samples = 0  # a split, evenly spaced; 0 = all
    return config


def _list(*elements: str) -> FieldReference:
    """A list that a file or a command line may write as (), [], a word, a number, or words with commas: tasks are given a tuple."""
    return FieldReference(elements, field_type=object)


def _training() -> ConfigDict:
    train = ConfigDict()
    train.split = "train"
    train.epochs = 2  # published; its best model had 20
    train.steps = 0  # instead of epochs
    train.batch_size = 1  # meshes; each is a batch of its vertices
    train.steps_per_call = 10  # in one dispatch: a step of 1 ms is shorter than what the host does for it
    train.init_from = ""  # a run whose weights this one starts with: RUN, RUN:STEP or RUN:best
    train.init_filter = _list()  # regular expressions of the parameters that are taken from it; () = all
    train.trainable = _list()  # regular expressions of the parameters that learn; () = all
    train.log_every = 50
    train.picture_every = 1_000
    train.checkpoint_every = 400  # half an epoch of the published data
    train.keep_checkpoints = 3
    train.keep_best = 1
    train.best_score = "mse"
    train.validate_every = 400
    train.validate_samples = 2  # as many as are held out
    train.patience = 0  # so many validations in a row without a better one, and the run ends; 0: it goes on to its last step
    train.spike_factor = 0.0  # meshes in order: where a motion begins, the loss may rise tenfold, and the step is a good one
    train.spike_steps = 10
    train.spike_window = 100
    train.max_recoveries = 5
    return train


def _shrink_to_tiny(config: ConfigDict) -> None:
    """For meshes of about 2,000 vertices: minutes on two cores."""
    config.data.shuffle = True  # in order, a large learning rate follows the motion instead of learning it
    config.model.hidden = 64
    config.model.latent = 16
    config.model.experts = 4
    config.model.motion_gain = 20.0  # steps between frames are centimetres; that positions differ by them takes long to learn
    config.model.output = "offset"  # else the first thousand steps learn where the body is
    config.model.precision = "float32"  # bfloat16 is slow on CPUs
    config.optimizer.learning_rate = 3e-3  # 5e-3 learns no faster and wavers
    config.optimizer.lr_warmup_steps = 50
    config.optimizer.lr_decay_steps = 3_000
    config.train.epochs = 0
    config.train.steps = 3_000
    config.train.log_every = 50
    config.train.picture_every = 500
    config.train.checkpoint_every = 500
    config.train.validate_every = 500
