"""LPIPS against the package `lpips` 0.1.4 with PyTorch 2.13, whose numbers for these weights and images are written here.

They were made by `lpips.LPIPS(net, pnet_rand=True)` with every weight set to that of `weights`, of images divided by 127.5, less 1.
"""

import jax
import numpy as np
import pytest

from ava_jax.metrics import lpips

PACKAGE = {"alex": [0.03747156634926796, 0.2069406658411026], "vgg": [0.035996973514556885, 0.1622675657272339]}


def weights(network: str) -> dict[str, np.ndarray]:
    """Random, of a size that neither grows nor fades over the layers; linear ones at least 0, as trained ones are."""
    rng = np.random.default_rng(7)
    found = {}
    for name, shape in sorted(lpips.shapes(network).items()):
        values = rng.standard_normal(shape) * (np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1)
        found[name] = (np.abs(values) if name.startswith("lin") else values).astype(np.float32)
    return found


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two photographs 70 x 45, one with noise and one beside something else."""
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 256, (2, 70, 45, 3)).astype(np.uint8)
    image = np.clip(truth + rng.normal(0, 40, truth.shape), 0, 255).astype(np.float32)
    image[1] = rng.uniform(0, 255, image[1].shape)
    return image, truth


@pytest.mark.parametrize("network", lpips.NETWORKS)
def test_values_are_those_of_the_package(network):
    image, truth = pair()
    # A second set of renders of the same photographs, which are equal to them but for what is clipped.
    sets = np.concatenate([image, truth + np.where(truth == 255, 30.0, 0.0)])
    found = np.asarray(jax.jit(lpips.lpips, static_argnums=1)(weights(network), network, sets, truth))
    np.testing.assert_allclose(found[:2], PACKAGE[network], rtol=1e-5)
    np.testing.assert_allclose(found[2:], 0.0, atol=1e-9)


def test_errors_name_what_is_wrong():
    image, truth = pair()
    with pytest.raises(ValueError, match=r"the network must be alex or vgg; got 'squeeze'"):
        lpips.shapes("squeeze")
    with pytest.raises(ValueError, match=r"image must be \[K B, H, W, 3\] of a truth \[B, H, W, 3\]; got \(2, 69, 45, 3\)"):
        lpips.lpips({}, "alex", image[:, 1:], truth)
    with pytest.raises(ValueError, match="at least 31 pixels on a side for alex; got 70 x 30"):
        lpips.lpips({}, "alex", image[:, :, :30], truth[:, :, :30])
