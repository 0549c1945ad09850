// Builds the page into ../dist, or into the folder that is named. The same sources give the same bytes.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "..", "dist"));
const sources = join(here, "src");

const cargo = await readFile(join(here, "../../../Cargo.toml"), "utf8");
const version = /^version = "([^"]+)"/m.exec(cargo)?.[1];
if (!version) {
  throw new Error("no version in Cargo.toml");
}
const shared = {
  bundle: true,
  minify: true,
  write: false,
  target: ["es2022"],
  absWorkingDir: here,
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
};

const page = await build({
  ...shared,
  entryPoints: { app: "src/main.tsx", style: "src/style.css" },
  outdir: "assets",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  format: "esm",
  splitting: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { VERSION: JSON.stringify(version), "process.env.NODE_ENV": '"production"' },
});

const files = new Map();
for (const { path, contents } of page.outputFiles) {
  files.set(`assets/${path.slice(path.lastIndexOf("/") + 1)}`, contents);
}
const named = (start, end) => {
  const found = [...files.keys()].find((name) => name.startsWith(`assets/${start}-`) && name.endsWith(end));
  if (!found) {
    throw new Error(`the build made no ${start}${end}`);
  }
  return `/${found}`;
};
const html = await readFile(join(sources, "index.html"), "utf8");
files.set(
  "index.html",
  Buffer.from(html.replace("/app.js", named("app", ".js")).replace("/style.css", named("style", ".css"))),
);
for (const name of ["icon.svg", "manifest.webmanifest"]) {
  files.set(name, await readFile(join(sources, name)));
}
files.set("licences.txt", Buffer.from(await licences()));

const assets = [...files.keys()]
  .filter((name) => name.startsWith("assets/") || name === "icon.svg")
  .map((name) => `/${name}`)
  .sort();
const hash = createHash("sha256");
for (const name of [...files.keys()].sort()) {
  hash.update(name).update(files.get(name));
}
const worker = await build({
  ...shared,
  entryPoints: ["src/worker/sw.ts"],
  outdir: "worker",
  format: "iife",
  define: { BUILD: JSON.stringify(hash.digest("hex").slice(0, 16)), ASSETS: JSON.stringify(assets) },
});
files.set("sw.js", worker.outputFiles[0].contents);

await rm(out, { recursive: true, force: true });
for (const [name, contents] of files) {
  await mkdir(dirname(join(out, name)), { recursive: true });
  await writeFile(join(out, name), contents);
}

/** The terms of what is built in. */
async function licences() {
  const manifest = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  const parts = ["Countersign's web authenticator: Apache-2.0. Built in:\n"];
  for (const name of Object.keys(manifest.dependencies).sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    let text = "";
    for (const file of ["LICENSE", "LICENSE-MIT"]) {
      text += await readFile(join(folder, file), "utf8").catch(() => "");
    }
    parts.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  const lines = parts.join(`\n${"-".repeat(72)}\n`).split("\n");
  return lines.map((line) => line.trimEnd()).join("\n");
}

