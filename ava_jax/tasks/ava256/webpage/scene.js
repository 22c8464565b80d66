// What is shown at a time, from a direction: the boxes, the weights of the voxels' components, and which boxes each tile of pixels meets.

const TILE = 8; // pixels

class Scene {
  constructor({ header, arrays }) {
    Object.assign(this, { header, arrays });
    this.count = header.primitives;
    this.boxes = new Float32Array(16 * this.count); // as the shaders read them: rows of scale * rotation^T, each with the centre's
    // coordinate, then the distance of the nearest point from the camera
    this.halfAxes = new Float32Array(9 * this.count); // volume radii: centre + sum of +-axes are the corners
    this.voxelWeights = null;
    this.order = new Uint32Array(this.count);
    this.keys = new Uint16Array(this.count);
    this.rectangles = new Int16Array(4 * this.count);
    this.distances = new Float32Array(this.count);
    this.starts = new Uint32Array(0);
    this.lists = new Uint32Array(0);
  }

  // Time in frames: between two of them all weights are interpolated.
  setTime(time) {
    const last = this.header.frames - 1;
    this.frame = Math.min(Math.max(Math.floor(time), 0), Math.max(last - 1, 0));
    this.fraction = Math.min(Math.max(time - this.frame, 0), last > 0 ? 1 : 0);
    const pose = ["position", "rotation", "log_scale"].map((name) => this.pose(name));
    for (let k = 0; k < this.count; k++) this.placeBox(k, ...pose);
  }

  pose(name) {
    const { [`${name}_mean`]: mean, [`${name}_basis`]: basis, [`${name}_weights`]: weights } = this.arrays;
    const rank = mean.length ? basis.length / mean.length : 0;
    const pose = Float32Array.from(mean);
    for (let r = 0; r < rank; r++) {
      const weight = this.between(weights, rank, r);
      const start = r * mean.length;
      for (let i = 0; i < mean.length; i++) pose[i] += weight * basis[start + i];
    }
    return pose;
  }

  between(rows, width, column) {
    const at = this.frame * width + column;
    return this.fraction === 0 ? rows[at] : (1 - this.fraction) * rows[at] + this.fraction * rows[at + width];
  }

  placeBox(k, position, rotation, logScale) {
    let [x, y, z, w] = [rotation[4 * k], rotation[4 * k + 1], rotation[4 * k + 2], rotation[4 * k + 3]];
    const size = Math.hypot(x, y, z, w) || 1;
    (x /= size), (y /= size), (z /= size), (w /= size);
    const axes = [ // columns of the rotation
      1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w),
      2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w),
      2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y),
    ];
    for (let i = 0; i < 3; i++) {
      const scale = Math.exp(logScale[3 * k + i]);
      for (let j = 0; j < 3; j++) {
        this.boxes[16 * k + 4 * i + j] = scale * axes[3 * i + j];
        this.halfAxes[9 * k + 3 * i + j] = axes[3 * i + j] / scale;
      }
      this.boxes[16 * k + 4 * i + 3] = position[3 * k + i];
    }
  }

  // Weights of the voxels' components seen from a direction, a unit vector from the head's origin: [rank][colour, density].
  // Returns whether they changed by what is seen; else they stay, and the voxels need not be made anew.
  setDirection(direction) {
    const { rank } = this.header;
    const { weights, basis_scale, view } = this.arrays;
    const first = viewFeatures(this.header.first_view);
    const features = viewFeatures(direction).map((value, i) => value - first[i]);
    const next = new Float32Array(2 * rank);
    for (let r = 0; r < rank; r++) {
      const turned = features.reduce((sum, value, i) => sum + value * view[i * rank + r], 0);
      next[2 * r] = basis_scale[2 * r] * (this.between(weights, 2 * rank, 2 * r) + turned);
      next[2 * r + 1] = basis_scale[2 * r + 1] * this.between(weights, 2 * rank, 2 * r + 1);
    }
    // A component's largest change is 127 times its weight's: a quarter of a colour's step, or half a percent of a density, is not seen.
    const seen = (value, i) => 127 * Math.abs(value - this.voxelWeights[i]) > (i % 2 ? 0.005 : 0.25);
    const changed = !this.voxelWeights || next.some(seen);
    if (changed) this.voxelWeights = next;
    return changed;
  }

  // The mean (0) or a component as RGBA, slice by slice: what textures take.
  component(i) {
    const { side, grid } = this.header;
    const count = grid[0] * grid[1] * side ** 3;
    const rgba = new Uint8Array(4 * count);
    for (let channel = 0; channel < 4; channel++) {
      const plane = this.arrays[`voxels_${i}`].subarray(channel * count, (channel + 1) * count);
      for (let j = 0; j < count; j++) rgba[4 * j + channel] = plane[j];
    }
    return rgba;
  }

  // Lists for each tile the boxes that may meet it, nearest first.
  // Camera: rotation (9, rows are its axes), position (3, volume radii), focal (2), principal (2), pixels; width, height.
  list(camera) {
    this.sort(camera.position);
    const across = Math.ceil(camera.width / TILE), down = Math.ceil(camera.height / TILE);
    if (this.starts.length !== across * down + 1) this.starts = new Uint32Array(across * down + 1);
    else this.starts.fill(0);
    const { rectangles, starts } = this;
    for (let k = 0; k < this.count; k++) {
      this.project(k, camera, across, down);
      for (let y = rectangles[4 * k + 1]; y < rectangles[4 * k + 3]; y++) {
        for (let x = rectangles[4 * k]; x < rectangles[4 * k + 2]; x++) starts[y * across + x + 1]++;
      }
    }
    for (let i = 1; i < starts.length; i++) starts[i] += starts[i - 1];
    const total = starts[starts.length - 1];
    if (this.lists.length < total) this.lists = new Uint32Array(Math.ceil(1.5 * total));
    const next = starts.slice();
    for (const k of this.order) {
      for (let y = rectangles[4 * k + 1]; y < rectangles[4 * k + 3]; y++) {
        for (let x = rectangles[4 * k]; x < rectangles[4 * k + 2]; x++) this.lists[next[y * across + x]++] = k;
      }
    }
    return { across, down, total };
  }

  // Boxes by the distance of their nearest points: a counting sort over 65,536 distances.
  sort([cx, cy, cz]) {
    const { boxes } = this;
    let least = Infinity, most = 0;
    for (let k = 0; k < this.count; k++) {
      const at = 16 * k;
      const x = cx - boxes[at + 3], y = cy - boxes[at + 7], z = cz - boxes[at + 11];
      let square = 0;
      for (let i = at; i < at + 12; i += 4) {
        // Along an axis: how far the camera is outside, in half-extents, and what one is worth.
        const outside = Math.max(Math.abs(boxes[i] * x + boxes[i + 1] * y + boxes[i + 2] * z) - 1, 0);
        square += (outside * outside) / (boxes[i] ** 2 + boxes[i + 1] ** 2 + boxes[i + 2] ** 2);
      }
      const d = Math.sqrt(square);
      this.distances[k] = boxes[at + 12] = d;
      (least = Math.min(least, d)), (most = Math.max(most, d));
    }
    const scale = 65535 / Math.max(most - least, 1e-9);
    const places = new Uint32Array(65537);
    for (let k = 0; k < this.count; k++) {
      this.keys[k] = (this.distances[k] - least) * scale;
      places[this.keys[k] + 1]++;
    }
    for (let i = 1; i < places.length; i++) places[i] += places[i - 1];
    for (let k = 0; k < this.count; k++) this.order[places[this.keys[k]]++] = k;
  }

  // The rectangle of tiles around the corners of box k; empty where it is behind the camera.
  project(k, camera, across, down) {
    const { rotation: r, position: p, focal, principal } = camera;
    const { boxes, halfAxes: h, rectangles } = this;
    const view = (x, y, z, row) => r[3 * row] * x + r[3 * row + 1] * y + r[3 * row + 2] * z;
    const x = boxes[16 * k + 3] - p[0], y = boxes[16 * k + 7] - p[1], z = boxes[16 * k + 11] - p[2];
    const cx = view(x, y, z, 0), cy = view(x, y, z, 1), cz = view(x, y, z, 2);
    let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity, before = false, behind = false;
    const axis = axisBuffer;
    for (let i = 0; i < 3; i++) {
      for (let row = 0; row < 3; row++) axis[3 * i + row] = view(h[9 * k + 3 * i], h[9 * k + 3 * i + 1], h[9 * k + 3 * i + 2], row);
    }
    for (let corner = 0; corner < 8; corner++) {
      const a = corner & 1 ? 1 : -1, b = corner & 2 ? 1 : -1, c = corner & 4 ? 1 : -1;
      const depth = cz + a * axis[2] + b * axis[5] + c * axis[8];
      if (depth < 1e-3) {
        behind = true;
        continue;
      }
      before = true;
      const column = (focal[0] * (cx + a * axis[0] + b * axis[3] + c * axis[6])) / depth + principal[0];
      const line = (focal[1] * (cy + a * axis[1] + b * axis[4] + c * axis[7])) / depth + principal[1];
      (left = Math.min(left, column)), (right = Math.max(right, column));
      (top = Math.min(top, line)), (bottom = Math.max(bottom, line));
    }
    if (before && behind) (left = top = 0), (right = camera.width), (bottom = camera.height);
    // Pixel 0 is centred at 0: it reaches from -0.5 to 0.5.
    const tile = (value, most) => Math.min(Math.max(Math.floor((value + 0.5) / TILE), 0), most);
    rectangles[4 * k] = before ? tile(left, across) : 0;
    rectangles[4 * k + 1] = before ? tile(top, down) : 0;
    rectangles[4 * k + 2] = before ? tile(right + TILE, across) : 0;
    rectangles[4 * k + 3] = before ? tile(bottom + TILE, down) : 0;
  }
}

const axisBuffer = new Float64Array(9);

function viewFeatures([x, y, z]) {
  return [x, y, z, x * y, y * z, x * z, x * x, y * y];
}
