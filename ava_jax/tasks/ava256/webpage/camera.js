// A camera that orbits a point of the head: drag turns, two fingers or the wheel zoom, right button or two fingers shift.

class Orbit {
  constructor(header) {
    this.home = header.camera; // middle, height, width, margin, mm: as Avatar.portrait
    this.radius = header.radius;
    this.reset();
  }

  reset() {
    this.target = [...this.home.middle];
    (this.azimuth = 0), (this.elevation = 0), (this.distance = this.home.distance);
    this.fixed = null;
  }

  turn(right, down) {
    this.azimuth -= right;
    this.elevation = Math.min(Math.max(this.elevation + down, -1.5), 1.5);
    this.fixed = null;
  }

  zoom(factor) {
    // Near enough for pores, never inside of the head.
    this.distance = Math.min(Math.max(this.distance * factor, 0.3 * this.home.distance), 4 * this.home.distance);
    this.fixed = null;
  }

  // By fractions of the picture's height.
  shift(right, down) {
    const { rotation } = this.look();
    const size = (this.home.size * this.distance) / this.home.distance;
    for (let i = 0; i < 3; i++) this.target[i] -= size * (right * rotation[i] + down * rotation[3 + i]);
    this.fixed = null;
  }

  look() {
    const level = Math.cos(this.elevation);
    const away = [level * Math.sin(this.azimuth), Math.sin(this.elevation), level * Math.cos(this.azimuth)];
    const forward = away.map((value) => -value);
    const side = normalise([-forward[2], 0, forward[0]]); // forward x (0, 1, 0)
    const rotation = [...side, ...cross(forward, side), ...forward];
    return { rotation, position: away.map((value, i) => this.target[i] + this.distance * value) };
  }

  // For a picture of this size, pixels: lengths in volume radii.
  camera(width, height) {
    if (this.fixed) return { ...this.fixed, width, height };
    const { rotation, position } = this.look();
    const size = this.home.margin * Math.max(this.home.height, (this.home.width * height) / width);
    this.home.size = size;
    const focal = (height * this.home.distance) / size;
    return {
      rotation, position: position.map((value) => value / this.radius),
      focal: [focal, focal], principal: [(width - 1) / 2, (height - 1) / 2], width, height,
    };
  }
}

function cross([a, b, c], [x, y, z]) {
  return [b * z - c * y, c * x - a * z, a * y - b * x];
}

function normalise(v) {
  const size = Math.hypot(...v);
  return v.map((value) => value / size);
}

function listenTo(canvas, orbit, changed) {
  const fingers = new Map();
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const size = canvas.clientHeight;
    const right = (now[0] - before[0]) / size, down = (now[1] - before[1]) / size;
    if (fingers.size === 1) {
      if (event.buttons & 2 || event.shiftKey) orbit.shift(right, down);
      else orbit.turn(3 * right, 3 * down);
    } else if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
      orbit.zoom(apart(before) / Math.max(apart(now), 1));
      orbit.shift(right / 2, down / 2);
    }
    fingers.set(event.pointerId, now);
    changed();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    orbit.zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.03 : 0.001)));
    changed();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (keys[event.key]) orbit.turn(...keys[event.key]);
    else if (event.key === "+" || event.key === "-") orbit.zoom(event.key === "+" ? 0.9 : 1 / 0.9);
    else return;
    event.preventDefault();
    changed();
  });
}
