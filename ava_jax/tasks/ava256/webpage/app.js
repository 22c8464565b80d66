// The page: time, camera, background and what is drawn when.

// What a picture may take: where drawing is slow, pixels are larger while something moves, and finer but not always the screen's at rest.
const MOVING_MS = 40, RESTING_MS = 1000;
const COARSEST = 0.15;

class App {
  constructor(scene) {
    this.scene = scene;
    const { header } = scene;
    this.orbit = new Orbit(header);
    (this.time = 0), (this.playing = header.frames > 1), (this.speed = 1);
    this.background = colourOf(header.background);
    (this.scale = 0.25), (this.fixedSize = null); // the first picture is small: how fast drawing is, is not known yet
    (this.times = []), (this.drawn = {});
    this.fixedScale = Math.min(Math.max(Number(new URLSearchParams(location.search).get("scale")) || 0, 0), 4);
    this.connect();
  }

  // Draws with WebGPU where there is one, else with WebGL2; `kinds` in the order they are tried in.
  async run(kinds) {
    const reasons = [];
    for (const kind of kinds) {
      // A canvas that was asked for one kind of picture has no other.
      const old = document.getElementById("picture");
      this.canvas = old.cloneNode(false);
      old.replaceWith(this.canvas);
      try {
        this.renderer = await RENDERERS[kind].create(this.canvas, this.scene);
      } catch (error) {
        reasons.push(error.message);
        continue;
      }
      this.renderer.lost = () => this.lose(kind);
      this.scene.voxelWeights = null; // to be made anew
      this.drawn = {};
      listenTo(this.canvas, this.orbit, () => this.wake());
      this.wake();
      return;
    }
    throw new Error(reasons.join(" "));
  }

  // The graphics device was taken away, or its driver failed: WebGL2 next, where it was not that already.
  lose(kind) {
    this.renderer = null;
    this.run(["webgl2"]).catch((error) => tellTrouble(`its ${kind} was lost. ${error.message}`));
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
    this.step(now, now - (this.moved ?? 0) < 200);
    requestAnimationFrame((then) => this.tick(then));
  }

  // Draws the next picture once the last one is done.
  step(now, moving) {
    if (!this.renderer || this.renderer.busy()) return;
    if (this.begun) this.took = now - this.begun;
    this.begun = 0;
    if (this.took) {
      const fits = this.scale * Math.sqrt((moving ? MOVING_MS : RESTING_MS) / this.took);
      // At rest a picture is drawn again only where it gets much finer.
      if (moving || fits > 1.4 * this.scale || fits >= 1) this.scale = Math.min(Math.max(Math.min(fits, 1.5 * this.scale), COARSEST), 1);
      if (this.scale > 0.9) this.scale = 1;
    }
    if (!this.draw()) return;
    this.begun = now;
    if (moving) this.measure(now);
  }

  // Frames per second over the last one.
  measure(now) {
    const last = this.times[this.times.length - 1];
    if (last !== undefined && now - last > 3000) this.times = []; // it rested
    this.times.push(now);
    while (this.times.length > 2 && this.times[0] < now - 1000) this.times.shift();
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

  // Whether something has changed that is not drawn yet.
  waits() {
    return this.drawn.time !== this.time || this.drawn.key !== this.key(this.orbit.camera(...this.size()));
  }

  key(camera) {
    return JSON.stringify([camera, this.background]);
  }

  // Draws what has changed; returns whether anything has.
  draw() {
    const { scene, renderer, canvas, drawn } = this;
    const [width, height] = this.size();
    if (canvas.width !== width || canvas.height !== height) (canvas.width = width), (canvas.height = height);
    const camera = this.orbit.camera(width, height);
    const key = this.key(camera);
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

const RENDERERS = { webgpu: WebGpu, webgl2: WebGl2 };

function tellTrouble(text) {
  const message = document.getElementById("message");
  message.hidden = false;
  message.textContent = `This page cannot be shown: ${text}`;
}

async function start() {
  const asked = new URLSearchParams(location.search).get("renderer");
  if (asked && !RENDERERS[asked]) throw new Error(`?renderer=${asked} is neither webgpu nor webgl2.`);
  const app = new App(new Scene(await unpackScene()));
  await app.run(asked ? [asked] : ["webgpu", "webgl2"]);
  requestAnimationFrame((now) => app.tick(now));
  window.avatar = app;
  document.getElementById("message").hidden = true;
}

start().catch((error) => {
  tellTrouble(error.message);
  console.error(error);
});
