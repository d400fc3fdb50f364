// The marks beneath the pictures: label, value, where, state.

import type { Mark, PlaneGeometry } from "@researchpacs/protocol";
import { element, icon } from "./dom";
import { summary } from "./shapes";
import { text } from "./text";

const words = text.table;

export interface TableActions {
  jump: (mark: Mark) => void;
  rename: (mark: Mark, label: string) => void;
  remove: (mark: Mark) => void;
  undo: () => void;
  redo: () => void;
  save: () => void;
}

export class MarkTable {
  readonly root: HTMLElement;
  private readonly body = element("tbody");
  private readonly table: HTMLElement;
  private readonly count = element("span", { class: "rp-count" });
  private readonly saveButton = element("button", { type: "button", class: "rp-button rp-save" }, words.save);

  constructor(
    private readonly stacks: ReadonlyMap<string, PlaneGeometry>,
    private readonly about: { canSave: boolean; measures: boolean; repeats: readonly string[] },
    private readonly actions: TableActions,
  ) {
    const head = words.head.map((one) => element("th", { scope: "col" }, one));
    this.table = element(
      "table",
      { "aria-label": words.name },
      element("thead", {}, element("tr", {}, ...head)),
      this.body,
    );
    this.saveButton.addEventListener("click", () => this.actions.save());
    if (!about.canSave) this.saveButton.title = words.unsaveable;
    const buttons = [
      iconButton(text.undo, "M5 3 2 6l3 3M2.5 6H10a3.5 3.5 0 0 1 0 7H6", actions.undo),
      iconButton(text.redo, "M11 3l3 3-3 3M13.5 6H6a3.5 3.5 0 0 0 0 7h4", actions.redo),
      this.saveButton,
    ];
    this.root = element(
      "div",
      { class: "rp-marks" },
      this.table,
      element("div", { class: "rp-marks-foot" }, this.count, ...(about.measures ? buttons : [])),
    );
  }

  show(marks: readonly Mark[]): void {
    const drafts = marks.filter((mark) => mark.state === "draft").length;
    const hint = this.about.measures ? words.none : words.unmeasured;
    this.count.textContent = marks.length ? words.count(marks.length, drafts) : hint;
    this.table.hidden = !marks.length;
    this.saveButton.disabled = !this.about.canSave || drafts === 0;
    // A label that is being typed stays as it is.
    if (this.body.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement) {
      const typed = document.activeElement.closest("tr")?.dataset.mark;
      if (marks.some((mark) => mark.id === typed) && this.body.children.length === marks.length) return;
    }
    this.body.replaceChildren(...marks.map((mark, index) => this.row(mark, index)));
  }

  /** While a save is under way the button rests. */
  busy(busy: boolean): void {
    this.saveButton.disabled = busy;
    this.saveButton.textContent = busy ? words.saving : words.save;
  }

  private row(mark: Mark, index: number): HTMLElement {
    const cells = [
      element("td", { class: "rp-number" }, String(index + 1)),
      element("td", {}, mark.state === "draft" ? this.labelInput(mark) : mark.label),
      element("td", { class: "rp-number" }, summary(mark)),
      element("td", {}, mark.plane ? this.jumpButton(mark) : words.nowhere),
      element("td", {}, element("span", { class: `rp-state rp-${mark.state}` }, words.states[mark.state])),
      element("td", {}, ...(mark.state === "draft" ? [this.removeButton(mark)] : [])),
    ];
    return element("tr", { "data-mark": mark.id }, ...cells);
  }

  private labelInput(mark: Mark): HTMLElement {
    const input = element("input", { type: "text", "aria-label": words.label, value: mark.label, maxlength: "64" });
    input.addEventListener("change", () => this.actions.rename(mark, input.value));
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === "Escape") input.blur();
    });
    return input;
  }

  private jumpButton(mark: Mark): HTMLElement {
    const stack = this.stacks.get(mark.plane);
    const place = stack ? `${stack.axis} ${(stack.location + mark.index * stack.location_step).toFixed(1)} mm ` : "";
    const repeat = this.about.repeats.length ? `, ${this.about.repeats[mark.volume] ?? ""}` : "";
    const button = element("button", { type: "button", class: "rp-link" }, `${place}${mark.plane}${repeat}`);
    button.title = words.show;
    button.addEventListener("click", () => this.actions.jump(mark));
    return button;
  }

  private removeButton(mark: Mark): HTMLElement {
    const name = words.removeOf(mark.label);
    const button = element("button", { type: "button", class: "rp-link", "aria-label": name }, words.remove);
    button.addEventListener("click", () => this.actions.remove(mark));
    return button;
  }
}

function iconButton(name: string, path: string, pressed: () => void): HTMLElement {
  const made = element("button", { type: "button", class: "rp-tool", "aria-label": name, title: name }, icon(path));
  made.addEventListener("click", pressed);
  return made;
}
