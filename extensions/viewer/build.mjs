// Bundle the viewer into the Python package, with the licences of everything that ends up in the bundle.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const extensions = path.dirname(here);
const target = path.join(extensions, "..", "src", "researchpacs", "viewer", "static");
const LARGEST_BYTES = 4_000_000;
const mit = readFileSync(path.join(here, "MIT.txt"), "utf8").trim();

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

// A package without a licence file names its licence in package.json, and may tell it at the end of its README.
function licenceText(folder, about) {
  const names = readdirSync(folder);
  const file = names.find((name) => /^(licen[cs]e|copying)(\.|$)/i.test(name));
  if (file) return readFileSync(path.join(folder, file), "utf8").trim();
  const readme = names.find((name) => /^readme/i.test(name));
  const told = readme && /^#*\s*licen[cs]e[\s\S]*/im.exec(readFileSync(path.join(folder, readme), "utf8"))?.[0].trim();
  if (told && /copyright/i.test(told)) return told;
  if (about.license !== "MIT") throw new Error(`${about.name} brings no licence text; add one by hand`);
  const source = typeof about.repository === "string" ? about.repository : (about.repository?.url ?? about.name);
  return `Copyright (c) the authors of ${source.replace(/^git\+/, "")}\n\n${mit}`;
}

function licence(folder) {
  const about = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const kind = typeof about.license === "string" ? about.license : "see below";
  const rule = "-".repeat(70);
  return `${about.name} ${about.version} (${kind})\n${rule}\n${licenceText(folder, about)}\n`;
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
