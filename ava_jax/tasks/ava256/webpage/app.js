// The page: time, camera, background and what is drawn when.

const BUSY_MS = 50; // a frame that takes longer than this while something moves is drawn coarser

class App {
  constructor(scene, renderer, canvas) {
    Object.assign(this, { scene, renderer, canvas });
    const { header } = scene;
    this.orbit = new Orbit(header);
    (this.time = 0), (this.playing = header.frames > 1), (this.speed = 1);
    this.background = colourOf(header.background);
    (this.scale = 1), (this.fixedScale = 0), (this.fixedSize = null);
    (this.times = []), (this.drawn = {});
    const scaleAsked = Number(new URLSearchParams(location.search).get("scale"));
    if (scaleAsked > 0) this.fixedScale = Math.min(scaleAsked, 4);
    this.connect();
    listenTo(canvas, this.orbit, () => this.wake());
    new ResizeObserver(() => this.wake()).observe(canvas);
    requestAnimationFrame((now) => this.tick(now));
  }

  connect() {
    const element = (id) => document.getElementById(id);
    const { header } = this.scene;
    const slider = element("time"), play = element("play");
    slider.max = Math.max(header.frames - 1, 0);
    slider.addEventListener("input", () => {
      this.setPlaying(false);
      this.time = Number(slider.value);
      this.wake();
    });
    play.addEventListener("click", () => this.setPlaying(!this.playing));
    element("speed").addEventListener("change", (event) => (this.speed = Number(event.target.value)));
    element("background").value = header.background;
    element("background").addEventListener("input", (event) => {
      this.background = colourOf(event.target.value);
      this.wake();
    });
    element("home").addEventListener("click", () => {
      this.orbit.reset();
      this.wake();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target.matches("button, input, select")) return;
      event.preventDefault();
      this.setPlaying(!this.playing);
    });
    element("about").textContent = header.about;
    for (const id of ["play", "time", "speed"]) element(id).hidden = header.frames < 2;
    this.setPlaying(this.playing);
  }

  setPlaying(playing) {
    this.playing = playing;
    const play = document.getElementById("play");
    play.textContent = playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.wake();
  }

  wake() {
    this.moved = performance.now();
  }

  tick(now) {
    const seconds = Math.min((now - (this.before ?? now)) / 1000, 0.25);
    this.before = now;
    if (this.playing) {
      const { frames, fps } = this.scene.header;
      this.time = (this.time + seconds * fps * this.speed) % Math.max(frames - 1, 1e-6);
      document.getElementById("time").value = this.time;
      this.wake();
    }
    const moving = now - (this.moved ?? 0) < 200;
    this.adapt(moving);
    if (this.draw() && moving) this.measure(now);
    requestAnimationFrame((then) => this.tick(then));
  }

  // While something moves, pixels may be larger, so that it moves; at rest they are the screen's.
  adapt(moving) {
    if (this.fixedScale) return;
    if (!moving) this.scale = 1;
    else if (this.movingScale) this.scale = this.movingScale;
    const recent = this.times.slice(-3);
    if (!moving || recent.length < 3) return;
    const each = (recent[2] - recent[0]) / 2;
    if (each > BUSY_MS) this.movingScale = Math.max((this.movingScale ?? 1) * Math.max(Math.sqrt(BUSY_MS / each), 0.5), 0.15);
    else if (each < BUSY_MS / 2) this.movingScale = Math.min((this.movingScale ?? 1) * 1.1, 1);
  }

  // Frames per second over the last one.
  measure(now) {
    const last = this.times[this.times.length - 1];
    if (last !== undefined && now - last > 1000) this.times = [];
    this.times.push(now);
    while (this.times[0] < now - 1000) this.times.shift();
    const span = now - this.times[0];
    if (span > 0) this.fps = ((this.times.length - 1) * 1000) / span;
    this.tell();
  }

  tell() {
    const { width, height } = this.canvas;
    const rate = this.fps ? `${this.fps.toFixed(this.fps < 10 ? 1 : 0)} frames/s, ` : "";
    const text = `${this.renderer.name}, ${rate}${width} × ${height}`;
    const corner = document.getElementById("renderer");
    if (corner.textContent !== text) corner.textContent = text;
  }

  size() {
    if (this.fixedSize) return this.fixedSize;
    const scale = this.fixedScale || this.scale * Math.min(devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.canvas;
    return [Math.max(Math.round(clientWidth * scale), 8), Math.max(Math.round(clientHeight * scale), 8)];
  }

  // Draws what has changed; returns whether anything has.
  draw() {
    const { scene, renderer, canvas, drawn } = this;
    const [width, height] = this.size();
    if (canvas.width !== width || canvas.height !== height) (canvas.width = width), (canvas.height = height);
    const camera = this.orbit.camera(width, height);
    const key = JSON.stringify([camera, this.background]);
    if (drawn.time === this.time && drawn.key === key) return false;
    if (drawn.time !== this.time) scene.setTime(this.time);
    if (scene.setDirection(normalise(camera.position))) renderer.setVoxels();
    renderer.draw(camera, scene.list(camera), this.background);
    this.drawn = { time: this.time, key };
    this.tell();
    return true;
  }

  // For programs: the picture of an exact camera, mm and pixels, at a time in frames, in a canvas of this size.
  async show({ time, camera, width, height, background }) {
    this.setPlaying(false);
    if (time !== undefined) document.getElementById("time").value = this.time = time;
    if (width) this.fixedSize = [width, height];
    if (camera) this.orbit.fixed = { ...camera, position: camera.position.map((value) => value / this.scene.header.radius) };
    if (background) this.background = colourOf(background);
    this.draw();
    await this.renderer.finish();
  }
}

function colourOf(text) {
  return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16) / 255);
}

async function createRenderer(scene) {
  const asked = new URLSearchParams(location.search).get("renderer");
  const kinds = { webgpu: WebGpu, webgl2: WebGl2 };
  if (asked && !kinds[asked]) throw new Error(`?renderer=${asked}: it is webgpu or webgl2.`);
  const canvas = () => {
    // A canvas that has been asked for one kind of picture has no other.
    const old = document.getElementById("picture");
    const fresh = old.cloneNode(false);
    old.replaceWith(fresh);
    return fresh;
  };
  if (asked !== "webgl2" && (asked || navigator.gpu)) {
    try {
      const here = canvas();
      return [await WebGpu.create(here, scene), here];
    } catch (error) {
      if (asked) throw error;
      console.info(`WebGPU is not used: ${error.message}`);
    }
  }
  const here = canvas();
  return [await WebGl2.create(here, scene), here];
}

async function start() {
  const scene = new Scene(await unpackScene());
  const [renderer, canvas] = await createRenderer(scene);
  window.avatar = new App(scene, renderer, canvas);
  document.getElementById("message").remove();
}

start().catch((error) => {
  document.getElementById("message").textContent = `This page cannot be shown: ${error.message}`;
  console.error(error);
});
