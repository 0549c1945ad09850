// Runs people's ways in a real Chromium against `countersign demo`; `node e2e/run.mjs sign-in` only those of a name.
//
//   COUNTERSIGN   the program (default: target/release/countersign of this tree)
//   CHROMIUM      the browser (default: /usr/bin/chromium)
//   ARTEFACTS     where screenshots go (default: target/web-artefacts)
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../../../..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const out = mkdtempSync(join(here, "..", "node_modules", ".e2e-"));
const environment = {
  COUNTERSIGN: join(target, "release", "countersign"),
  CHROMIUM: "/usr/bin/chromium",
  ARTEFACTS: join(target, "web-artefacts"),
  ...process.env,
};
mkdirSync(environment.ARTEFACTS, { recursive: true });
try {
  const walks = readdirSync(here).filter((name) => name.endsWith(".e2e.ts"));
  await build({
    entryPoints: walks.map((name) => join(here, name)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    define: { ROOT: JSON.stringify(root) },
    logLevel: "warning",
  });
  const wanted = process.argv.slice(2);
  const files = walks.filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
  const built = files.map((name) => join(out, name.replace(/\.ts$/, ".mjs")));
  // one after the other: two browsers and two servers at once are more than a small machine has time for
  const args = ["--test", "--test-concurrency=1", "--test-reporter=spec", ...built];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit", env: environment });
  process.exitCode = status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
