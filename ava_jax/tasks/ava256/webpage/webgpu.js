// The picture by WebGPU.

class WebGpu {
  static async create(canvas, scene) {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("this browser has no WebGPU.");
    const { rank, side, grid } = scene.header;
    const bytes = 4 * grid[0] * grid[1] * side ** 3 * (rank + 1);
    const most = Math.min(adapter.limits.maxStorageBufferBindingSize, adapter.limits.maxBufferSize);
    if (bytes > most) throw new Error(`its buffers end at ${most} bytes; ${bytes} are needed.`);
    const device = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize: most, maxBufferSize: most } });
    const renderer = new WebGpu(device, canvas, scene);
    await renderer.compile();
    device.lost.then(() => renderer.lost?.());
    return renderer;
  }

  constructor(device, canvas, scene) {
    Object.assign(this, { device, scene, name: "WebGPU" });
    const { rank, side, grid } = scene.header;
    this.context = canvas.getContext("webgpu");
    this.format = navigator.gpu.getPreferredCanvasFormat();
    this.context.configure({ device, format: this.format, alphaMode: "opaque" });
    const { STORAGE, UNIFORM, COPY_DST } = GPUBufferUsage;
    const texels = grid[0] * grid[1] * side ** 3;
    this.components = device.createBuffer({ size: 4 * texels * (rank + 1), usage: STORAGE | COPY_DST });
    for (let i = 0; i <= rank; i++) device.queue.writeBuffer(this.components, 4 * texels * i, scene.component(i));
    this.voxels = device.createTexture({
      size: [grid[0] * side, grid[1] * side, side], dimension: "3d", format: "rgba16float",
      usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.TEXTURE_BINDING,
    });
    this.sampler = device.createSampler({ magFilter: "linear", minFilter: "linear" });
    this.settings = device.createBuffer({ size: 176, usage: UNIFORM | COPY_DST });
    this.weights = device.createBuffer({ size: 8 * Math.max(rank, 1), usage: STORAGE | COPY_DST });
    this.boxes = device.createBuffer({ size: scene.boxes.byteLength, usage: STORAGE | COPY_DST });
    device.addEventListener("uncapturederror", (event) => console.error(event.error.message));
  }

  async compile() {
    const { device, format } = this;
    const module = device.createShaderModule({ code: SHADERS["march.wgsl"].replaceAll("TILE", TILE) });
    this.decode = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "makeVoxels" } });
    this.march = await device.createRenderPipelineAsync({
      layout: "auto",
      vertex: { module, entryPoint: "corners" },
      fragment: { module, entryPoint: "march", targets: [{ format }] },
    });
    this.decodeGroup = this.group(this.decode, { 0: this.settings, 1: this.components, 2: this.weights }, { 3: this.voxels.createView() });
  }

  group(pipeline, buffers, others) {
    const entries = Object.entries(buffers).map(([binding, buffer]) => [binding, { buffer }]);
    const all = [...entries, ...Object.entries(others)].map(([binding, resource]) => ({ binding: Number(binding), resource }));
    return this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: all });
  }

  // The scene's weights to voxels, before the next picture.
  setVoxels() {
    if (this.scene.header.rank) this.device.queue.writeBuffer(this.weights, 0, this.scene.voxelWeights);
    this.voxelsWait = true;
  }

  draw(camera, { across, total }, background) {
    const { device, scene } = this;
    this.starts = this.table(this.starts, scene.starts, scene.starts.length);
    this.lists = this.table(this.lists, scene.lists, total);
    device.queue.writeBuffer(this.boxes, 0, scene.boxes);
    device.queue.writeBuffer(this.settings, 0, this.pack(camera, across, background));
    const encoder = device.createCommandEncoder();
    if (this.voxelsWait) this.encodeVoxels(encoder);
    const buffers = { 0: this.settings, 4: this.boxes, 5: this.starts, 6: this.lists };
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: this.context.getCurrentTexture().createView(), loadOp: "clear", storeOp: "store" }],
    });
    pass.setPipeline(this.march);
    pass.setBindGroup(0, this.group(this.march, buffers, { 7: this.voxels.createView(), 8: this.sampler }));
    pass.draw(3);
    pass.end();
    device.queue.submit([encoder.finish()]);
    const picture = (this.picture = device.queue.onSubmittedWorkDone().catch(() => {}));
    picture.then(() => (this.picture === picture ? (this.picture = null) : null));
  }

  // Whether the last picture is still being drawn.
  busy() {
    return Boolean(this.picture);
  }

  encodeVoxels(encoder) {
    const { side, grid } = this.scene.header;
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.decode);
    pass.setBindGroup(0, this.decodeGroup);
    pass.dispatchWorkgroups(Math.ceil((grid[0] * side) / 8), Math.ceil((grid[1] * side) / 8), side);
    pass.end();
    this.voxelsWait = false;
  }

  // The shaders' Settings.
  pack({ rotation, position, focal, principal }, across, background) {
    const { side, rank, grid, gain, offset, step_size, colour_scale, log_density } = this.scene.header;
    const values = new Float32Array(44);
    for (let row = 0; row < 3; row++) values.set(rotation.slice(3 * row, 3 * row + 3), 4 * row);
    values.set([...position, step_size], 12);
    values.set([...focal, ...principal], 16);
    values.set([...gain, colour_scale], 20);
    values.set([...offset, log_density[0]], 24);
    values.set([...background, log_density[1]], 28);
    new Int32Array(values.buffer).set([side, rank, grid[0], grid[1], across], 32);
    return values;
  }

  // A buffer of these whole numbers: the one there is, or a larger one.
  table(buffer, values, count) {
    const bytes = 4 * Math.max(count, 1);
    if (!buffer || buffer.size < bytes) {
      buffer?.destroy();
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      buffer = this.device.createBuffer({ size: 4 * Math.ceil(1.5 * Math.max(count, 1)), usage });
    }
    if (count) this.device.queue.writeBuffer(buffer, 0, values, 0, count);
    return buffer;
  }

  // Waits until what was asked for is drawn.
  async finish() {
    await this.device.queue.onSubmittedWorkDone();
  }
}
