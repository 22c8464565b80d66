#version 300 es
// A ray for each pixel through the boxes that its tile lists, nearest first. Samples lie at near + n step; each adds density * step to alpha
// until that reaches 1, and the sample that reaches it counts for what is left.
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler2D;
uniform sampler3D voxels;
uniform sampler2D boxes; // three texels each: rows of scale * rotation^T, and the centre
uniform usampler2D starts, lists;
uniform mat3 rotation; // columns are the camera's axes
uniform vec3 position;
uniform vec2 focal, principal;
uniform int height, across, perRow, side;
uniform float stepSize;
uniform vec3 gain, offset, background;
out vec4 colour;

uint entry(usampler2D table, int i) {
  return texelFetch(table, ivec2(i & 2047, i >> 11), 0).r;
}

void main() {
  ivec2 pixel = ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y));
  vec3 direction = normalize(rotation * vec3((vec2(pixel) - principal) / focal, 1.0));
  direction += vec3(equal(direction, vec3(0.0))) * 1e-12; // no division by zero
  vec3 a = (-1.0 - position) / direction, b = (1.0 - position) / direction;
  vec3 enter = min(a, b), leave = max(a, b);
  float near = max(max(max(enter.x, enter.y), enter.z), 0.0), far = min(min(leave.x, leave.y), leave.z);
  int steps = int(ceil(max(far - near, 0.0) / stepSize));
  vec3 origin = position + near * direction;
  vec3 size = vec3(textureSize(voxels, 0));
  vec4 sum = vec4(0.0);
  int tile = (pixel.y / TILE) * across + pixel.x / TILE;
  int last = int(entry(starts, tile + 1));
  for (int i = int(entry(starts, tile)); i < last && sum.a < 1.0; i++) {
    int k = int(entry(lists, i));
    ivec2 texel = ivec2(3 * (k & 511), k >> 9);
    vec4 x = texelFetch(boxes, texel, 0), y = texelFetch(boxes, texel + ivec2(1, 0), 0), z = texelFetch(boxes, texel + ivec2(2, 0), 0);
    mat3 toBox = transpose(mat3(x.xyz, y.xyz, z.xyz));
    vec3 start = toBox * (origin - vec3(x.w, y.w, z.w));
    vec3 along = toBox * direction * stepSize;
    along += vec3(lessThan(abs(along), vec3(1e-12))) * 1e-12;
    vec3 first = (-1.0 - start) / along, second = (1.0 - start) / along;
    vec3 low = min(first, second), high = max(first, second);
    int n = int(max(ceil(max(max(low.x, low.y), low.z)), 0.0));
    int end = min(int(floor(min(min(min(high.x, high.y), high.z), 1e9))), steps - 1);
    if (n > end) continue;
    vec3 corner = vec3(float(side * (k % perRow)), float(side * (k / perRow)), 0.0) + 0.5;
    for (; n <= end && sum.a < 1.0; n++) {
      vec3 at = start + float(n) * along;
      if (any(greaterThanEqual(abs(at), vec3(1.0)))) continue;
      vec3 fade = at * at;
      fade *= fade;
      float alpha = exp(-8.0 * dot(fade, fade)) * stepSize;
      vec4 value = texture(voxels, (corner + (at + 1.0) * (0.5 * float(side - 1))) / size);
      alpha *= value.a;
      sum.rgb += min(alpha, 1.0 - sum.a) * value.rgb;
      sum.a = min(sum.a + alpha, 1.0);
    }
  }
  colour = vec4(sum.rgb * gain + sum.a * offset + (1.0 - sum.a) * background, 1.0);
}
