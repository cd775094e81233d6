// All players, their common speed and colours, the keys, and the table.

let players = [];
let current = null;
let loops = true;
let timer = 0;

function setSpeed(fps) {
  clearInterval(timer);
  timer = setInterval(() => {
    for (const player of players) if (player.playing && player.visible) player.advance(loops);
  }, 1000 / fps);
  for (const select of document.querySelectorAll(".speed")) select.value = fps;
}

function setLoop(on) {
  loops = on;
  for (const box of document.querySelectorAll(".loop")) box.checked = on;
}

function start() {
  players = [...document.querySelectorAll(".player")].map((s) => new Player(s));
  current = players[0];
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
    player.find(".speed").addEventListener("change", (e) => setSpeed(Number(e.target.value)));
    player.find(".loop").addEventListener("change", (e) => setLoop(e.target.checked));
    player.find(".colours").addEventListener("change", (e) => {
      for (const each of players) each.setColours(e.target.value);
    });
  }
  setSpeed(10);
  document.documentElement.classList.add("ready");
}

// The pictures must have come before their intensities can be read.
if (document.readyState === "complete") start();
else addEventListener("load", start);

const KEYS = {
  " ": (p) => p.play(!p.playing),
  ArrowLeft: (p) => p.go(p.frame - 1),
  ArrowRight: (p) => p.go(p.frame + 1),
  Home: (p) => p.go(0),
  End: (p) => p.go(p.frames - 1),
};
document.addEventListener("keydown", (event) => {
  // What has the focus keeps the keys that it understands by itself.
  const own = event.target.closest("button, a, summary, input, select");
  if (!current || !(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (own && (event.key === " " ? !own.matches("[type=range]") : own.matches("input, select"))) return;
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
