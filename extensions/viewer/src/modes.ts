// What the left button does, one mode at a time; the right button always windows, the middle one always pans.

import { Enums, LengthTool, PanTool, ToolGroupManager, type Types, ZoomTool } from "@cornerstonejs/tools";
import { words } from "./marks";
import { WindowTool } from "./windowtool";

export type Mode = "window" | "zoom" | "pan" | "length";

const { Primary, Secondary, Auxiliary } = Enums.MouseBindings;

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
    if (measures) group.addTool(LengthTool.toolName, { getTextLines: words });
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
    if (this.measures) bind(LengthTool.toolName, mode === "length", []);
    bind(WindowTool.toolName, mode === "window", [Secondary]);
    bind(ZoomTool.toolName, mode === "zoom", []);
    bind(PanTool.toolName, mode === "pan", [Auxiliary]);
  }

  dispose(): void {
    ToolGroupManager.destroyToolGroup(this.id);
  }
}
