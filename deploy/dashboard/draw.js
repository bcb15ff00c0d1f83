// Strips, map and curves, each on a canvas of its own. All lengths are in CSS pixels.

const RECENT_S = 20; // that a strip shows

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// The canvas's context, sharp on any screen and empty.
function blank(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "12px system-ui, sans-serif";
  return { pen, width, height };
}

function path(pen, points, stroke, width = 2, dash = []) {
  pen.beginPath();
  pen.setLineDash(dash);
  pen.strokeStyle = stroke;
  pen.lineWidth = width;
  pen.lineJoin = "round";
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.stroke();
  pen.setLineDash([]);
}

function text(pen, words, x, y, align = "left") {
  pen.fillStyle = colour("faint");
  pen.textAlign = align;
  pen.fillText(words, x, y);
}

// The last seconds of some lines. lines: [{of: row => value, ink, dash}], low and high: the ends of the scale.
export function strip(canvas, rows, lines, low, high, marks) {
  const { pen, width, height } = blank(canvas);
  const left = 34, bottom = height - 16;
  const y = (value) => 6 + (bottom - 6) * (1 - (Math.min(Math.max(value, low), high) - low) / (high - low));
  for (const [value, name] of marks) {
    path(pen, [[left, y(value)], [width, y(value)]], colour("line"), 1);
    text(pen, name, left - 6, y(value) + 4, "right");
  }
  if (!rows.length) return;
  const newest = rows[rows.length - 1][0];
  const x = (t) => width - 2 - ((newest - t) / RECENT_S) * (width - left - 2);
  const shown = rows.filter(([t]) => newest - t <= RECENT_S);
  for (const line of lines) path(pen, shown.map((row) => [x(row[0]), y(line.of(row))]), colour(line.ink), 2, line.dash);
  text(pen, `${RECENT_S} s`, left, height - 2);
  text(pen, "now", width - 2, height - 2, "right");
}

// The lane's lines, where the car was and where it is; x is ahead at the start of the road, y to its left.
export function above(canvas, lane, track, pose) {
  const { pen, width, height } = blank(canvas);
  const places = [...lane.flat(), ...track];
  if (!places.length) return;
  const [xs, ys] = [places.map((p) => p[0]), places.map((p) => p[1])];
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.min((width - 24) / Math.max(x1 - x0, 10), (height - 24) / Math.max(y1 - y0, 10));
  const at = ([x, y]) => [width / 2 + (x - (x0 + x1) / 2) * scale, height / 2 - (y - (y0 + y1) / 2) * scale];
  for (const line of lane) path(pen, line.map(at), colour("faint"), 0.7);
  path(pen, track.map(at), colour("green"), 2.5);
  if (pose) car(pen, at(pose), pose[2]);
}

function car(pen, [x, y], yaw) {
  pen.save();
  pen.translate(x, y);
  pen.rotate(-yaw);
  pen.beginPath();
  for (const [forward, left] of [[10, 0], [-6, 6], [-3, 0], [-6, -6]]) pen.lineTo(forward, left);
  pen.closePath();
  pen.fillStyle = colour("violet");
  pen.fill();
  pen.restore();
}

// Learning curves: points [x, y] of training and of tests, and a dashed line for the whole route.
export function curve(canvas, { train = [], test = [], goal = null, x_name = "", y_name = "" }) {
  const { pen, width, height } = blank(canvas);
  const all = [...train, ...test];
  if (!all.length) return;
  const most = Math.max(...all.map((p) => p[0]), 1);
  const [low, high] = [Math.min(0, ...all.map((p) => p[1])), Math.max(goal ?? 0, ...all.map((p) => p[1]), 1)];
  const left = 44, bottom = height - 32;
  const x = (value) => left + (value / most) * (width - left - 10);
  const y = (value) => 26 + (bottom - 26) * (1 - (value - low) / (high - low));
  for (const value of [low, (low + high) / 2, high]) {
    path(pen, [[left, y(value)], [width - 10, y(value)]], colour("line"), 1);
    text(pen, Math.abs(value) < 10 ? value.toFixed(1) : value.toFixed(0), left - 6, y(value) + 4, "right");
  }
  if (goal) path(pen, [[left, y(goal)], [width - 10, y(goal)]], colour("amber"), 1.5, [6, 4]);
  for (const [points, ink] of [[train, "faint"], [test, "green"]]) {
    path(pen, points.map(([a, b]) => [x(a), y(b)]), colour(ink), ink === "green" ? 2.5 : 1.2);
    pen.fillStyle = colour(ink);
    for (const [a, b] of points.slice(-200)) pen.fillRect(x(a) - 2, y(b) - 2, 4, 4);
  }
  text(pen, "0", left, height - 16, "center");
  text(pen, most.toLocaleString("en"), width - 10, height - 16, "right");
  text(pen, x_name, (left + width) / 2, height - 2, "center");
  text(pen, y_name, left, 12);
}

// A JPEG onto a canvas of its own size.
export async function picture(canvas, jpeg) {
  const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}
