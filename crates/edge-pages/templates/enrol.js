// Draws the link as a QR code, for a phone that is to be enrolled. Only here can it be drawn: its secret is in the
// fragment, which no server is sent. Always version 9, level L, mask 0 (ISO/IEC 18004): links have half of its 230 bytes.
"use strict";
const SIZE = 53;
const FORMAT = 0x77c4;
const VERSION = 0x09a99;

// powers of two in GF(256), and their logarithms
const power = [1];
for (let i = 1; i < 255; i++) power[i] = (power[i - 1] << 1) ^ (power[i - 1] > 127 ? 0x11d : 0);
const times = (a, b) => (a && b ? power[(power.indexOf(a) + power.indexOf(b)) % 255] : 0);

const divisor = Array(30).fill(0).concat(1).slice(1);
for (let i = 0; i < 30; i++) {
  divisor.forEach((one, at) => {
    divisor[at] = times(one, power[i]) ^ (divisor[at + 1] ?? 0);
  });
}

// Reed-Solomon: what is left of the block after division
const check = (block) =>
  block.reduce((left, byte) => {
    const factor = byte ^ left.shift();
    left.push(0);
    return left.map((one, at) => one ^ times(divisor[at], factor));
  }, Array(30).fill(0));

const codewords = (bytes) => {
  const halves = [4, bytes.length >> 4, bytes.length & 15, ...bytes.flatMap((b) => [b >> 4, b & 15]), 0];
  const data = Array.from({ length: halves.length / 2 }, (_, i) => (halves[2 * i] << 4) | halves[2 * i + 1]);
  for (let pad = 236; data.length < 232; pad ^= 253) data.push(pad);
  const blocks = [data.slice(0, 116), data.slice(116)];
  const mixed = ([a, b]) => a.flatMap((one, at) => [one, b[at]]);
  return [...mixed(blocks), ...mixed(blocks.map(check))];
};

const draw = (bytes) => {
  const grid = Array.from({ length: SIZE }, () => Array(SIZE));
  const set = (x, y, dark) => {
    if (grid[y]?.[x] === undefined && x >= 0 && x < SIZE && grid[y]) grid[y][x] = Boolean(dark);
  };
  const square = (x, y, radius, light) => {
    for (let dy = -radius; dy <= radius; dy++)
      for (let dx = -radius; dx <= radius; dx++) set(x + dx, y + dy, !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
  };
  for (const [x, y] of [[3, 3], [SIZE - 4, 3], [3, SIZE - 4]]) square(x, y, 4, [2, 4]);
  // not where the three large squares are
  for (const [x, y] of [[6, 26], [26, 6], [26, 26], [26, 46], [46, 26], [46, 46]]) square(x, y, 2, [1]);
  for (let i = 0; i < SIZE; i++) {
    set(i, 6, i % 2 === 0);
    set(6, i, i % 2 === 0);
  }
  for (let i = 0; i < 15; i++) {
    const dark = (FORMAT >> i) & 1;
    if (i < 8) set(SIZE - 1 - i, 8, dark);
    else set(8, SIZE - 15 + i, dark);
    if (i < 8) set(8, i < 6 ? i : i + 1, dark);
    else set(i < 9 ? 7 : 14 - i, 8, dark);
  }
  set(8, SIZE - 8, true);
  for (let i = 0; i < 18; i++) {
    const [a, b, dark] = [SIZE - 11 + (i % 3), Math.floor(i / 3), (VERSION >> i) & 1];
    set(a, b, dark);
    set(b, a, dark);
  }
  const words = codewords(bytes);
  let at = 0;
  for (let right = SIZE - 1; right > 0; right -= right === 8 ? 3 : 2)
    for (let row = 0; row < SIZE; row++)
      for (const x of [right, right - 1]) {
        const y = (right + (right > 6 ? 0 : 1)) % 4 === 0 ? SIZE - 1 - row : row;
        if (grid[y][x] !== undefined) continue;
        grid[y][x] = Boolean((words[at >> 3] >> (7 - (at & 7))) & 1) !== ((x + y) % 2 === 0);
        at++;
      }
  return grid;
};

const bytes = [...new TextEncoder().encode(location.href)];
if (location.hash.startsWith("#v1.") && bytes.length <= 230) {
  const path = draw(bytes).flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : "")));
  document.querySelector("#link .ink").setAttribute("d", path.join(""));
  document.querySelector("#link").hidden = false;
}
