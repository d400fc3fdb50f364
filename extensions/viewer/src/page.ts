// What all viewers of a page share: cornerstone, one rendering engine (one WebGL context), the loader and the tools.

import * as core from "@cornerstonejs/core";
import * as tools from "@cornerstonejs/tools";
import { DRAWN_BY } from "./shapes";
import { loadImage, metadata } from "./source";
import css from "./style.css";
import { WindowTool } from "./windowtool";

const CACHE_BYTES = 512 * 1024 * 1024;

export interface Page {
  engine: core.RenderingEngine;
  /** Without WebGL pictures are drawn by the processor, and world coordinates are half a pixel off: view only. */
  viewOnly: boolean;
}

let page: Page | undefined;

export function sharedPage(): Page {
  if (page) return page;
  core.init({ rendering: { webGlContextCount: 1 }, debug: {} });
  tools.init();
  core.cache.setMaxCacheSize(CACHE_BYTES);
  core.imageLoader.registerImageLoader("researchpacs", loadImage);
  core.metaData.addProvider(metadata, 10_000);
  for (const tool of [tools.PanTool, tools.ZoomTool, WindowTool, ...Object.values(DRAWN_BY)]) tools.addTool(tool);
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  page = { engine: new core.RenderingEngine("researchpacs"), viewOnly: core.getShouldUseCPURendering() };
  return page;
}
