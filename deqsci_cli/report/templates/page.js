"use strict";

const FRAME_MS = 100;

class Player {
  constructor(section) {
    this.section = section;
    this.frames = Number(section.dataset.frames);
    this.stacks = [...section.querySelectorAll(".stack.moves")].map((s) => [...s.children]);
    this.readings = [...section.querySelectorAll(".psnr")];
    this.button = section.querySelector(".play");
    this.slider = section.querySelector("input");
    this.output = section.querySelector("output");
    this.visible = false;
    this.button.addEventListener("click", () => this.play(!this.playing));
    this.slider.addEventListener("input", () => {
      this.play(false);
      this.show(Number(this.slider.value));
    });
    this.show(0);
    this.play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  show(frame) {
    this.frame = (frame + this.frames) % this.frames;
    for (const pictures of this.stacks) {
      // Truth may be shorter than the film.
      pictures.forEach((picture, index) => {
        picture.hidden = index !== Math.min(this.frame, pictures.length - 1);
      });
      pictures[0].parentElement.style.opacity = this.frame < pictures.length ? 1 : 0.25;
    }
    for (const reading of this.readings) {
      const value = reading.dataset.psnr.split(" ")[this.frame];
      reading.textContent = isFinite(value) ? Number(value).toFixed(1) + " dB" : "";
    }
    this.slider.value = this.frame;
    this.output.textContent = `${this.frame + 1} / ${this.frames}`;
  }

  play(playing) {
    this.playing = playing && this.frames > 1;
    this.button.setAttribute("aria-label", this.playing ? "pause" : "play");
  }
}

const players = [...document.querySelectorAll(".player")].map((s) => new Player(s));
let current = players[0];

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    players.find((p) => p.section === entry.target).visible = entry.isIntersecting;
  }
});
for (const player of players) {
  seen.observe(player.section);
  for (const kind of ["pointerdown", "focusin"]) {
    player.section.addEventListener(kind, () => { current = player; });
  }
}

setInterval(() => {
  for (const player of players) {
    if (player.playing && player.visible) player.show(player.frame + 1);
  }
}, FRAME_MS);

const KEYS = {
  " ": (p) => p.play(!p.playing),
  ArrowLeft: (p) => { p.play(false); p.show(p.frame - 1); },
  ArrowRight: (p) => { p.play(false); p.show(p.frame + 1); },
  Home: (p) => { p.play(false); p.show(0); },
  End: (p) => { p.play(false); p.show(p.frames - 1); },
};
document.addEventListener("keydown", (event) => {
  // What has the focus keeps the keys that it understands by itself.
  const own = event.target.closest("button, a, summary, input");
  if (!current || !(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (own && (event.key === " " ? own.tagName !== "INPUT" : own.tagName === "INPUT")) return;
  event.preventDefault();
  KEYS[event.key](current);
});

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement;
    const row = header.parentElement;
    const body = row.closest("table").tBodies[0];
    const column = [...row.children].indexOf(header);
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of row.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (line) => line.children[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // nothing comes last
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
