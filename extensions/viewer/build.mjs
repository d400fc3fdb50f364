// Bundle the viewer into the Python package, with the licences of everything that ends up in the bundle.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const extensions = path.dirname(here);
const target = path.join(extensions, "..", "src", "researchpacs", "viewer", "static");
const LARGEST_BYTES = 4_000_000;

// The WebGPU renderer and the XML writer are imported by vtk.js and never reached by a stack viewport on WebGL.
const unreached = {
  name: "unreached",
  setup(build) {
    build.onResolve({ filter: /(^xmlbuilder2$)|(Rendering\/WebGPU)/ }, (args) => ({
      path: args.path,
      namespace: "unreached",
    }));
    build.onLoad({ filter: /.*/, namespace: "unreached" }, () => ({ contents: "module.exports = {};" }));
  },
};

function packageFolders(inputs) {
  const found = new Set();
  for (const input of inputs) {
    const match = input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
    if (match) found.add(path.join(extensions, match[1]));
  }
  return [...found].sort();
}

function licence(folder) {
  const about = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)(\.|$)/i.test(name));
  const text = file ? readFileSync(path.join(folder, file), "utf8").trim() : "The package brings no licence text.";
  const kind = typeof about.license === "string" ? about.license : "see below";
  return `${about.name} ${about.version} (${kind})\n${"-".repeat(70)}\n${text}\n`;
}

const result = await esbuild.build({
  absWorkingDir: extensions,
  entryPoints: ["viewer/src/index.ts"],
  outfile: path.join(target, "viewer.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  loader: { ".css": "text" },
  define: { "process.env.NODE_ENV": '"production"' },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
  plugins: [unreached],
});

const bytes = readFileSync(path.join(target, "viewer.js")).length;
if (bytes > LARGEST_BYTES) throw new Error(`viewer.js has ${bytes} bytes, more than ${LARGEST_BYTES}`);
const folders = packageFolders(Object.keys(result.metafile.inputs)).filter((folder) => existsSync(folder));
const heading = "Licences of the libraries that are bundled in viewer.js\n";
writeFileSync(path.join(target, "THIRD-PARTY-LICENSES.txt"), [heading, ...folders.map(licence)].join("\n\n"));
console.log(`viewer.js: ${(bytes / 1e6).toFixed(2)} MB, ${folders.length} libraries`);
