"""`raymarch_process.py OUT [THREADS]` renders the zoo and its gradients into a file. Prints the instruction set and the threads in use."""

import os
import sys
import zipfile

if len(sys.argv) > 2:  # XLA takes as many threads as there are processors for it, when it is imported
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])

import numpy as np
from raymarch_scenes import cotangent, differentiate, zoo

from ava_jax.ops import native

rays, prims = zoo(count=60, side=4, views=2, height=70, width=45)
image, gradients, _ = differentiate(rays, prims, None, cotangent((*rays.origin.shape[:4], 4)), implementation="native")
with zipfile.ZipFile(sys.argv[1], "w") as out:  # as np.savez, without the time
    for name, array in zip(("image", *gradients._fields), (image, *gradients)):
        with out.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
            np.lib.format.write_array(file, np.asarray(array))
print(f"{native.instruction_set()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else '?'} threads")
