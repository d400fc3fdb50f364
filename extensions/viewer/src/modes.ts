// What the left button does, one mode at a time; the right button always windows, the middle one always pans.

import { Enums, PanTool, ToolGroupManager, type Types, ZoomTool } from "@cornerstonejs/tools";
import { wordsOf } from "./marks";
import { DRAWN_BY, SHAPES, type Shape } from "./shapes";
import { text } from "./text";
import { WindowTool } from "./windowtool";

export type Mode = keyof typeof text.modes;

const { Primary, Secondary, Auxiliary } = Enums.MouseBindings;

export function isMode(value: string): value is Mode {
  return value in text.modes;
}

export function isShape(mode: Mode): mode is Shape {
  return mode in DRAWN_BY;
}

export class Modes {
  mode: Mode = "window";
  private readonly group: Types.IToolGroup;

  constructor(
    private readonly id: string,
    private readonly measures: boolean,
  ) {
    const group = ToolGroupManager.createToolGroup(id);
    if (!group) throw new Error("A viewer of this name is open already.");
    this.group = group;
    for (const tool of [WindowTool, ZoomTool, PanTool]) group.addTool(tool.toolName);
    if (measures)
      for (const shape of SHAPES)
        group.addTool(DRAWN_BY[shape].toolName, { getTextLines: wordsOf(shape), ...OPTIONS[shape] });
    this.choose("window");
  }

  addViewport(viewportId: string, engineId: string): void {
    this.group.addViewport(viewportId, engineId);
  }

  choose(mode: Mode): void {
    this.mode = mode;
    const bind = (tool: string, left: boolean, others: number[]) => {
      const buttons = left ? [Primary, ...others] : others;
      if (buttons.length) this.group.setToolActive(tool, { bindings: buttons.map((mouseButton) => ({ mouseButton })) });
      else this.group.setToolPassive(tool, { removeAllBindings: true });
    };
    for (const tool of [WindowTool, ZoomTool, PanTool])
      this.group.setToolPassive(tool.toolName, { removeAllBindings: true });
    if (this.measures) {
      for (const shape of SHAPES) if (shape !== mode) bind(DRAWN_BY[shape].toolName, false, []);
      if (isShape(mode)) bind(DRAWN_BY[mode].toolName, true, []);
    }
    bind(WindowTool.toolName, mode === "window", [Secondary]);
    bind(ZoomTool.toolName, mode === "zoom", []);
    bind(PanTool.toolName, mode === "pan", [Auxiliary]);
  }

  dispose(): void {
    ToolGroupManager.destroyToolGroup(this.id);
  }
}

// An outline is always closed, and told with the points where the mouse was.
const OPTIONS: Partial<Record<Shape, Record<string, unknown>>> = {
  polygon: { allowOpenContours: false, subPixelResolution: 1 },
};
