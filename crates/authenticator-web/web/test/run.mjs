// Runs the unit tests: bundled by esbuild, run by Node's own test runner.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
// inside the package, so that its modules are found
const out = mkdtempSync(join(here, "..", "node_modules", ".tests-"));
try {
  const entryPoints = readdirSync(here)
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(here, name));
  await build({
    entryPoints,
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    define: { ROOT: JSON.stringify(join(here, "../../../..")) },
    logLevel: "warning",
  });
  const tests = readdirSync(out).filter((name) => name.endsWith(".mjs")).map((name) => join(out, name));
  const { status } = spawnSync(process.execPath, ["--test", ...tests], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
