// What the keys do: while the viewer has the focus, never to the notebook.

import type { Mode } from "./modes";

export interface KeyActions {
  scroll: (steps: number) => void;
  volume: (steps: number) => void;
  choose: (mode: Mode) => void;
  preset: (index: number) => void;
  flip: (axis: "flipHorizontal" | "flipVertical") => void;
  turn: () => void;
  invert: () => void;
  lines: () => void;
  layout: () => void;
  play: () => void;
  reset: () => void;
  help: () => void;
  escape: () => void;
  remove: () => void;
  undo: () => void;
  redo: () => void;
}

const MODES: Record<string, Mode> = {
  w: "window",
  z: "zoom",
  p: "pan",
  c: "crosshair",
  l: "length",
  a: "angle",
  k: "cobb",
  d: "bidirectional",
  e: "ellipse",
  o: "circle",
  r: "rectangle",
  f: "polygon",
  g: "probe",
};

export class Keys {
  private readonly map: Record<string, () => void>;

  constructor(
    private readonly actions: KeyActions,
    presets: number,
  ) {
    const to = actions;
    this.map = {
      ...Object.fromEntries(Object.entries(MODES).map(([key, mode]) => [key, () => to.choose(mode)])),
      ...Object.fromEntries(Array.from({ length: presets }, (_, n) => [String(n + 1), () => to.preset(n)])),
      ArrowUp: () => to.scroll(-1),
      ArrowLeft: () => to.scroll(-1),
      ArrowDown: () => to.scroll(1),
      ArrowRight: () => to.scroll(1),
      PageUp: () => to.scroll(-10),
      PageDown: () => to.scroll(10),
      Home: () => to.scroll(Number.NEGATIVE_INFINITY),
      End: () => to.scroll(Number.POSITIVE_INFINITY),
      ",": () => to.volume(-1),
      ".": () => to.volume(1),
      h: () => to.flip("flipHorizontal"),
      v: () => to.flip("flipVertical"),
      q: to.turn,
      i: to.invert,
      x: to.lines,
      t: to.layout,
      " ": to.play,
      "0": to.reset,
      "?": to.help,
      Escape: to.escape,
      Delete: to.remove,
      Backspace: to.remove,
    };
  }

  handle(event: KeyboardEvent): void {
    const { target } = event;
    const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    const pressing = target instanceof HTMLButtonElement && event.key === " ";
    if (typing || pressing || event.altKey) return;
    const action = event.ctrlKey || event.metaKey ? this.history(event) : this.plain(event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  private plain(event: KeyboardEvent): (() => void) | undefined {
    return this.map[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  }

  private history(event: KeyboardEvent): (() => void) | undefined {
    const key = event.key.toLowerCase();
    if (key === "z") return event.shiftKey ? this.actions.redo : this.actions.undo;
    return key === "y" ? this.actions.redo : undefined;
  }
}
