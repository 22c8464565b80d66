#version 300 es
// A ray for each pixel through the boxes that its tile lists, by their nearest points. Samples lie at near + n step, those of all boxes in
// the order of n; each adds density * step to alpha until that reaches 1, and the sample that reaches it counts for what is left.
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler2D;
uniform sampler3D voxels;
uniform sampler2D boxes; // four texels each: rows of scale * rotation^T with the centre; the distance of the nearest point
uniform usampler2D starts, lists;
uniform mat3 rotation; // columns are the camera's axes
uniform vec3 position;
uniform vec2 focal, principal;
uniform int height, across, perRow, side;
uniform float stepSize;
uniform vec3 gain, offset, background;
out vec4 colour;

const int SLOTS = 16; // boxes that a ray is in at once; of more, one is finished early
int held = 0;
int box[SLOTS], next[SLOTS], last[SLOTS]; // which; its next sample and its last one
vec3 origin, direction; // of the ray's first sample
vec4 sum = vec4(0.0);

uint entry(usampler2D table, int i) {
  return texelFetch(table, ivec2(i & 2047, i >> 11), 0).r;
}

mat3 toBox(ivec2 texel, out vec3 centre) {
  vec4 x = texelFetch(boxes, texel, 0), y = texelFetch(boxes, texel + ivec2(1, 0), 0), z = texelFetch(boxes, texel + ivec2(2, 0), 0);
  centre = vec3(x.w, y.w, z.w);
  return transpose(mat3(x.xyz, y.xyz, z.xyz));
}

void addSample(int k, int n) {
  vec3 centre;
  mat3 turn = toBox(ivec2(4 * (k & 511), k >> 9), centre);
  vec3 at = turn * (origin + (float(n) * stepSize) * direction - centre);
  if (any(greaterThanEqual(abs(at), vec3(1.0)))) return;
  vec3 fade = at * at;
  fade *= fade;
  vec3 corner = vec3(float(side * (k % perRow)), float(side * (k / perRow)), 0.0) + 0.5;
  vec4 value = texture(voxels, (corner + (at + 1.0) * (0.5 * float(side - 1))) / vec3(textureSize(voxels, 0)));
  float alpha = exp(-8.0 * dot(fade, fade)) * stepSize * value.a;
  sum.rgb += min(alpha, 1.0 - sum.a) * value.rgb;
  sum.a = min(sum.a + alpha, 1.0);
}

// Takes the samples before step `limit` of the boxes held, in the order of their steps, then of the boxes' numbers.
void advance(int limit) {
  while (sum.a < 1.0) {
    int best = -1, n = limit;
    for (int j = 0; j < held; j++) {
      if (next[j] < n || (best >= 0 && next[j] == n && box[j] < box[best])) {
        best = j;
        n = next[j];
      }
    }
    if (best < 0) return;
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

void main() {
  ivec2 pixel = ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y));
  direction = normalize(rotation * vec3((vec2(pixel) - principal) / focal, 1.0));
  direction += vec3(equal(direction, vec3(0.0))) * 1e-12; // no division by zero
  vec3 a = (-1.0 - position) / direction, b = (1.0 - position) / direction;
  vec3 enter = min(a, b), leave = max(a, b);
  float near = max(max(max(enter.x, enter.y), enter.z), 0.0), far = min(min(leave.x, leave.y), leave.z);
  int steps = int(ceil(max(far - near, 0.0) / stepSize));
  origin = position + near * direction;
  int tile = (pixel.y / TILE) * across + pixel.x / TILE;
  int end = int(entry(starts, tile + 1));
  for (int i = int(entry(starts, tile)); i < end && sum.a < 1.0; i++) {
    int k = int(entry(lists, i));
    ivec2 texel = ivec2(4 * (k & 511), k >> 9);
    float nearest = texelFetch(boxes, texel + ivec2(3, 0), 0).x;
    advance(int(max((nearest - near) / stepSize, 0.0))); // no box from here on has samples before
    vec3 centre;
    mat3 turn = toBox(texel, centre);
    vec3 start = turn * (origin - centre), along = turn * direction * stepSize;
    along += vec3(lessThan(abs(along), vec3(1e-12))) * 1e-12;
    vec3 low = (-1.0 - start) / along, high = (1.0 - start) / along;
    vec3 first = min(low, high), second = max(low, high);
    int begin = int(max(ceil(max(max(first.x, first.y), first.z)), 0.0));
    int finish = min(int(floor(min(min(min(second.x, second.y), second.z), 1e9))), steps - 1);
    if (begin > finish) continue;
    if (held == SLOTS) {
      int soonest = last[0];
      for (int j = 1; j < held; j++) soonest = min(soonest, last[j]);
      advance(soonest + 1);
      if (held == SLOTS) break; // the ray has ended
    }
    box[held] = k;
    next[held] = begin;
    last[held] = finish;
    held++;
  }
  advance(steps);
  colour = vec4(sum.rgb * gain + sum.a * offset + (1.0 - sum.a) * background, 1.0);
}
