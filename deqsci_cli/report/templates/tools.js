// What is measured in films: the intensity of a point over the frames, a line as a kymograph.

class Tools {
  constructor(player) {
    this.player = player;
    const section = player.section;
    this.fields = Object.fromEntries(
      [...section.querySelectorAll(".tools input")].map((field) => [field.name, field]));
    this.trace = section.querySelector(".trace");
    this.kymographs = section.querySelector(".kymographs");
    for (const [name, field] of Object.entries(this.fields)) {
      field.addEventListener("change", () => (name.startsWith("p") ? this.showPoint() : this.showLine()));
    }
    section.querySelector(".save-trace").addEventListener("click", () => {
      save(`${player.title}-trace.csv`, this.traceRows());
    });
    section.querySelector(".save-kymograph").addEventListener("click", () => {
      save(`${player.title}-kymograph.csv`, this.kymographRows());
    });
    for (const element of section.querySelectorAll(".large .stack")) this.listen(element);
  }

  // A click is a point; a drag is a line.
  listen(element) {
    const marks = document.createElementNS(SVG, "svg");
    marks.setAttribute("class", "marks");
    marks.setAttribute("aria-hidden", "true");
    marks.setAttribute("viewBox", `0 0 ${this.player.width} ${this.player.height}`);
    element.append(marks);
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      const from = this.place(element, event);
      let dragged = false;
      const move = (next) => {
        const to = this.place(element, next);
        dragged ||= Math.hypot(to[0] - from[0], to[1] - from[1]) >= 2;
        if (dragged) this.setLine(from, to);
      };
      const stop = new AbortController();
      const end = (last) => {
        stop.abort();
        if (!dragged && last.type === "pointerup") this.setPoint(from);
      };
      element.addEventListener("pointermove", move, stop);
      for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, end, stop);
    });
  }

  // The pixel of the film that the pointer is on.
  place(element, event) {
    const box = element.querySelector("canvas").getBoundingClientRect();
    const along = (at, start, length, pixels) =>
      clamp(Math.floor(((at - start) / length) * pixels), 0, pixels - 1);
    return [
      along(event.clientX, box.left, box.width, this.player.width),
      along(event.clientY, box.top, box.height, this.player.height),
    ];
  }

  setPoint([x, y]) {
    this.fields.px.value = x;
    this.fields.py.value = y;
    this.showPoint();
  }

  setLine([x0, y0], [x1, y1]) {
    Object.entries({ x0, y0, x1, y1 }).forEach(([name, at]) => { this.fields[name].value = at; });
    this.showLine();
  }

  // What the fields say, within the film; null while one of them is empty.
  read(...names) {
    if (names.some((name) => this.fields[name].value === "")) return null;
    return names.map((name) => {
      const field = this.fields[name];
      field.value = clamp(Math.round(Number(field.value)), 0, Number(field.max));
      return Number(field.value);
    });
  }

  get point() {
    return this.read("px", "py");
  }

  get line() {
    return this.read("x0", "y0", "x1", "y1");
  }

  // The intensity at a pixel of the film; its picture may be smaller.
  intensity(film, frame, x, y) {
    const scale = film.width / this.player.width;
    return film.at(frame, (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5);
  }

  mark() {
    const [point, line] = [this.point, this.line];
    for (const marks of this.player.section.querySelectorAll(".marks")) {
      marks.replaceChildren();
      for (const back of [true, false]) {
        if (line) marks.append(shape("line", centred(line), back));
        if (point) {
          const [x, y] = point.map((at) => at + 0.5);
          marks.append(shape("circle", { cx: x, cy: y, r: this.player.width / 60 }, back));
        }
      }
    }
  }

  showPoint() {
    this.mark();
    if (!this.point) return;
    const [x, y] = this.point;
    this.series = this.player.compared.map((film) => ({
      label: film.label,
      kind: film.kind,
      values: Array.from({ length: film.length }, (_, frame) => this.intensity(film, frame, x, y)),
    }));
    this.trace.hidden = false;
    this.trace.querySelector("figcaption span").textContent = `Intensity at column ${x}, row ${y}`;
    const count = this.player.frames;
    const chart = lineChart(this.series, (i) => this.player.number(i), count);
    chart.setAttribute("aria-label", describe(this.series, x, y));
    this.trace.querySelector(".chart").replaceChildren(chart);
    this.trace.querySelector(".legend").replaceChildren(
      ...(this.series.length > 1 ? legend(this.series) : []));
    this.follow(this.player.frame);
  }

  // The frame that is shown, marked in the chart.
  follow(frame) {
    const now = this.trace.querySelector(".now");
    if (!now) return;
    const x = chartX(frame, this.player.frames);
    now.setAttribute("x1", x);
    now.setAttribute("x2", x);
    this.trace.querySelector(".reading").textContent = this.series
      .filter(({ values }) => frame < values.length)
      .map(({ label, values }) => `${label} ${readable(values[frame])}`).join(", ");
  }

  // Steps of one pixel along the line.
  positions() {
    const [x0, y0, x1, y1] = this.line;
    const length = Math.hypot(x1 - x0, y1 - y0);
    return Array.from({ length: Math.floor(length) + 1 }, (_, at) => {
      const share = length ? at / length : 0;
      return { at, x: x0 + share * (x1 - x0), y: y0 + share * (y1 - y0) };
    });
  }

  showLine() {
    this.mark();
    if (!this.line) return;
    this.kymographs.hidden = false;
    const places = this.positions();
    this.kymographs.querySelector("figcaption span").textContent =
      `Kymograph: ${places.length} pixels along the line to the right, frames downwards`;
    this.kymographs.querySelector(".pictures").replaceChildren(
      ...this.player.compared.map((film) => this.kymograph(film, places)));
  }

  kymograph(film, places) {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.width = places.length;
    canvas.height = film.length;
    canvas.style.height = `${clamp(film.length * 8, 96, 400)}px`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label",
      `kymograph of ${film.label}: ${film.length} frames by ${places.length} pixels`);
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const { colours, black, white } = this.player.look;
    for (let frame = 0, to = 0; frame < film.length; frame++) {
      for (const { x, y } of places) {
        const colour = SHADES[colours][shade(this.intensity(film, frame, x, y), black, white)];
        image.data.set([...colour, 255], to);
        to += 4;
      }
    }
    context.putImageData(image, 0, 0);
    const caption = document.createElement("figcaption");
    caption.textContent = film.label;
    figure.append(canvas, caption);
    return figure;
  }

  // After a change of contrast or colours.
  repaint() {
    if (this.line) this.showLine();
  }

  traceRows() {
    const [x, y] = this.point;
    const films = this.player.compared;
    const exact = `±${readable(this.player.resolution)}`;
    const header = ["frame", "x", "y", ...films.map((film) => `${film.label} (intensity ${exact})`)];
    const rows = Array.from({ length: this.player.frames }, (_, frame) => [
      this.player.number(frame), x, y,
      ...films.map((film) => (frame < film.length ? cell(this.intensity(film, frame, x, y)) : "")),
    ]);
    return [header, ...rows];
  }

  kymographRows() {
    const exact = `±${readable(this.player.resolution)}`;
    const rows = [["film", "frame", "position (pixels)", "x", "y", `intensity ${exact}`]];
    for (const film of this.player.compared) {
      for (let frame = 0; frame < film.length; frame++) {
        for (const { at, x, y } of this.positions()) {
          const value = cell(this.intensity(film, frame, x, y));
          rows.push([film.label, this.player.number(frame), at, cell(x), cell(y), value]);
        }
      }
    }
    return rows;
  }
}

function cell(value) {
  return Number(value.toFixed(5));
}

function readable(value) {
  return Number(value.toPrecision(3)).toString();
}

function save(name, rows) {
  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = rows.map((row) => row.map((each) => quoted(String(each))).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
  link.download = name.replace(/[^\p{L}\p{N}._-]+/gu, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
