"""ava256: the universal volumetric avatar codec.

  ava-train --config=ava256 --config.data.root=CAPTURES --workdir=RUN          # full: 16,384 primitives, needs a GPU
  ava-train --config=ava256:quick --config.data.root=CAPTURES --workdir=RUN    # the same model, a recipe for a thousand steps
  ava-train --config=ava256:tiny --config.data.root=CAPTURES --workdir=RUN     # 1,024 primitives, minutes on a laptop

Recipe of `full`: Codec Avatar Studio (NeurIPS 2024), section 4 and its released training code's defaults. `quick` on four people, 863
images, H200: after 1,000 steps 33.0 to 33.7 dB on unseen frames and 30.6 to 30.9 dB on the faces of unseen cameras
(docs/design/training_step.md).
"""

from ml_collections import ConfigDict, FieldReference


def get_config(variant: str = "full") -> ConfigDict:
    """Variants: "full" (the published model and recipe), "quick" (that model, few steps) and "tiny" (32 x 32 primitives, for CPUs)."""
    config = _full()
    if variant == "quick":
        _learn_in_a_thousand_steps(config)
    elif variant == "tiny":
        _shrink_to_tiny(config)
    elif variant != "full":
        raise ValueError(f"configs/ava256.py: variant must be 'full', 'quick' or 'tiny'; got {variant!r}.")
    return config


def _full() -> ConfigDict:
    config = ConfigDict()
    config.task = "ava_jax.tasks.ava256.task:Ava256"
    config.seed = 0

    config.data = _data()

    config.model = model = ConfigDict()
    model.primitives_per_side = 128  # n: n x n primitives on the UV map
    model.primitive_side = 8  # d: each has d^3 voxels; the decoded slab is (n d) x (n d) x d
    model.texture_size = 1024  # encoders' input: 256, 512 or 1024
    model.width = 1.0  # multiplies channel counts
    model.initial_code_gain = 1.0  # multiplies the expression code's mean before training, about 0.01 at 1 ...
    model.initial_code_std = 1.0  # ... and this is the standard deviation of its noise then
    model.initial_density = 1.0  # of every voxel before training, per volume radius; 1: published; 30: heads start opaque
    model.initial_texture = False  # colours start as the mean texture instead of grey
    model.initial_density_outside = 1.0  # fraction of it outside of the mesh: below 1 heads start with a surface
    model.from_neutral = False  # colours and vertices are decoded as differences to the person's neutral face
    model.expression_basis = 0  # vectors beside the decoders, linear in the code: offsets to each vertex and texel; with from_neutral
    model.expression_components = False  # whether these start as principal components of the training frames, which codes start with
    model.view_degree = 0  # of a polynomial of the view direction that multiplies each texel's colour, 0: none; with from_neutral
    model.primitive_placement = "texel"  # published: a primitive stays as large as it was at most; "patch": its patch's size in each frame
    model.moved_weight = 0.0  # texels and vertices that an expression moves count 1 + this in their losses
    model.view_noise = 0.0  # standard deviation of the noise that training adds to the unit view direction, which colour depends on
    model.background = True
    model.background_fraction = 1.0  # of the pixels that show it, the fraction that it learns from in each step: 1, 0.25 or 0.0625
    model.precision = "bfloat16"  # of activations and products; for GPUs of compute capability 8.0 and above; or "float32"
    model.template_dtype = "float32"  # voxels in memory; bfloat16 halves what the raymarcher reads. Colours then have 8 digits of 255
    model.volume_radius = 256.0  # mm that one unit of the raymarcher's space stands for
    model.step_size = 1.0 / 256  # volume radii between samples along a ray
    model.guided_steps = 100  # at first, in which ground-truth vertices carry the primitives

    config.loss_weights = ConfigDict({"image": 1.0, "image_squared": 0.0, "texture": 0.0, "vertices": 0.1, "kl": 1e-3, "volume": 0.01})

    config.optimizer = optimizer = ConfigDict()
    optimizer.learning_rate = 2e-4
    optimizer.texel_lr_gain = 1.0  # multiplies the learning rate of the decoders' maps of one bias per texel
    optimizer.basis_lr_gain = 1.0  # the same of the bases of expressions, where model.expression_basis has some
    optimizer.lr_warmup_steps = 0  # at first, over which the learning rate rises linearly
    optimizer.lr_final_fraction = 1.0  # it falls along a cosine to this fraction of itself ...
    optimizer.lr_decay_steps = 0  # ... by this step, whatever train.steps is: a run that is extended goes on at the last rate
    optimizer.lr_boost = 1.4  # the learning rate is multiplied by this once ...
    optimizer.lr_boost_step = 10_000  # ... at this step
    optimizer.clip_norm = 1.0

    config.train = _training()

    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 4
    evaluation.max_samples = 0  # per split, evenly spaced; 0 = all
    evaluation.unseen_camera_frames = _list()  # positions in each capture's frame list to score unseen cameras on; () = all
    return config


def _data() -> ConfigDict:
    data = ConfigDict()
    data.root = ""  # folder of captures, <mcd>--<mct>--<sid>/decoder/...; or a URL: https://HOST/..., s3://BUCKET/..., file:///...
    data.remote_cache_gib = 20.0  # GiB of a URL's files on the local disk, those used last; 0: fetched each time
    data.remote_retry_s = 600.0  # seconds for which a server that fails is asked again; after that the sample counts as unreadable
    data.ids = ""  # CSV `mcd,sid,mct` of the captures to use; "" = every capture under root
    data.topology = ""  # OBJ; "" = <root>/face_topology.obj
    data.cameras = _list()  # only these; () = all
    data.people = _list()  # of the captures at hand, whom to train on: captures' names or subjects' ids; () = all who are not held out
    data.frames = _list()  # numbers of the frames that are trained on; () = all that are not held out
    data.base_run = ""  # RUN whose statistics and names are taken, people and cameras at hand added to them (ava ava256 enrol)
    data.camera_table = (
        "id"  # a row of calibration and background for each id; "position": in each capture's own file, as published weights
    )
    data.downsample = 8  # image side = full sensor (4096 x 2668) // downsample
    data.undistorted = (
        True  # images are, as published ones, even where calibrations give a distortion, which is told; False: that is refused
    )
    data.read_processes = 12  # per GPU, that read for training, as many as there are cores at most; 0: threads of the one process do ...
    data.read_threads = 8  # ... so many; they read for everything else
    data.on_device = False  # the training split is read once and held on the devices; for small samples and short steps
    data.fill_unseen = True  # texels that no camera saw, where captures mark them by 0 (multiface), take the mean texture's colour
    data.max_unreadable = 0.01  # fraction of the samples read that may fail to decode before the run stops; missing images do not count
    data.shuffle = ConfigDict()
    data.shuffle.cameras_per_visit = 4  # views for which a frame's texture and mesh are decoded once; 1 = for every sample
    data.shuffle.window = 16  # frames begun between two views of one; texture memory is their product, 3 MB each at 1024
    data.split = ""  # who and what is held out besides `held_out`: an installed name ("ava256": 240 people / 16) or a .json or .csv file
    data.held_out = ConfigDict()
    data.held_out.segments = _list("EXP_free_face")  # the segment that single-subject work validates on
    data.held_out.last_frames = 0  # this many frames at the end of each capture's list
    data.held_out.frames = _list()  # numbers of frames
    data.held_out.cameras = _list()
    return data


def _list(*elements: str) -> FieldReference:
    """A list that a file or a command line may write as (), [], a word, a number, or words with commas: tasks are given a tuple."""
    return FieldReference(elements, field_type=object)


def _training() -> ConfigDict:
    train = ConfigDict()
    train.steps = 200_000
    train.epochs = 0  # instead of steps, which is 0 then: so many times the training samples // batch_size steps
    train.steps_per_call = 1  # steps in one dispatch; more where a step is shorter than the host's work for it, a millisecond or so
    train.batch_size = 4
    train.split = "train"  # that is learned from; another one to adapt to it, with init_from and trainable
    train.init_from = ""  # RUN, RUN:STEP or RUN:best, whose weights a new run starts with ...
    train.init_filter = (
        _list()
    )  # ... of these paths, regular expressions as "geometry_decoder/"; () = all. What does not fit must be left out
    train.trainable = _list()  # regular expressions of the parameters that learn, the others stay; () = all
    train.log_every = 50
    train.picture_every = 1_000  # 0: never
    train.checkpoint_every = 2_000
    train.keep_checkpoints = 3  # the latest ...
    train.keep_best = 1  # ... and beside them those of the best score, of the steps that were validated
    train.best_score = "face_psnr"  # of the validation; its direction is the task's. Nothing held out: the training loss
    train.validate_every = 1_000  # 0: never
    train.validate_samples = 16  # of the first split that is held out, evenly spaced
    train.patience = 0  # so many validations in a row without a better one, and the run ends; 0: it goes on to its last step
    train.spike_factor = 10.0  # a step whose loss is over this many times the median of the last losses is not applied; 0: all are
    train.spike_window = 100  # so many of them; 1: the last step's that was applied
    train.spike_steps = 10  # so many of those in a row, or one loss that is NaN, and the run goes back to its last checkpoint ...
    train.max_recoveries = 5  # ... but not more often than this
    return train


def _learn_in_a_thousand_steps(config: ConfigDict) -> None:
    """Heads start opaque and in their mean colours. Published, they start with a low density, and the background learns what is theirs."""
    config.model.background_fraction = 0.25
    config.model.initial_density = 30.0  # about a centimetre of it is opaque
    config.model.initial_texture = True
    config.model.initial_code_gain = 100.0  # the published start lets noise hide the expression for thousands of steps
    config.model.initial_code_std = 0.05
    config.optimizer.learning_rate = 6e-4
    config.optimizer.lr_warmup_steps = 100
    config.optimizer.lr_final_fraction = 0.05
    config.optimizer.lr_decay_steps = 1000
    config.optimizer.lr_boost = 1.0
    config.train.steps = 1000
    config.train.validate_every = 250
    config.train.checkpoint_every = 500


def _shrink_to_tiny(config: ConfigDict) -> None:
    """Minutes on two cores: a head that starts as its neutral face, and learns what expressions change (docs/log/first_picture.md)."""
    config.data.downsample = 32  # 128 x 83
    config.data.read_threads = 2
    config.data.read_processes = 0
    config.model.primitives_per_side = 32
    config.model.texture_size = 256
    config.model.width = 0.125  # steps count for more here than channels do
    config.model.precision = "float32"  # bfloat16 is slow on CPUs
    config.model.initial_code_gain = 10.0  # the published start lets noise hide the expression for thousands of steps
    config.model.initial_code_std = 0.05
    config.model.initial_density = 100.0
    config.model.initial_density_outside = 0.01
    config.model.from_neutral = True
    config.model.expression_components = True
    config.model.expression_basis = 24  # lips that part are an edge between neighbours, which the decoders learn late
    config.model.view_degree = 2
    config.model.primitive_placement = "patch"  # boxes part where an open jaw stretches the mesh, if they keep their size
    config.model.moved_weight = 50.0  # what an expression moves is a hundredth of a head; unweighted, mouths stay shut
    config.model.step_size = 1.0 / 128
    config.model.guided_steps = 100
    config.loss_weights.image_squared = 0.02  # few pixels with large errors: mouths and eyes
    config.loss_weights.texture = 0.3
    config.loss_weights.vertices = 3.0  # at 0.1 vertices stay millimetres off in so few steps, and faces do not move
    config.optimizer.learning_rate = 1.5e-3  # at twice that losses leap after some hundred steps
    config.optimizer.texel_lr_gain = 30.0
    config.optimizer.basis_lr_gain = 0.1  # they start where they belong
    config.optimizer.lr_warmup_steps = 100
    config.optimizer.lr_final_fraction = 0.05
    config.optimizer.lr_decay_steps = 1500
    config.optimizer.lr_boost = 1.0
    config.train.steps = 1500
    config.train.batch_size = 2
    config.train.log_every = 50
    config.train.picture_every = 500
    config.train.checkpoint_every = 500
    config.train.validate_every = 500
    config.train.validate_samples = 8
