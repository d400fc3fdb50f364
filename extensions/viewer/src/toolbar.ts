// The title row: what is shown on the left, modes, windows and help on the right.

import type { Preset } from "@researchpacs/protocol";
import { element, icon } from "./dom";
import type { Mode } from "./modes";

const MODES: [Mode, string, string, string][] = [
  ["window", "Window", "W", "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12"],
  ["zoom", "Zoom", "Z", "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.4 10.4 14 14M7 5v4M5 7h4"],
  ["pan", "Pan", "P", "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2"],
  ["length", "Length", "L", "M2.5 13.5 13.5 2.5M1 12l3 3M12 1l3 3M6 8l1.5 1.5M8.5 5.5 10 7"],
];

const KEYS: [string, string][] = [
  ["Wheel, ↑ ↓", "scroll"],
  ["Page ↑ ↓", "scroll by ten"],
  ["Right drag, W", "window"],
  ["Ctrl + wheel, Z", "zoom"],
  ["Middle drag, P", "pan"],
  ["L", "length"],
  ["1 - 9", "window presets"],
  ["I", "invert"],
  ["0", "reset"],
  ["Delete", "remove the selected draft"],
  ["Esc", "end the tool"],
  ["?", "this list"],
];

export interface ToolbarActions {
  choose: (mode: Mode) => void;
  preset: (index: number) => void;
  invert: () => void;
  reset: () => void;
}

export class Toolbar {
  readonly root: HTMLElement;
  readonly help: HTMLElement;
  private readonly buttons = new Map<Mode, HTMLButtonElement>();
  private readonly invertButton: HTMLButtonElement;
  private readonly helpButton: HTMLButtonElement;
  private readonly windows: HTMLSelectElement;

  constructor(
    title: string,
    private readonly presets: readonly Preset[],
    measures: boolean,
    actions: ToolbarActions,
  ) {
    for (const [mode, name, key, path] of MODES) {
      if (mode === "length" && !measures) continue;
      this.buttons.set(
        mode,
        button(`${name} (${key})`, path, () => actions.choose(mode)),
      );
    }
    this.invertButton = button("Invert (I)", "M3 3h10v10H3zM3 13 13 3M5.5 10.5l-2 2M8 10.5l-2.5 2.5", actions.invert);
    this.helpButton = button("Keys (?)", "M6 6a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.4v.3M8 12v.2", () =>
      this.toggleHelp(),
    );
    this.windows = element("select", { class: "rp-select", "aria-label": "Window" });
    this.windows.append(
      ...presets.map((preset, index) => element("option", { value: String(index) }, preset.name)),
      element("option", { value: "", hidden: "" }, "custom"),
    );
    this.windows.addEventListener("change", () => actions.preset(Number(this.windows.value)));
    const rows = KEYS.flatMap(([key, meaning]) => [element("dt", {}, key), element("dd", {}, meaning)]);
    this.help = element("dl", { class: "rp-help", "aria-label": "Keys", hidden: "" }, ...rows);
    this.root = element(
      "div",
      { class: "rp-bar" },
      element("span", { class: "rp-title" }, title),
      element(
        "div",
        { class: "rp-tools", role: "toolbar", "aria-label": "Viewer tools" },
        ...this.buttons.values(),
        element("span", { class: "rp-gap" }),
        this.windows,
        this.invertButton,
        button("Reset (0)", "M3.5 8a4.5 4.5 0 1 0 1.5-3.4M5 1.8v3h3", actions.reset),
        element("span", { class: "rp-gap" }),
        this.helpButton,
      ),
    );
  }

  show(state: { mode: Mode; window: readonly number[]; inverted: boolean }): void {
    for (const [mode, one] of this.buttons) one.setAttribute("aria-pressed", String(mode === state.mode));
    this.invertButton.setAttribute("aria-pressed", String(state.inverted));
    const [center, width] = state.window;
    const at = this.presets.findIndex((preset) => preset.center === center && preset.width === width);
    this.windows.value = at < 0 ? "" : String(at);
  }

  toggleHelp(open = this.help.hidden): void {
    this.help.hidden = !open;
    this.helpButton.setAttribute("aria-expanded", String(!this.help.hidden));
  }
}

function button(name: string, path: string, pressed: () => void): HTMLButtonElement {
  const made = element("button", { type: "button", class: "rp-tool", "aria-label": name, title: name }, icon(path));
  made.addEventListener("click", pressed);
  return made;
}
