// The page: shows what the dashboard's process sends, and asks for what is pressed. Only who came with a token may ask.

import { above, curve, picture, strip } from "./draw.js";
import { Hands } from "./hands.js";

const by = (id) => document.getElementById(id);
const AGAIN_MS = 1000, HERE_MS = 100, SILENT_MS = 1000;
const KMH = 3.6;
const COUNTED = { action: "actions", policyinfo: "hellos answered" };

const token = remembered();
let socket = null, known = false;
let scene = null, now = null, shown = 0; // shown: at_s of the newest cycle that is on the screen
let rows = [], track = [], curves = null;
let heardAt = 0, drawing = false;

// The token stands behind the #, which no server is sent; it leaves the address bar, and stays for a reload.
function remembered() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return given ?? sessionStorage.getItem("token");
}

// -- the line

function connect() {
  socket = new WebSocket(`ws://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    notice("");
    if (token) ask({ type: "token", token });
  };
  socket.onmessage = ({ data }) => (typeof data === "string" ? hear(JSON.parse(data)) : see(new Uint8Array(data)));
  socket.onclose = () => {
    known = false;
    hands.letGo();
    document.body.dataset.line = "lost";
    badge(now?.over ? "over" : "no connection", "");
    if (!now?.over) notice("The line to the car is lost: nothing here is true any more, and nothing can be pressed.");
    setTimeout(connect, AGAIN_MS);
  };
}

function ask(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function hear(message) {
  heardAt = performance.now();
  document.body.dataset.line = "open";
  if (message.type === "scene") begin(message);
  else if (message.type === "now") take(message);
  else if (message.type === "curves") curves = message;
  else if (message.type === "known") known = true;
  else if (message.type === "refused") notice(message.why);
  draw();
}

function see(bytes) {
  const canvas = bytes[0] ? by("rebuilt") : by("camera");
  if (bytes[0]) by("inner").hidden = false;
  picture(canvas, bytes.subarray(1));
}

// -- what is shown

function begin(message) {
  scene = message;
  [rows, track] = [message.past, message.track];
  by("title").textContent = scene.title;
  const drives = scene.kind === "drive" || scene.kind === "teach";
  for (const id of ["sight", "strips"]) by(id).hidden = !drives;
  if (scene.kind === "run") badge("watching", "standing");
}

function take(message) {
  now = message;
  if (now.t_s === undefined) return;
  const last = rows[rows.length - 1];
  if (!last || last[0] !== now.t_s) rows.push([now.t_s, now.steering, now.speed, now.speed_mps]);
  if (rows.length > 1200) rows = rows.slice(-600);
  if (now.pose && far(now.pose, track[track.length - 1])) track.push(now.pose.slice(0, 2));
}

const far = ([x, y], place) => !place || Math.hypot(x - place[0], y - place[1]) >= 0.25;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (scene) paint();
    shown = now?.at_s ?? 0;
  });
}

function paint() {
  buttons();
  figures();
  if (now?.t_s !== undefined) drive();
  by("learning").hidden = !curves;
  if (curves) {
    curve(by("curve"), curves);
    by("learned").textContent = curves.summary ?? "";
  }
}

function drive() {
  if (now.over) badge("over", "");
  else badge((now.task && now.state !== "standing" ? `${now.task}: ` : "") + now.state.replace("_", " "), now.state);
  by("phase").textContent = now.state;
  if (now.fault && now.state !== "driving") notice(now.fault);
  else if (known || !token) notice("");
  const top = Math.max(scene.top_speed_mps * KMH, 1);
  const ends = [[1, "left"], [0, "0"], [-1, "right"]];
  strip(by("steering"), rows, [{ of: (row) => row[1], ink: "violet" }], -1, 1, ends);
  const asked = { of: (row) => ((row[2] + 1) / 2) * top, ink: "faint", dash: [4, 3] };
  const speeds = [asked, { of: (row) => row[3] * KMH, ink: "green" }];
  strip(by("speed"), rows, speeds, 0, top, [[0, "0"], [top, top.toFixed(0)]]);
  by("map").hidden = !now.pose;
  if (now.pose) above(by("above"), scene.lane, track, now.pose);
  by("metres").textContent = now.distance_m === null ? "" : `${now.distance_m.toFixed(1)} m along the lane`;
}

function badge(words, state) {
  by("state").textContent = words;
  by("state").dataset.state = state;
}

function notice(words) {
  by("notice").hidden = !words;
  by("notice").textContent = words;
}

function buttons() {
  const pressable = known && !now?.over;
  document.body.classList.toggle("press", pressable && (scene.hands || scene.orders));
  by("estop").hidden = !pressable || !(scene.hands || scene.orders);
  by("estop").textContent = scene.orders ? "TAKE OVER" : "E-STOP";
  by("wheel").hidden = !scene.hands || !known;
  by("teach").hidden = !scene.orders || !known;
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === now?.mode));
  }
  by("stick").hidden = !now || now.mode === "local";
  const enabled = pressable && scene.hands && now?.mode !== "local";
  if (hands.enabled && !enabled) hands.letGo();
  hands.enabled = Boolean(enabled);
}

const ms = (pair) => (pair ? `${pair[0].toFixed(1)} / ${pair[1].toFixed(1)} ms` : "–");

function figures() {
  const lines = !now ? [] : now.counts ? served() : driven();
  by("figures").hidden = !lines.length;
  by("numbers").replaceChildren(...lines.flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
}

function driven() {
  if (now.t_s === undefined) return [];
  const seen = (novelty) => novelty.toFixed(2) + (novelty > 1.5 ? ", never seen" : "");
  return [
    ["time", `${now.t_s.toFixed(1)} s`],
    ["speed", `${(now.speed_mps * KMH).toFixed(1)} km/h`],
    ...(now.round_trip_ms ? [["round trip p50 / p99", ms(now.round_trip_ms)], ["inference p50 / p99", ms(now.inference_ms)]] : []),
    ["deadlines missed", `${now.missed} of ${now.cycles}`],
    ...(now.novelty === null ? [] : [["novelty (1 = unusual)", seen(now.novelty)]]),
    ...(now.value === null ? [] : [["value, metres to come", now.value.toFixed(2)]]),
  ];
}

function served() {
  badge("serving", "driving");
  const total = Object.entries(now.counts).map(([name, count]) => [COUNTED[name] ?? name, count.toLocaleString("en")]);
  const reloads = Object.entries(now.reloads).map(([name, count]) => [`policies ${name}`, String(count)]);
  return [["policy", now.policy_id], ["run", now.run], ["inference p50 / p99", ms(now.inference_ms)], ...total, ...reloads];
}

function made(kind, words) {
  const element = document.createElement(kind);
  element.textContent = words;
  return element;
}

// -- what is pressed

const press = (what) => ask({ type: "press", ask: what, seen_s: shown });
const give = (order) => ask({ type: "give", order, seen_s: shown });
const emergency = () => (scene?.orders ? give("takeover") : press("e_stop"));
const hands = new Hands(
  by("pad"),
  by("knob"),
  () => now?.state !== "e_stop" && press("start"),
  (held) => ask(held ? { type: "hold", ...held, seen_s: shown } : { type: "letgo" }),
);

by("estop").addEventListener("pointerdown", emergency);
by("estop").addEventListener("click", emergency); // by keyboard, too
for (const button of document.querySelectorAll("[data-ask]")) button.onclick = () => press(button.dataset.ask);
for (const button of document.querySelectorAll("[data-order]")) button.onclick = () => give(button.dataset.order);
for (const button of document.querySelectorAll("[data-mode]")) {
  button.onclick = () => ask({ type: "choose", mode: button.dataset.mode, seen_s: shown });
}
addEventListener("keydown", (event) => {
  if (event.key !== " " || event.repeat || by("estop").hidden) return;
  event.preventDefault();
  emergency();
});

// Who does not look does not drive, and does not watch a car that learns.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return;
  hands.letGo();
  ask({ type: "letgo" });
});
addEventListener("pagehide", () => socket?.close());
setInterval(() => {
  if (scene?.orders && known && !document.hidden) ask({ type: "here", seen_s: shown });
}, HERE_MS);
setInterval(() => {
  const silent = performance.now() - heardAt;
  if (scene && now?.t_s !== undefined && !now.over && silent > SILENT_MS) badge(`no news for ${(silent / 1000).toFixed(0)} s`, "");
}, SILENT_MS / 2);

connect();
