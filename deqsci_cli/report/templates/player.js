// One scene of the page: its films in step, and the controls of these.

class Player {
  constructor(section) {
    this.section = section;
    const data = section.dataset;
    this.title = data.title;
    this.frames = Number(data.frames);
    this.step = Number(data.step);
    this.resolution = Number(data.resolution);
    [this.width, this.height] = data.size.split(" ").map(Number);
    const [black, white] = data.window.split(" ").map(Number);
    this.stretched = { black, white };
    this.held = data.range.split(" ").map(Number);
    this.look = { colours: "grey", black, white };
    this.films = [...section.querySelectorAll(".stack[data-kind]")].map((e) => new Film(e));
    this.compared = this.films.filter((film) => film.kind === "film" || film.kind === "truth");
    this.readings = [...section.querySelectorAll(".psnr")];
    this.button = section.querySelector(".play");
    this.slider = section.querySelector(".frame");
    this.output = section.querySelector(".controls output");
    this.visible = false;
    this.controls();
    this.contrast();
    this.tools = new Tools(this);
    this.wipe();
    this.strip();
    this.frame = 0;
    this.setContrast(black, white);
    this.show(0);
    this.play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  find(selector) {
    return this.section.querySelector(selector);
  }

  // The number of a frame in the film; of a long one some are left out here.
  number(frame) {
    return 1 + frame * this.step;
  }

  controls() {
    this.button.addEventListener("click", () => this.play(!this.playing));
    this.find(".back").addEventListener("click", () => this.go(this.frame - 1));
    this.find(".next").addEventListener("click", () => this.go(this.frame + 1));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
  }

  contrast() {
    this.black = this.find(".black");
    this.white = this.find(".white");
    const least = () => (this.held[1] - this.held[0]) / 255;
    this.black.addEventListener("input", () => {
      const black = Number(this.black.value);
      this.setContrast(black, Math.max(this.look.white, black + least()));
    });
    this.white.addEventListener("input", () => {
      const white = Number(this.white.value);
      this.setContrast(Math.min(this.look.black, white - least()), white);
    });
    this.find(".stretch").addEventListener("click", () => {
      this.setContrast(this.stretched.black, this.stretched.white);
    });
    this.find(".full").addEventListener("click", () => this.setContrast(0, 1));
  }

  setContrast(black, white) {
    Object.assign(this.look, { black, white });
    for (const slider of [this.black, this.white]) {
      slider.min = Math.min(this.held[0], black);
      slider.max = Math.max(this.held[1], white);
      slider.step = (slider.max - slider.min) / 200;
    }
    this.black.value = black;
    this.white.value = white;
    this.find(".levels").textContent = `${readable(black)} … ${readable(white)}`;
    const is = (a, b) => Math.abs(a - b) < 1e-9;
    const own = is(black, this.stretched.black) && is(white, this.stretched.white);
    this.find(".stretch").setAttribute("aria-pressed", own);
    this.find(".full").setAttribute("aria-pressed", is(black, 0) && is(white, 1));
    this.repaint();
  }

  setColours(name) {
    this.look.colours = this.find(".colours").value = name;
    this.repaint();
  }

  repaint() {
    this.show(this.frame);
    this.thumbnails?.forEach((draw) => draw());
    this.tools.repaint();
  }

  // Two of the films in one picture, one to the left of the divider and one to the right.
  wipe() {
    this.wiped = this.find(".wipe");
    if (!this.wiped) return;
    const [first, second] = ["first", "second"].map((name) => this.find(`.wipe-${name}`));
    const films = this.compared.filter(({ kind }) => kind === "film");
    const pair = films.length > 1 ? films : this.compared;
    first.value = this.compared.indexOf(pair[0]);
    second.value = this.compared.indexOf(pair[1]);
    const canvas = this.wiped.querySelector("canvas");
    canvas.width = this.compared[0].width;
    canvas.height = this.compared[0].height;
    const divider = this.find(".divider");
    const on = this.find(".wipe-on");
    this.drawWipe = () => {
      if (!on.checked) return;
      const films = [first, second].map((choice) => this.compared[choice.value]);
      const context = canvas.getContext("2d");
      const split = Math.round((divider.value / 100) * canvas.width);
      films.forEach((film, side) => {
        const frame = Math.min(this.frame, film.length - 1);
        const from = side ? split : 0;
        const width = side ? canvas.width - split : split;
        if (width) context.putImageData(film.picture(frame, this.look), 0, 0, from, 0, width, canvas.height);
      });
      this.wiped.querySelector(".edge").style.left = `${divider.value}%`;
      this.wiped.querySelector("figcaption").textContent =
        `${films[0].label} to the left, ${films[1].label} to the right`;
      this.wiped.querySelector(".stack").setAttribute("aria-label",
        `wipe between ${films[0].label} and ${films[1].label}`);
    };
    on.addEventListener("change", () => {
      this.section.classList.toggle("wiping", on.checked);
      this.drawWipe();
    });
    for (const control of [first, second, divider]) control.addEventListener("input", this.drawWipe);
  }

  strip() {
    const film = this.compared.find(({ kind }) => kind === "film");
    this.marks = [...this.section.querySelectorAll(".strip button")];
    this.thumbnails = this.marks.map((button) => {
      const frame = Number(button.dataset.frame);
      const canvas = button.querySelector("canvas");
      canvas.width = film.width;
      canvas.height = film.height;
      button.addEventListener("click", () => this.go(frame));
      return () => canvas.getContext("2d").putImageData(film.picture(frame, this.look), 0, 0);
    });
  }

  show(frame) {
    this.frame = (frame + this.frames) % this.frames;
    for (const film of this.films) film.draw(this.frame, this.look);
    this.drawWipe?.();
    for (const reading of this.readings) {
      const value = reading.dataset.psnr.split(" ")[this.frame];
      reading.textContent = isFinite(value) ? `this frame ${Number(value).toFixed(1)} dB` : "";
    }
    for (const button of this.marks) {
      const next = this.marks[this.marks.indexOf(button) + 1];
      const mine = this.frame >= Number(button.dataset.frame)
        && (!next || this.frame < Number(next.dataset.frame));
      button.toggleAttribute("aria-current", mine);
    }
    this.slider.value = this.frame;
    const last = this.number(this.frames - 1);
    this.output.textContent = `${this.number(this.frame)} / ${last}`;
    this.tools.follow(this.frame);
  }

  // To a frame, and rest there.
  go(frame) {
    this.play(false);
    this.show(frame);
  }

  // The next frame of a film that plays.
  advance(loops) {
    if (!loops && this.frame === this.frames - 1) this.play(false);
    else this.show(this.frame + 1);
  }

  play(playing) {
    this.playing = playing && this.frames > 1;
    this.button.setAttribute("aria-label", this.playing ? "pause" : "play");
  }
}
