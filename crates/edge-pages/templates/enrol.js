// Draws the link as a QR code, for a phone that is to be enrolled. Only here can it be drawn: its secret is in the
// fragment, which no server is sent. Always version 9, level L, mask 0 (ISO/IEC 18004): links have half of its 230 bytes.
"use strict";
// a product in GF(256)
const times = (a, b) => b && ((b & 1) * a) ^ times((a << 1) ^ ((a >> 7) * 285), b >> 1);

// Reed-Solomon: what divides a block, and what is then left of it
let poly = [...Array(29).fill(0), 1];
for (let i = 30, root = 1; i--; root = times(root, 2))
  poly = poly.map((one, at) => times(one, root) ^ poly[at + 1]);
const check = (block) =>
  block.reduce((left, byte) => poly.map((one, at) => left[at + 1] ^ times(one, byte ^ left[0])), [0]);

// with room for light edges
const grid = Array.from({ length: 54 }, () => []);
grid[-1] = [];
const set = (x, y, dark) => void (grid[y][x] ??= dark & 1);
const both = (x, y, dark) => set(x, y, dark) ?? set(y, x, dark);

const bytes = new TextEncoder().encode(location.href);
if (location.hash.startsWith("#v1.") && bytes.length < 231) {
  const all = [4, bytes.length, ...bytes, 0];
  const data = all.slice(1).map((byte, at) => ((all[at] << 4) | (byte >> 4)) & 255);
  for (let pad = 236; data.length < 232; pad ^= 253) data.push(pad);
  const blocks = [data.slice(0, 116), data.slice(116)];
  const words = [blocks, blocks.map(check)].flatMap(([a, b]) => a.flatMap((one, at) => [one, b[at]]));

  // three large squares, and smaller ones where those aren't
  for (const [x, y, r = 2] of [[3, 3, 4], [49, 3, 4], [6, 26], [26, 26], [26, 46], [46, 46]])
    for (let i = -r; i <= r; i++)
      for (let j = -r; j <= r; j++) {
        const ring = Math.max(i, -i, j, -j);
        both(x + i, y + j, ring < 4 && ring !== r / 2);
      }
  for (let i = 0; i < 53; i++) both(i, 6, ~i);
  // level and mask, twice; then the version
  for (let i = 0; i < 15; i++) {
    const dark = 0x77c4 >> i;
    set(8, i < 8 ? i + (i > 5) : 38 + i, dark);
    set(i < 8 ? 52 - i : 14 - i + (i < 9), 8, dark);
  }
  set(8, 45, 1);
  for (let i = 0; i < 18; i++) both(42 + (i % 3), (i / 3) | 0, 0x9a99 >> i);

  for (let col = 52, at = 0; col > 0; col -= col === 8 ? 3 : 2)
    for (let i = 0; i < 106; i++) {
      const x = col - (i & 1);
      const y = (col + (col < 7)) % 4 ? i >> 1 : 52 - (i >> 1);
      grid[y][x] ??= ((words[at >> 3] >> (~at++ & 7)) ^ ~(x + y)) & 1;
    }
  const path = grid.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : "")));
  const link = document.querySelector("#link");
  link.querySelector(".ink").setAttribute("d", path.join(""));
  link.hidden = false;
}
