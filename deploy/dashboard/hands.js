// A person's hands on wheel and throttle: a pad to hold, or the arrow keys. Whoever lets go says so at once, and while
// held it is said again and again, so that a page which freezes is a page that has let go.

const EVERY_MS = 20;
const KEYS = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [1, 0], ArrowRight: [-1, 0] };
const KEY_STEERING = 0.6, KEY_SPEED = 0.5; // of what the car can do

export class Hands {
  // said: told {steering, speed} in [-1, 1] while held, and null when let go; grabbed: told when it begins.
  constructor(pad, knob, grabbed, said) {
    [this.pad, this.knob, this.grabbed, this.said] = [pad, knob, grabbed, said];
    this.enabled = false;
    this.keys = new Set();
    this.place = null; // of the finger, left and up in [-1, 1]
    this.timer = null;
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      this.move(event);
    });
    pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && this.move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(end, () => this.lift());
    addEventListener("keydown", (event) => this.key(event, true));
    addEventListener("keyup", (event) => this.key(event, false));
    addEventListener("blur", () => this.letGo());
  }

  move(event) {
    const box = this.pad.getBoundingClientRect();
    const part = (value) => Math.min(Math.max(value, -1), 1);
    const left = part((box.left + box.width / 2 - event.clientX) / (box.width / 2));
    const up = part((box.top + box.height / 2 - event.clientY) / (box.height / 2));
    this.place = [left, up];
    this.update();
  }

  lift() {
    this.place = null;
    this.update();
  }

  key(event, down) {
    if (!(event.key in KEYS) || !this.enabled) return;
    event.preventDefault(); // no scrolling
    if (down) this.keys.add(event.key);
    else this.keys.delete(event.key);
    this.update();
  }

  letGo() {
    this.keys.clear();
    this.lift();
  }

  // Left and up in [-1, 1]; null while nobody holds anything.
  held() {
    if (!this.enabled) return null;
    if (this.place) return this.place;
    if (!this.keys.size) return null;
    const [left, up] = [0, 1].map((i) => [...this.keys].reduce((sum, key) => sum + KEYS[key][i], 0));
    return [left * KEY_STEERING, up * KEY_SPEED];
  }

  update() {
    const held = this.held();
    this.pad.classList.toggle("held", held !== null);
    this.knob.style.transform = held ? `translate(${-held[0] * 3.2}rem, ${-held[1] * 3.2}rem)` : "";
    if (held && this.timer === null) {
      this.timer = setInterval(() => this.say(), EVERY_MS);
      this.say();
      this.grabbed();
    } else if (!held && this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
      this.said(null);
    }
  }

  say() {
    const [left, up] = this.held() ?? [0, 0];
    this.said({ steering: left, speed: Math.max(up, 0) * 2 - 1 }); // down is standing still, too
  }
}
