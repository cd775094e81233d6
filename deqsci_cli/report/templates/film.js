// A film of the page: its intensities, as its pictures hold them, and how they are shown.

const SHADES = Object.fromEntries(Object.entries(COLOURS).map(([name, hex]) => {
  const bytes = Uint8Array.from(hex.match(/../g), (two) => parseInt(two, 16));
  return [name, Array.from({ length: 256 }, (_, i) => bytes.subarray(3 * i, 3 * i + 3))];
}));

class Film {
  constructor(element) {
    this.element = element;
    this.kind = element.dataset.kind;
    this.label = element.dataset.label;
    [this.low, this.high] = element.dataset.range.split(" ").map(Number);
    this.images = [...element.querySelectorAll("img")];
    this.codes = new Map();
    this.canvas = element.querySelector("canvas");
    this.width = this.canvas.width = this.images[0].naturalWidth;
    this.height = this.canvas.height = this.images[0].naturalHeight;
    element.classList.add("drawn");
  }

  get length() {
    return this.images.length;
  }

  // The grey levels of a frame; each picture is decoded once.
  grey(frame) {
    if (!this.codes.has(frame)) {
      const canvas = document.createElement("canvas");
      canvas.width = this.width;
      canvas.height = this.height;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(this.images[frame], 0, 0);
      const pixels = context.getImageData(0, 0, this.width, this.height).data;
      this.codes.set(frame, Uint8Array.from({ length: pixels.length / 4 }, (_, i) => pixels[4 * i]));
    }
    return this.codes.get(frame);
  }

  intensity(code) {
    return this.low + (code * (this.high - this.low)) / 255;
  }

  // The intensity at a place in pixels of the picture, between pixels by the four around it.
  at(frame, x, y) {
    const grey = this.grey(frame);
    const [px, py] = [clamp(x, 0, this.width - 1), clamp(y, 0, this.height - 1)];
    const [left, top] = [Math.floor(px), Math.floor(py)];
    const [right, bottom] = [Math.min(left + 1, this.width - 1), Math.min(top + 1, this.height - 1)];
    const [u, v] = [px - left, py - top];
    const row = (r) => (1 - u) * grey[r * this.width + left] + u * grey[r * this.width + right];
    return this.intensity((1 - v) * row(top) + v * row(bottom));
  }

  // A colour for each grey level, as the 32 bits of a canvas.
  table(look) {
    const shades = SHADES[this.kind === "error" ? "inferno" : look.colours];
    const [black, white] = this.kind === "film" || this.kind === "truth"
      ? [look.black, look.white] : [this.low, this.high];
    return Uint32Array.from({ length: 256 }, (_, code) => {
      const [r, g, b] = shades[shade(this.intensity(code), black, white)];
      return (255 << 24) | (b << 16) | (g << 8) | r;
    });
  }

  picture(frame, look) {
    const table = this.table(look);
    const image = new ImageData(this.width, this.height);
    const words = new Uint32Array(image.data.buffer);
    this.grey(frame).forEach((code, i) => { words[i] = table[code]; });
    return image;
  }

  draw(frame, look) {
    // Truth may be shorter than the film.
    const shown = Math.min(frame, this.length - 1);
    this.element.style.opacity = frame < this.length || this.length === 1 ? 1 : 0.25;
    this.canvas.getContext("2d").putImageData(this.picture(shown, look), 0, 0);
  }
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

function shade(intensity, black, white) {
  return Math.round(255 * clamp((intensity - black) / Math.max(white - black, 1e-9), 0, 1));
}
