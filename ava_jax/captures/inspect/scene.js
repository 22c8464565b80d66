// Draws the scene of the page's element `scene`; the pointer turns, moves and scales it. Plain canvas: the page works without a network.
(function () {
  "use strict";
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("space"), pen = canvas.getContext("2d");
  const start = { yaw: 0.45, pitch: 0.3, zoom: 1, x: 0, y: 0 };
  let view = { ...start }, head = 0, names = false, near = -1, asked = false;

  // Viewer's axes: x to the right, y up, z to the eye. Returns pixels and the distance from the eye.
  function project(p) {
    const cy = Math.cos(view.yaw), sy = Math.sin(view.yaw), cp = Math.cos(view.pitch), sp = Math.sin(view.pitch);
    const x = cy * p[0] - sy * p[2], z = sy * p[0] + cy * p[2];
    const y = cp * p[1] - sp * z, away = 3.2 * scene.radius - (sp * p[1] + cp * z);
    const scale = (1.8 * view.zoom * Math.min(canvas.width, canvas.height)) / Math.max(away, 0.2 * scene.radius);
    return [canvas.width / 2 + view.x + scale * x, canvas.height / 2 + view.y - scale * y, away];
  }

  function line(list, a, b, colour, width) {
    const p = project(a), q = project(b);
    list.push([(p[2] + q[2]) / 2, () => {
      pen.strokeStyle = colour; pen.lineWidth = width; pen.beginPath(); pen.moveTo(p[0], p[1]); pen.lineTo(q[0], q[1]); pen.stroke();
    }]);
  }

  function triangles(list, mesh) {
    const at = mesh.vertices.map(project);
    const light = [0.3, 0.5, 0.81], cy = Math.cos(view.yaw), sy = Math.sin(view.yaw);
    const lamp = [cy * light[0] + sy * light[2], light[1], cy * light[2] - sy * light[0]]; // turns with the eye
    mesh.faces.forEach((face, i) => {
      const [a, b, c] = face.map((v) => mesh.vertices[v]);
      const u = [b[0] - a[0], b[1] - a[1], b[2] - a[2]], w = [c[0] - a[0], c[1] - a[1], c[2] - a[2]];
      const n = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]];
      const bright = 0.35 + 0.75 * Math.abs((n[0] * lamp[0] + n[1] * lamp[1] + n[2] * lamp[2]) / (Math.hypot(...n) || 1));
      const colour = `rgb(${mesh.colours[i].map((v) => Math.min(255, Math.round(v * bright)))})`;
      const [p, q, r] = face.map((v) => at[v]);
      list.push([(p[2] + q[2] + r[2]) / 3, () => {
        pen.fillStyle = pen.strokeStyle = colour; pen.lineWidth = 1; pen.beginPath();
        pen.moveTo(p[0], p[1]); pen.lineTo(q[0], q[1]); pen.lineTo(r[0], r[1]); pen.closePath(); pen.fill(); pen.stroke();
      }]);
    });
  }

  function draw() {
    asked = false;
    const dense = window.devicePixelRatio || 1, list = [];
    canvas.width = Math.round(canvas.clientWidth * dense); canvas.height = Math.round(canvas.clientHeight * dense);
    scene.cameras.forEach((camera, i) => {
      const colour = i === near ? "#fff" : scene.colours[camera.kind];
      camera.ring.forEach((corner, k) => {
        line(list, camera.tip, corner, colour, dense);
        line(list, corner, camera.ring[(k + 1) % 4], colour, (k === 0 ? 3 : 1) * dense); // the picture's upper edge is thick
      });
    });
    const mesh = scene.heads[head];
    if (mesh) {
      triangles(list, mesh);
      mesh.keypoints.map(project).forEach((p) => list.push([p[2] - 8, () => {
        pen.fillStyle = "#78ff78"; pen.fillRect(p[0] - dense, p[1] - dense, 2 * dense, 2 * dense);
      }]));
    }
    scene.path.slice(1).forEach((p, i) => line(list, scene.path[i], p, scene.colours.path, dense));
    scene.axes.forEach((end, i) => line(list, scene.origin, end, scene.colours.axes[i], 2 * dense));
    list.sort((a, b) => b[0] - a[0]).forEach((one) => one[1]());
    pen.font = `${12 * dense}px sans-serif`;
    scene.cameras.forEach((camera, i) => {
      if (!names && i !== near) return;
      const p = project(camera.tip);
      pen.fillStyle = i === near ? "#fff" : scene.colours[camera.kind]; pen.fillText(camera.name, p[0] + 6 * dense, p[1] - 6 * dense);
    });
    canvas.dataset.drawn = list.length;
  }

  function redraw() { if (!asked) { asked = true; requestAnimationFrame(draw); } }

  function point(event) {
    const box = canvas.getBoundingClientRect(), dense = canvas.width / box.width;
    const x = (event.clientX - box.left) * dense, y = (event.clientY - box.top) * dense;
    let best = 14 * dense, found = -1;
    scene.cameras.forEach((camera, i) => {
      const p = project(camera.tip), away = Math.hypot(p[0] - x, p[1] - y);
      if (away < best) { best = away; found = i; }
    });
    if (found !== near) { near = found; redraw(); }
  }

  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return point(event);
    const dense = window.devicePixelRatio || 1;
    if (event.shiftKey || event.buttons & 2) { view.x += event.movementX * dense; view.y += event.movementY * dense; }
    else { view.yaw -= event.movementX * 0.008; view.pitch = Math.max(-1.57, Math.min(1.57, view.pitch + event.movementY * 0.008)); }
    redraw();
  });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); view.zoom *= Math.exp(-event.deltaY * 0.001); redraw(); }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => { view = { ...start }; redraw(); });
  window.addEventListener("resize", redraw);

  const bar = document.getElementById("buttons");
  function button(words, act, on) {
    const made = document.createElement("button");
    made.textContent = words; made.className = on ? "on" : ""; made.onclick = () => { act(made); redraw(); };
    bar.appendChild(made);
    return made;
  }
  const choices = scene.heads.map((one, i) => button(`frame ${one.frame} (${one.segment})`, () => {
    head = i; choices.forEach((other, k) => (other.className = k === i ? "on" : ""));
  }, i === 0));
  button("names", (made) => { names = !names; made.className = names ? "on" : ""; });
  button("closer", () => { view.zoom *= 1.5; });
  button("further", () => { view.zoom /= 1.5; });
  button("as at first", () => { view = { ...start }; });
  draw();
})();
