#version 300 es
// One slice of the voxels of the frame shown: the mean and the weighted components. Colour / 255, and density.
precision highp float;
precision highp sampler3D;
uniform sampler3D components; // slices of the mean, then of each component
uniform int side, rank, slice;
uniform float colourScale; // of the mean, 0-255
uniform vec2 logDensity; // least and largest
uniform vec2 weights[RANK]; // of colour and density, a byte's step
out vec4 voxel;

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec4 mean = texelFetch(components, ivec3(at, slice), 0);
  vec4 sum = vec4(mean.rgb * colourScale, mix(logDensity.x, logDensity.y, (mean.a * 255.0 - 1.0) / 254.0));
  for (int r = 0; r < rank; r++) {
    vec4 code = texelFetch(components, ivec3(at, slice + (r + 1) * side), 0) * 255.0 - 128.0;
    sum += code * weights[r].xxxy;
  }
  float density = mean.a > 0.0 ? exp(clamp(sum.a, logDensity.x, logDensity.y)) : 0.0;
  voxel = vec4(max(sum.rgb, 0.0) / 255.0, density);
}
