/** A film of a QR code, for a browser's fake camera. */

import encodeQR from "qr";

const WIDTH = 640;
const HEIGHT = 480;
const FRAMES = 5;

/** YUV4MPEG2, grey: the code in the middle of a light wall. */
export function film(text: string): Buffer {
  const modules = encodeQR(text, "raw", { border: 4 });
  const scale = Math.floor(Math.min(WIDTH, HEIGHT) / modules.length / 1.5);
  const left = Math.floor((WIDTH - modules.length * scale) / 2);
  const top = Math.floor((HEIGHT - modules.length * scale) / 2);
  const luma = Buffer.alloc(WIDTH * HEIGHT, 200);
  modules.forEach((row, y) => {
    row.forEach((dark, x) => {
      for (let line = 0; line < scale; line++) {
        const start = (top + y * scale + line) * WIDTH + left + x * scale;
        luma.fill(dark ? 20 : 235, start, start + scale);
      }
    });
  });
  const chroma = Buffer.alloc((WIDTH * HEIGHT) / 2, 128);
  const frame = Buffer.concat([Buffer.from("FRAME\n"), luma, chroma]);
  const header = Buffer.from(`YUV4MPEG2 W${WIDTH} H${HEIGHT} F5:1 Ip A1:1 C420mpeg2\n`);
  return Buffer.concat([header, ...Array.from({ length: FRAMES }, () => frame)]);
}
