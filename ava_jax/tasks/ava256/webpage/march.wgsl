// What voxels.frag and march.frag do, for WebGPU.
struct Settings {
  rotation: array<vec4f, 3>, // the camera's axes
  position: vec3f,
  stepSize: f32,
  focal: vec2f,
  principal: vec2f,
  gain: vec3f,
  colourScale: f32,
  offset: vec3f,
  lowestLogDensity: f32,
  background: vec3f,
  highestLogDensity: f32,
  side: i32,
  rank: i32,
  across: i32, // boxes along the voxels' sides
  down: i32,
  tilesAcross: i32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> components: array<u32>; // bytes: the mean, then each component
@group(0) @binding(2) var<storage, read> weights: array<vec2f>; // of colour and density, a byte's step
@group(0) @binding(3) var made: texture_storage_3d<rgba16float, write>;

// A voxel of the frame shown: the mean and the weighted components. Colour / 255, and density.
@compute @workgroup_size(8, 8)
fn makeVoxels(@builtin(global_invocation_id) at: vec3u) {
  let size = vec3u(u32(settings.across * settings.side), u32(settings.down * settings.side), u32(settings.side));
  if (at.x >= size.x || at.y >= size.y) {
    return;
  }
  let index = (at.z * size.y + at.y) * size.x + at.x;
  let count = size.x * size.y * size.z;
  let mean = unpack4x8unorm(components[index]);
  let low = settings.lowestLogDensity;
  let high = settings.highestLogDensity;
  var sum = vec4f(mean.rgb * settings.colourScale, mix(low, high, (mean.a * 255.0 - 1.0) / 254.0));
  for (var r = 0; r < settings.rank; r++) {
    let code = unpack4x8unorm(components[index + u32(r + 1) * count]) * 255.0 - 128.0;
    sum += code * weights[r].xxxy;
  }
  let density = select(0.0, exp(clamp(sum.a, low, high)), mean.a > 0.0);
  textureStore(made, at, vec4f(max(sum.rgb, vec3f(0.0)) / 255.0, density));
}

@group(0) @binding(4) var<storage, read> boxes: array<vec4f>; // four each: rows of scale * rotation^T with the centre; the nearest point
@group(0) @binding(5) var<storage, read> starts: array<u32>;
@group(0) @binding(6) var<storage, read> lists: array<u32>;
@group(0) @binding(7) var voxels: texture_3d<f32>;
@group(0) @binding(8) var linear: sampler;

const SLOTS = 16; // boxes that a ray is in at once; of more, one is finished early
var<private> held: i32;
var<private> box: array<i32, SLOTS>;
var<private> next: array<i32, SLOTS>;
var<private> last: array<i32, SLOTS>;
var<private> origin: vec3f; // of the ray's first sample
var<private> direction: vec3f;
var<private> sum: vec4f;

fn centreOf(k: i32) -> vec3f {
  return vec3f(boxes[4 * k].w, boxes[4 * k + 1].w, boxes[4 * k + 2].w);
}

fn turned(k: i32, v: vec3f) -> vec3f {
  return vec3f(dot(boxes[4 * k].xyz, v), dot(boxes[4 * k + 1].xyz, v), dot(boxes[4 * k + 2].xyz, v));
}

fn addSample(k: i32, n: i32) {
  let at = turned(k, origin + (f32(n) * settings.stepSize) * direction - centreOf(k));
  if (any(abs(at) >= vec3f(1.0))) {
    return;
  }
  let square = at * at;
  let fade = square * square;
  let side = settings.side;
  let corner = vec3f(f32(side * (k % settings.across)), f32(side * (k / settings.across)), 0.0) + 0.5;
  let place = (corner + (at + 1.0) * (0.5 * f32(side - 1))) / vec3f(textureDimensions(voxels));
  let value = textureSampleLevel(voxels, linear, place, 0.0);
  let alpha = exp(-8.0 * dot(fade, fade)) * settings.stepSize * value.a;
  sum = vec4f(sum.rgb + min(alpha, 1.0 - sum.a) * value.rgb, min(sum.a + alpha, 1.0));
}

// Takes the samples before step `limit` of the boxes held, in the order of their steps, then of the boxes' numbers.
fn advance(limit: i32) {
  while (sum.a < 1.0) {
    var best = -1;
    var n = limit;
    for (var j = 0; j < held; j++) {
      if (next[j] < n || (best >= 0 && next[j] == n && box[j] < box[best])) {
        best = j;
        n = next[j];
      }
    }
    if (best < 0) {
      return;
    }
    addSample(box[best], n);
    next[best]++;
    if (next[best] > last[best]) { // the last one takes its place
      held--;
      box[best] = box[held];
      next[best] = next[held];
      last[best] = last[held];
    }
  }
}

@vertex
fn corners(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
  return vec4f(select(-1.0, 3.0, i == 1u), select(-1.0, 3.0, i == 2u), 0.0, 1.0);
}

@fragment
fn march(@builtin(position) place: vec4f) -> @location(0) vec4f {
  let pixel = vec2i(place.xy);
  let plane = (vec2f(pixel) - settings.principal) / settings.focal;
  direction = normalize(settings.rotation[0].xyz * plane.x + settings.rotation[1].xyz * plane.y + settings.rotation[2].xyz);
  direction = select(direction, vec3f(1e-12), direction == vec3f(0.0)); // no division by zero
  let position = settings.position;
  let a = (-1.0 - position) / direction;
  let b = (1.0 - position) / direction;
  let enter = min(a, b);
  let leave = max(a, b);
  let near = max(max(max(enter.x, enter.y), enter.z), 0.0);
  let far = min(min(leave.x, leave.y), leave.z);
  let steps = i32(ceil(max(far - near, 0.0) / settings.stepSize));
  origin = position + near * direction;
  sum = vec4f(0.0);
  held = 0;
  let tile = (pixel.y / TILE) * settings.tilesAcross + pixel.x / TILE;
  let end = starts[tile + 1];
  for (var i = starts[tile]; i < end && sum.a < 1.0; i++) {
    let k = i32(lists[i]);
    advance(i32(max((boxes[4 * k + 3].x - near) / settings.stepSize, 0.0))); // no box from here on has samples before
    let start = turned(k, origin - centreOf(k));
    var along = turned(k, direction) * settings.stepSize;
    along = select(along, vec3f(1e-12), abs(along) < vec3f(1e-12));
    let low = (-1.0 - start) / along;
    let high = (1.0 - start) / along;
    let first = min(low, high);
    let second = max(low, high);
    let begin = i32(max(ceil(max(max(first.x, first.y), first.z)), 0.0));
    let finish = min(i32(floor(min(min(min(second.x, second.y), second.z), 1e9))), steps - 1);
    if (begin > finish) {
      continue;
    }
    if (held == SLOTS) {
      var soonest = last[0];
      for (var j = 1; j < held; j++) {
        soonest = min(soonest, last[j]);
      }
      advance(soonest + 1);
      if (held == SLOTS) { // the ray has ended
        break;
      }
    }
    box[held] = k;
    next[held] = begin;
    last[held] = finish;
    held++;
  }
  advance(steps);
  return vec4f(sum.rgb * settings.gain + sum.a * settings.offset + (1.0 - sum.a) * settings.background, 1.0);
}
