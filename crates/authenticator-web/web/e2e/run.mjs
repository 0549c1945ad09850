// Runs the page in a real Chromium against `countersign demo`.
//
//   COUNTERSIGN   the program (default: target/release/countersign of this tree)
//   CHROMIUM      the browser (default: /usr/bin/chromium)
//   ARTEFACTS     where screenshots go (default: target/web-artefacts)
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
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
  const outfile = join(out, "e2e.mjs");
  await build({
    entryPoints: [join(here, "page.e2e.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    define: { ROOT: JSON.stringify(root) },
    logLevel: "warning",
  });
  const args = ["--test", "--test-reporter=spec", outfile];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit", env: environment });
  process.exitCode = status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
