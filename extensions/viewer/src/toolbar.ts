// The title row: what is shown on the left; modes, the look of the pictures and help on the right.

import type { Preset } from "@researchpacs/protocol";
import { element, icon } from "./dom";
import { isShape, type Mode } from "./modes";
import { text } from "./text";

const MODES: [Mode, string, string][] = [
  ["window", "W", "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12"],
  ["zoom", "Z", "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.4 10.4 14 14M7 5v4M5 7h4"],
  ["pan", "P", "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2"],
  ["crosshair", "C", "M8 1.5v5M8 9.5v5M1.5 8h5M9.5 8h5"],
  ["length", "L", "M2.5 13.5 13.5 2.5M1 12l3 3M12 1l3 3M6 8l1.5 1.5M8.5 5.5 10 7"],
  ["angle", "A", "M13.5 3 2.5 13h11M7.5 13a5 5 0 0 0-1.7-3.6"],
  ["cobb", "K", "M2 4.5 13 2M2 11l11 2.5M11 2.6v10.5"],
  ["bidirectional", "D", "M2 12 13 4M5.5 4.5l5 7"],
  ["ellipse", "E", "M1.5 8a6.5 4 0 1 0 13 0 6.5 4 0 1 0-13 0"],
  ["circle", "O", "M2.5 8a5.5 5.5 0 1 0 11 0 5.5 5.5 0 1 0-11 0M8 8h.1"],
  ["rectangle", "R", "M2 4h12v8H2z"],
  ["polygon", "F", "M4 3c3-2 9 0 9 3s-3 2-2 4-3 5-6 3-4-8-1-10z"],
  ["probe", "G", "M8 3v10M3 8h10M8 8h.1"],
];

export interface ToolbarActions {
  choose: (mode: Mode) => void;
  preset: (index: number) => void;
  colours: (name: string) => void;
  choice: (index: number) => void;
  rate: (rate: number) => void;
  layout: () => void;
  turn: () => void;
  flip: (axis: "flipHorizontal" | "flipVertical") => void;
  lines: () => void;
  invert: () => void;
  play: () => void;
  reset: () => void;
}

export interface ToolbarAbout {
  title: string;
  note: string;
  presets: readonly Preset[];
  colours: readonly string[];
  choices: readonly string[];
  choice: number;
  rate: number;
  measures: boolean;
  isColour: boolean;
  hasPlanes: boolean;
  hasCine: boolean;
}

export interface ToolbarState {
  mode: Mode;
  window: readonly number[];
  inverted: boolean;
  colours: string;
  playing: boolean;
  lines: boolean;
}

export class Toolbar {
  readonly root: HTMLElement;
  readonly help: HTMLElement;
  private readonly buttons = new Map<Mode, HTMLButtonElement>();
  private readonly pressed: Record<"inverted" | "playing" | "lines", HTMLButtonElement>;
  private readonly helpButton: HTMLButtonElement;
  private readonly windows: HTMLSelectElement;
  private readonly maps: HTMLSelectElement;

  constructor(
    private readonly about: ToolbarAbout,
    actions: ToolbarActions,
  ) {
    for (const [mode, key, path] of MODES) {
      if ((isShape(mode) && !about.measures) || (mode === "crosshair" && !about.hasPlanes)) continue;
      if (mode === "window" && about.isColour) continue;
      this.buttons.set(
        mode,
        button(`${text.modes[mode]} (${key})`, path, () => actions.choose(mode)),
      );
    }
    this.pressed = {
      inverted: button(text.invert, "M3 3h10v10H3zM3 13 13 3M5.5 10.5l-2 2M8 10.5l-2.5 2.5", actions.invert),
      playing: button(text.play, "M5 3l8 5-8 5z", actions.play),
      lines: button(text.lines, "M2 5h12M2 11h12M5 2v12M11 2v12", actions.lines),
    };
    this.helpButton = button(text.keys, "M6 6a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.4v.3M8 12v.2", () => this.toggleHelp());
    this.windows = select(
      text.window,
      about.presets.map((preset) => preset.name),
      (index) => actions.preset(index),
    );
    this.windows.append(element("option", { value: "", hidden: "" }, text.custom));
    this.maps = select(text.colours, about.colours, (index) => actions.colours(about.colours[index] ?? ""));
    this.help = element(
      "dl",
      { class: "rp-help", "aria-label": "Keys", hidden: "" },
      ...text.help.flatMap(([key, meaning]) => [element("dt", {}, key), element("dd", {}, meaning)]),
    );
    this.root = element("div", { class: "rp-bar" }, ...this.title(actions), this.tools(actions));
  }

  show(state: ToolbarState): void {
    for (const [mode, one] of this.buttons) one.setAttribute("aria-pressed", String(mode === state.mode));
    for (const name of ["inverted", "playing", "lines"] as const)
      this.pressed[name].setAttribute("aria-pressed", String(state[name]));
    const [center, width] = state.window;
    const at = this.about.presets.findIndex((preset) => preset.center === center && preset.width === width);
    this.windows.value = at < 0 ? "" : String(at);
    this.maps.value = String(this.about.colours.indexOf(state.colours));
  }

  toggleHelp(open = this.help.hidden): void {
    this.help.hidden = !open;
    this.helpButton.setAttribute("aria-expanded", String(!this.help.hidden));
  }

  private title(actions: ToolbarActions): HTMLElement[] {
    const { title, note, choices, choice } = this.about;
    const parts: HTMLElement[] = [element("span", { class: "rp-title" }, title)];
    if (note) parts.push(element("span", { class: "rp-note" }, note));
    if (choices.length > 1) {
      const menu = select(text.choice, choices, (index) => {
        actions.choice(index);
        // What is shown is what the kernel says; it may refuse.
        menu.value = String(choice);
      });
      menu.value = String(choice);
      parts.splice(1, 0, menu);
    }
    return parts;
  }

  private tools(actions: ToolbarActions): HTMLElement {
    const { about } = this;
    const gap = () => element("span", { class: "rp-gap" });
    const greys = about.isColour
      ? []
      : [this.windows, ...(about.colours.length ? [this.maps] : []), this.pressed.inverted];
    const planes = about.hasPlanes
      ? [button(text.layout, "M2 3h5v10H2zM9 3h5v10H9z", actions.layout), this.pressed.lines]
      : [];
    return element(
      "div",
      { class: "rp-tools", role: "toolbar", "aria-label": text.toolbar },
      ...this.buttons.values(),
      gap(),
      ...greys,
      gap(),
      ...planes,
      button(text.turn, "M12.5 8a4.5 4.5 0 1 1-1.5-3.4M11 1.8v3H8", actions.turn),
      button(text.flipAcross, "M8 2v12M6 4 2 12h4zM10 4l4 8h-4z", () => actions.flip("flipHorizontal")),
      button(text.flipDown, "M2 8h12M4 6l8-4v4zM4 10l8 4v-4z", () => actions.flip("flipVertical")),
      ...(about.hasCine ? [this.pressed.playing, this.rate(actions)] : []),
      button(text.reset, "M3.5 8a4.5 4.5 0 1 0 1.5-3.4M5 1.8v3h3", actions.reset),
      gap(),
      this.helpButton,
    );
  }

  private rate(actions: ToolbarActions): HTMLElement {
    const value = String(Math.round(this.about.rate));
    const input = element("input", { type: "number", class: "rp-rate", min: "1", max: "60", value });
    input.setAttribute("aria-label", text.rate);
    input.title = text.rate;
    input.addEventListener("change", () => actions.rate(Math.min(Math.max(Number(input.value) || 1, 1), 60)));
    return input;
  }
}

function select(name: string, options: readonly string[], chosen: (index: number) => void): HTMLSelectElement {
  const made = element("select", { class: "rp-select", "aria-label": name, title: name });
  made.append(...options.map((option, index) => element("option", { value: String(index) }, option)));
  made.addEventListener("change", () => chosen(Number(made.value)));
  return made;
}

function button(name: string, path: string, pressed: () => void): HTMLButtonElement {
  const made = element("button", { type: "button", class: "rp-tool", "aria-label": name, title: name }, icon(path));
  made.addEventListener("click", pressed);
  return made;
}
