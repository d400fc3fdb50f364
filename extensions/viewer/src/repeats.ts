// A slider over volumes that repeat, such as over time, with what tells the shown one apart in words.

import { element } from "./dom";

export class Repeats {
  readonly root: HTMLElement;
  readonly count: number;
  private readonly slider: HTMLInputElement;
  private readonly label = element("span", { class: "rp-repeat" });

  constructor(
    private readonly names: readonly string[],
    moved: (volume: number) => void,
  ) {
    this.count = names.length;
    this.slider = element("input", { type: "range", min: "0", max: String(Math.max(this.count - 1, 0)), step: "1" });
    this.slider.setAttribute("aria-label", names[0]?.replace(/ [-\d.e+]+.*$/, "") ?? "");
    this.slider.addEventListener("input", () => moved(Number(this.slider.value)));
    // By hand: a notebook keeps arrow keys from doing what they do on a slider.
    this.slider.addEventListener("keydown", (event) => {
      const to = this.after(event.key);
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      moved(to);
    });
    this.root = element("div", { class: "rp-repeats" }, this.slider, this.label);
    this.root.hidden = this.count < 2;
  }

  show(volume: number): void {
    const name = this.names[volume] ?? "";
    this.slider.value = String(volume);
    this.slider.setAttribute("aria-valuetext", name);
    this.label.textContent = `${volume + 1}/${this.count}  ${name}`;
  }

  /** Where a key leads from here. */
  private after(key: string): number | undefined {
    const at = Number(this.slider.value);
    if (key === "ArrowRight" || key === "ArrowUp") return at + 1;
    if (key === "ArrowLeft" || key === "ArrowDown") return at - 1;
    return { Home: 0, End: this.count - 1 }[key];
  }
}
