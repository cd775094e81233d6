// A line chart of intensities over frames, and other shapes as SVG.

const SVG = "http://www.w3.org/2000/svg";

function node(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function shape(name, attributes, back) {
  return node(name, { ...attributes, class: back ? "back" : "front" });
}

function centred([x0, y0, x1, y1]) {
  return { x1: x0 + 0.5, y1: y0 + 0.5, x2: x1 + 0.5, y2: y1 + 0.5 };
}

function describe(series, x, y) {
  const of = series.map(({ label, values }) =>
    `${label} from ${readable(Math.min(...values))} to ${readable(Math.max(...values))}`);
  return `intensity over the frames at column ${x}, row ${y}: ${of.join("; ")}`;
}

// Films have the colours of the page's other plots; truth has none.
function hue(series, index) {
  if (series[index].kind === "truth") return "truth-line";
  return `s${series.slice(0, index).filter(({ kind }) => kind !== "truth").length % 6}`;
}

function legend(series) {
  return series.map(({ label }, index) => {
    const entry = document.createElement("span");
    entry.className = `series ${hue(series, index)}`;
    entry.textContent = label;
    return entry;
  });
}

// The chart's own units.
const BOX = { left: 56, right: 8, top: 8, bottom: 40, width: 480, height: 220 };

function chartX(index, count) {
  const inner = BOX.width - BOX.left - BOX.right;
  return BOX.left + (count > 1 ? (index / (count - 1)) * inner : inner / 2);
}

function lineChart(series, number, count) {
  const svg = node("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img" });
  const bottom = BOX.height - BOX.bottom;
  const all = series.flatMap(({ values }) => values);
  const ticks = niceTicks(Math.min(...all), Math.max(...all), 4);
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - BOX.top);
  const digits = Math.max(0, -Math.floor(Math.log10(ticks[1] - ticks[0]) + 1e-9));
  for (const tick of ticks) {
    svg.append(node("line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: y(tick), y2: y(tick), class: "grid" }));
    svg.append(node("text", { x: BOX.left - 6, y: y(tick) + 4, class: "end" }, tick.toFixed(digits)));
  }
  const step = Math.max(1, Math.ceil((count - 1) / 7));
  for (let index = 0; index < count; index += step) {
    svg.append(node("text", { x: chartX(index, count), y: bottom + 16, class: "middle" }, number(index)));
  }
  svg.append(node("text", { x: chartX((count - 1) / 2, count), y: BOX.height - 6, class: "middle" }, "frame"));
  svg.append(node("line", { y1: BOX.top, y2: bottom, class: "now" }));
  series.forEach(({ values }, index) => {
    const points = values.map((value, i) => `${chartX(i, count)},${y(value)}`).join(" ");
    svg.append(node("polyline", { points, class: `series ${hue(series, index)}` }));
  });
  return svg;
}

// Round numbers from below the least to above the greatest.
function niceTicks(low, high, count) {
  const span = Math.max(high - low, 1e-3);
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}
