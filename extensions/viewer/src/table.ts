// The lengths beneath the pictures: label, value, where, state.

import type { Mark, PlaneGeometry } from "@researchpacs/protocol";
import { element } from "./dom";

export interface TableActions {
  jump: (mark: Mark) => void;
  rename: (mark: Mark, label: string) => void;
  remove: (mark: Mark) => void;
  save: () => void;
}

export class MarkTable {
  readonly root: HTMLElement;
  private readonly body = element("tbody");
  private readonly table: HTMLElement;
  private readonly count = element("span", { class: "rp-count" });
  private readonly saveButton = element("button", { type: "button", class: "rp-button rp-save" }, "Save");

  constructor(
    private readonly stacks: ReadonlyMap<string, PlaneGeometry>,
    private readonly canSave: boolean,
    private readonly hint: string,
    private readonly actions: TableActions,
  ) {
    const head = ["#", "label", "value", "where", "state", ""].map((text) => element("th", { scope: "col" }, text));
    this.table = element(
      "table",
      { "aria-label": "Lengths" },
      element("thead", {}, element("tr", {}, ...head)),
      this.body,
    );
    this.saveButton.addEventListener("click", () => this.actions.save());
    if (!canSave) this.saveButton.title = "Opened without an archive: use pacs.ingest(viewer.annotations)";
    this.root = element(
      "div",
      { class: "rp-marks" },
      this.table,
      element("div", { class: "rp-marks-foot" }, this.count, this.saveButton),
    );
  }

  show(marks: readonly Mark[]): void {
    const drafts = marks.filter((mark) => mark.state === "draft").length;
    this.count.textContent = marks.length
      ? `${marks.length} ${marks.length === 1 ? "length" : "lengths"} · ${drafts} unsaved`
      : this.hint;
    this.table.hidden = !marks.length;
    this.saveButton.disabled = !this.canSave || drafts === 0;
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
    this.saveButton.textContent = busy ? "Saving" : "Save";
  }

  private row(mark: Mark, index: number): HTMLElement {
    const cells = [
      element("td", { class: "rp-number" }, String(index + 1)),
      element("td", {}, mark.state === "draft" ? this.labelInput(mark) : mark.label),
      element("td", { class: "rp-number" }, `${mark.value_mm.toFixed(1)} mm`),
      element("td", {}, this.jumpButton(mark)),
      element("td", {}, element("span", { class: `rp-state rp-${mark.state}` }, mark.state)),
      element("td", {}, ...(mark.state === "draft" ? [this.removeButton(mark)] : [])),
    ];
    return element("tr", { "data-mark": mark.id }, ...cells);
  }

  private labelInput(mark: Mark): HTMLElement {
    const input = element("input", { type: "text", "aria-label": "Label", value: mark.label, maxlength: "64" });
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
    const button = element("button", { type: "button", class: "rp-link" }, `${place}${mark.plane}`);
    button.title = "Show this plane";
    button.addEventListener("click", () => this.actions.jump(mark));
    return button;
  }

  private removeButton(mark: Mark): HTMLElement {
    const button = element(
      "button",
      { type: "button", class: "rp-link", "aria-label": `Remove ${mark.label}` },
      "Remove",
    );
    button.addEventListener("click", () => this.actions.remove(mark));
    return button;
  }
}
