"""A task's optimiser at work: which parameters learn, in which group, and how an update of all groups is made.

A model's parameters come apart by path: those of each group of `tasks.base.Optimizer`, and those that `train.trainable` leaves out, which
are frozen. Within a group whose transform is elementwise small arrays lie together in vectors (`packing`); that is nobody else's matter:
checkpoints and the model see plain trees.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ava_jax.core.norms import global_norm
from ava_jax.tasks.base import Optimizer, ParameterGroup
from ava_jax.train import packing
from ava_jax.train.config import nearest
from ava_jax.train.packing import Packed

Tree = Any  # nested dicts of arrays, by the parts of a path
Path = tuple[str | int, ...]

_SHOWN = 3  # paths in an error


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parameters:
    """A model's parameters as training holds them; to JAX a tree of their arrays.

    Attributes:
      groups: group name -> its parameters, `Packed` where the group is elementwise, else nested dicts.
      frozen: path -> those that do not learn.
      structure: of the model's `nnx.State` of parameters.
      owners: of each of its arrays, in their order, the path and the name of its group; "" of those that are frozen.
    """

    groups: dict[str, Packed | Tree]
    frozen: dict[str, jax.Array]
    structure: Any = dataclasses.field(metadata={"static": True})
    owners: tuple[tuple[str, str], ...] = dataclasses.field(metadata={"static": True})

    def tree(self) -> nnx.State:
        """All parameters, as the model holds them. Under `jit` small arrays are slices, which are read in place."""
        return self.with_learning(self.learning())

    def learning(self) -> dict[str, Tree]:
        """Group name -> nested dicts of those that learn: what gradients are taken by."""
        return {name: group.tree() if packing.is_packed(group) else group for name, group in self.groups.items()}

    def with_learning(self, groups: Mapping[str, Tree]) -> nnx.State:
        """All parameters, as the model holds them, with these in place of those that learn."""
        found = dict(self.frozen)
        for group in groups.values():
            found |= by_path(group)
        return jax.tree.unflatten(self.structure, [found[path] for path, _ in self.owners])

    def pack(self, groups: Mapping[str, Tree]) -> dict[str, Packed | Tree]:
        """Values of those that learn, gradients say, by group, laid out as `groups` is."""
        return {name: group.pack(groups[name]) if packing.is_packed(group) else groups[name] for name, group in self.groups.items()}

    def holding(self, params: nnx.State) -> "Parameters":
        """Other values of the same model's parameters, laid out as these."""
        found = by_path(params)
        groups = {}
        for name, group in self.learning().items():
            groups[name] = jax.tree.unflatten(jax.tree.structure(group), [found[path] for path in by_path(group)])
        return dataclasses.replace(self, groups=self.pack(groups), frozen={path: found[path] for path in self.frozen})


unpacked = jax.jit(Parameters.tree)  # for code that is not compiled as a whole: there, each of hundreds of slices would be by itself


def as_groups(optimizer: Optimizer | optax.GradientTransformation) -> Optimizer:
    """What a task returns as its optimiser, in groups: a transformation alone is one, which is not elementwise.

    Raises:
      ValueError: there is no group, or two of one name.
    """
    if not isinstance(optimizer, Optimizer):
        return Optimizer((ParameterGroup("all", optimizer, elementwise=False),))
    names = [group.name for group in optimizer.groups]
    if not names or len(set(names)) < len(names) or not all(names):
        raise ValueError(f"Task.optimizer: groups need names of their own, one group at least; got {names}.")
    return optimizer


def lay_out(params: nnx.State, optimizer: Optimizer | optax.GradientTransformation, trainable: Sequence[str] = ()) -> Parameters:
    """Parameters by group.

    Args:
      params: the model's.
      optimizer: the task's.
      trainable: regular expressions, held against the start of a path, of those that learn; () is all.

    Raises:
      ValueError: a parameter belongs to no group; no parameter of the model belongs to a group, or to an expression.
    """
    groups = as_groups(optimizer).groups
    structure, arrays = jax.tree.structure(params), _by_parts(params)
    names = {path: path_name(path) for path in arrays}
    learns = matching("config.train.trainable", trainable, names.values())
    belongs = {name: _group_of(name, groups) for name in names.values()}
    _check_owned(belongs, groups)
    laid_out = {}
    for group in groups:
        tree = _nested({path: arrays[path] for path, name in names.items() if name in learns and belongs[name] == group.name})
        if tree:
            laid_out[group.name] = packing.pack(tree) if group.elementwise else tree
    frozen = {name: arrays[path] for path, name in names.items() if name not in learns}
    return Parameters(laid_out, frozen, structure, tuple((name, group if name in learns else "") for name, group in belongs.items()))


def path_name(path: Sequence[str | int]) -> str:
    """('layers', 0, 'bias') as "layers/0/bias"."""
    return "/".join(map(str, path))


def by_path(tree: nnx.State | Tree) -> dict[str, Any]:
    """Variables of a model, or nested dicts, arrays of any shapes: path, as in "layers/0/bias" -> array."""
    return {path_name(path): leaf for path, leaf in _by_parts(tree).items()}


def matching(whose: str, expressions: Sequence[str], names: Iterable[str]) -> set[str]:
    """Those of `names` whose start one of the regular expressions matches; all, where there is none.

    Args:
      whose: the key of the config that has the expressions, for errors.
      expressions: as `re` takes them.
      names: paths.

    Raises:
      ValueError: an expression cannot be read, or matches none.
    """
    names = list(names)
    if isinstance(expressions, str):
        raise ValueError(f'{whose} must list regular expressions, as in ("decoder/",); got {expressions!r}.')
    found = set() if expressions else set(names)
    for expression in expressions:
        try:
            matched = {name for name in names if re.match(expression, name)}
        except re.error as e:
            raise ValueError(f"{whose}: {expression!r} is no regular expression ({e}).") from e
        if not matched:
            raise ValueError(f"{whose}: {expression!r} matches the start of no parameter's path.{nearest(expression, names)}")
        found |= matched
    return found


def shown(names: Sequence[str]) -> str:
    """Names for a line: the first few, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def init(optimizer: Optimizer | optax.GradientTransformation, params: Parameters) -> dict[str, optax.OptState]:
    """Group name -> the state of its transform before the first step. Packed parameters have packed states."""
    transforms = {group.name: group.transform for group in as_groups(optimizer).groups}
    return {name: transforms[name].init(group) for name, group in params.groups.items()}


def update(
    optimizer: Optimizer | optax.GradientTransformation,
    gradients: Mapping[str, Packed | Tree],
    norm: jax.Array,
    opt_state: Mapping[str, optax.OptState],
    params: Parameters,
    loss: jax.Array,
) -> tuple[dict[str, Packed | Tree], dict[str, optax.OptState]]:
    """Gradients to updates, each laid out as `params.groups`, and the states after them.

    Args:
      optimizer: the task's.
      gradients: of the parameters that learn.
      norm: [], of all of them, `joint_norm`.
      opt_state: see `init`.
      params: the parameters.
      loss: [], the weighted sum, for transforms that take it.
    """
    optimizer = as_groups(optimizer)
    if optimizer.clip_norm is not None:
        gradients = _clipped(gradients, norm, optimizer.clip_norm)
    updates, states = {}, {}
    for group in optimizer.groups:
        if (name := group.name) in params.groups:
            transform = optax.with_extra_args_support(group.transform)
            updates[name], states[name] = transform.update(gradients[name], opt_state[name], params.groups[name], loss=loss)
    return updates, states


def learning_rates(opt_state: Mapping[str, optax.OptState]) -> dict[str, jax.Array]:
    """The learning rate of the last update, f32 [], of each group whose transform keeps one (`optax.inject_hyperparams`).

    Named "learning_rate" where there is one group, else "learning_rate/GROUP".
    """
    rates = {name: _learning_rate(state) for name, state in opt_state.items()}
    names = {name: "learning_rate" if len(rates) == 1 else f"learning_rate/{name}" for name in rates}
    return {names[name]: rate for name, rate in rates.items() if rate is not None}


def joint_norm(groups: Mapping[str, Packed | Tree]) -> jax.Array:
    """The Euclidean norm of all values of all groups, arrays of any shapes: []."""
    arrays = {}
    for name, group in groups.items():
        arrays |= {(f"{key}/{name}" if key == packing.PACKED else key): array for key, array in _named_arrays(group).items()}
    return global_norm(arrays)


def _named_arrays(group: Packed | Tree) -> dict[str, jax.Array]:
    return group.arrays if packing.is_packed(group) else by_path(group)


def _clipped(gradients: Any, norm: jax.Array, clip_norm: float) -> Any:
    """Scaled to a global norm of at most `clip_norm`, as `optax.clip_by_global_norm` does; its norm costs two kernels an array."""
    return jax.tree.map(lambda gradient: jnp.where(norm < clip_norm, gradient, gradient / norm * clip_norm), gradients)


def _learning_rate(opt_state: optax.OptState) -> jax.Array | None:
    # A scheduled one has a schedule's state of the same name beside it.
    found = optax.tree.get_all_with_path(opt_state, "learning_rate", filtering=lambda path, value: isinstance(value, jax.Array))
    return found[0][1] if len(found) == 1 else None  # of several none is the group's


def _group_of(name: str, groups: Sequence[ParameterGroup]) -> str:
    """The first group that takes a parameter; "" where none does."""
    return next((group.name for group in groups if any(re.match(expression, name) for expression in group.paths)), "")


def _check_owned(belongs: Mapping[str, str], groups: Sequence[ParameterGroup]) -> None:
    strays = [name for name, group in belongs.items() if not group]
    if strays:
        known = ", ".join(f"{group.name} {group.paths}" for group in groups)
        raise ValueError(f"Task.optimizer: every parameter must belong to a group, of {known}; {shown(strays)} belong to none.")
    for group in groups:
        if group.name not in belongs.values():
            raise ValueError(f"Task.optimizer: the group {group.name!r}, {group.paths}, must take a parameter of the model; it takes none.")


def _by_parts(tree: Any) -> dict[Path, Any]:
    """Path -> array; an `nnx.State`'s variables have an attribute as their last key, which is left out."""
    return {
        tuple(key.key for key in keys if isinstance(key, jax.tree_util.DictKey)): leaf
        for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _nested(arrays: Mapping[Path, Any]) -> Tree:
    tree: Tree = {}
    for path, array in arrays.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = array
    return tree
