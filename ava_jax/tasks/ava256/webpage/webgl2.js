// The picture by WebGL2.

const LIST_WIDTH = 2048, BOX_WIDTH = 512; // entries and boxes in a row of their textures

class WebGl2 {
  static async create(canvas, scene) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("This browser has no WebGL2.");
    if (!gl.getExtension("EXT_color_buffer_float") && !gl.getExtension("EXT_color_buffer_half_float")) {
      throw new Error("This browser's WebGL2 cannot draw into textures of 16-bit floats.");
    }
    const renderer = new WebGl2(gl, scene);
    canvas.addEventListener("webglcontextlost", () => renderer.lost?.());
    return renderer;
  }

  constructor(gl, scene) {
    (this.gl = gl), (this.scene = scene), (this.name = "WebGL2");
    const { rank, side, grid } = scene.header;
    this.decode = this.program(SHADERS["voxels.frag"].replace("RANK", Math.max(rank, 1)));
    this.march = this.program(SHADERS["march.frag"].replaceAll("TILE", TILE));
    const size = [grid[0] * side, grid[1] * side];
    const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
    if (Math.max(...size, side * (rank + 1)) > most) throw new Error(`This device's 3D textures end at ${most} texels.`);
    this.components = this.texture(gl.TEXTURE_3D, gl.NEAREST);
    gl.texStorage3D(gl.TEXTURE_3D, 1, gl.RGBA8, ...size, side * (rank + 1));
    for (let i = 0; i <= rank; i++) {
      gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, i * side, ...size, side, gl.RGBA, gl.UNSIGNED_BYTE, scene.component(i));
    }
    this.voxels = this.texture(gl.TEXTURE_3D, gl.LINEAR);
    gl.texStorage3D(gl.TEXTURE_3D, 1, gl.RGBA16F, ...size, side);
    this.boxes = this.texture(gl.TEXTURE_2D, gl.NEAREST);
    this.boxRows = Math.ceil(scene.count / BOX_WIDTH);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, 4 * BOX_WIDTH, this.boxRows);
    this.boxValues = new Float32Array(16 * BOX_WIDTH * this.boxRows);
    (this.starts = new GlTable(this)), (this.lists = new GlTable(this));
    this.framebuffer = gl.createFramebuffer();
    gl.bindVertexArray(gl.createVertexArray());
  }

  program(source) {
    const { gl } = this;
    const program = gl.createProgram();
    const place = "vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0)";
    const corners = `#version 300 es\nvoid main() { gl_Position = ${place}; }`;
    for (const [type, text] of [[gl.VERTEX_SHADER, corners], [gl.FRAGMENT_SHADER, source]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
      const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
      throw new Error(`A shader does not compile here: ${gl.getProgramInfoLog(program)} ${logs.join(" ")}`);
    }
    const at = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      at[name.replace("[0]", "")] = gl.getUniformLocation(program, name);
    }
    return { program, at };
  }

  texture(kind, filter) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(kind, texture);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(kind, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(kind, name, gl.CLAMP_TO_EDGE);
    return texture;
  }

  // The scene's weights to voxels.
  setVoxels() {
    const { gl, scene, decode: { program, at } } = this;
    const { side, rank, grid, colour_scale, log_density } = scene.header;
    gl.useProgram(program);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.viewport(0, 0, grid[0] * side, grid[1] * side);
    this.bind(0, gl.TEXTURE_3D, this.components, at.components);
    gl.uniform1i(at.side, side);
    gl.uniform1i(at.rank, rank);
    gl.uniform1f(at.colourScale, colour_scale);
    gl.uniform2f(at.logDensity, ...log_density);
    if (rank) gl.uniform2fv(at.weights, scene.voxelWeights);
    for (let slice = 0; slice < side; slice++) {
      gl.uniform1i(at.slice, slice);
      gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, this.voxels, 0, slice);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  draw(camera, { across, total }, background) {
    const { gl, scene, march: { program, at } } = this;
    const { side, grid, gain, offset, step_size } = scene.header;
    this.starts.set(scene.starts, scene.starts.length);
    this.lists.set(scene.lists, total);
    this.boxValues.set(scene.boxes);
    gl.bindTexture(gl.TEXTURE_2D, this.boxes);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 4 * BOX_WIDTH, this.boxRows, gl.RGBA, gl.FLOAT, this.boxValues);
    gl.useProgram(program);
    gl.viewport(0, 0, camera.width, camera.height);
    this.bind(0, gl.TEXTURE_3D, this.voxels, at.voxels);
    this.bind(1, gl.TEXTURE_2D, this.boxes, at.boxes);
    this.bind(2, gl.TEXTURE_2D, this.starts.texture, at.starts);
    this.bind(3, gl.TEXTURE_2D, this.lists.texture, at.lists);
    gl.uniformMatrix3fv(at.rotation, false, camera.rotation); // rows as columns
    gl.uniform3fv(at.position, camera.position);
    gl.uniform2fv(at.focal, camera.focal);
    gl.uniform2fv(at.principal, camera.principal);
    gl.uniform1i(at.height, camera.height);
    gl.uniform1i(at.across, across);
    gl.uniform1i(at.perRow, grid[0]);
    gl.uniform1i(at.side, side);
    gl.uniform1f(at.stepSize, step_size);
    gl.uniform3fv(at.gain, gain);
    gl.uniform3fv(at.offset, offset);
    gl.uniform3fv(at.background, background);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  // Whether the last picture is still being drawn.
  busy() {
    const { gl, fence } = this;
    if (!fence || gl.isContextLost()) return false;
    if (gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.SIGNALED) return true;
    gl.deleteSync(fence);
    this.fence = null;
    return false;
  }

  bind(unit, kind, texture, location) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(kind, texture);
    gl.uniform1i(location, unit);
  }

  // Waits until what was asked for is drawn.
  async finish() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }
}

// Whole numbers in rows of a texture that grows.
class GlTable {
  constructor(renderer) {
    (this.renderer = renderer), (this.rows = 0);
  }

  set(values, count) {
    const { gl } = this.renderer;
    const rows = Math.max(Math.ceil(count / LIST_WIDTH), 1);
    gl.activeTexture(gl.TEXTURE0);
    if (rows > this.rows) {
      if (this.texture) gl.deleteTexture(this.texture);
      this.rows = Math.ceil(1.5 * rows);
      this.texture = this.renderer.texture(gl.TEXTURE_2D, gl.NEAREST);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32UI, LIST_WIDTH, this.rows);
      this.values = new Uint32Array(LIST_WIDTH * this.rows);
    }
    this.values.set(values.subarray(0, count));
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, LIST_WIDTH, rows, gl.RED_INTEGER, gl.UNSIGNED_INT, this.values);
  }
}
