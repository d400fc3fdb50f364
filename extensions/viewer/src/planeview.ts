// One viewport: the picture of a plane with its letters and status line, scrolled plane by plane.

import { Enums, type RenderingEngine, type Types } from "@cornerstonejs/core";
import type { PlaneGeometry } from "@researchpacs/protocol";
import { element } from "./dom";
import type { PlaneSource } from "./source";

const SLOW_MS = 300;
const SCALE_BARS_MM = [200, 100, 50, 20, 10, 5, 2, 1];
const WHEEL_STEP = 40;

export interface Range {
  lower: number;
  upper: number;
}

export class PlaneView {
  readonly root: HTMLElement;
  readonly canvas: HTMLDivElement;
  readonly viewportId: string;
  /** The plane asked for; the one shown follows. */
  target: number;
  onScroll: (index: number) => void = () => {};

  private shown = -1;
  private showing = false;
  private ended = false;
  private direction = 1;
  private wheel = 0;
  private range: Range = { lower: 0, upper: 1 };
  private invert = false;
  private readonly status = element("span", { class: "rp-status" });
  private readonly bar = element("span", { class: "rp-scale", "aria-hidden": "true" });
  private readonly slow = element("div", { class: "rp-slow", hidden: "" });
  private readonly problem = element("div", { class: "rp-problem", role: "alert", hidden: "" });

  constructor(
    readonly stack: PlaneGeometry,
    private readonly source: PlaneSource,
    private readonly engine: RenderingEngine,
    index: number,
  ) {
    this.target = index;
    this.viewportId = `${source.id}/${stack.name}`;
    this.canvas = element("div", { class: "rp-canvas" });
    this.root = element(
      "div",
      {
        class: "rp-plane",
        tabindex: "0",
        role: "slider",
        "aria-orientation": "vertical",
        "aria-label": `${stack.name} plane`,
        "aria-valuemin": "1",
        "aria-valuemax": String(stack.count),
        "data-plane": stack.name,
      },
      this.canvas,
      ...stack.letters.map((text, side) =>
        element("span", { class: `rp-letter rp-side-${side}`, "aria-hidden": "true" }, text),
      ),
      element("span", { class: "rp-name" }, stack.name),
      element("div", { class: "rp-foot" }, this.status, this.bar),
      this.slow,
      this.problem,
    );
    this.canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation(); // or Lab opens its own menu
    });
    this.canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    // On the window, so that cornerstone, which listens on the document, has heard of it before.
    window.addEventListener("mouseup", this.endClick);
    for (const name of [Enums.Events.IMAGE_RENDERED, Enums.Events.CAMERA_MODIFIED])
      this.canvas.addEventListener(name, () => this.describe());
    this.describe();
  }

  get viewport(): Types.IStackViewport {
    return this.engine.getViewport(this.viewportId) as Types.IStackViewport;
  }

  get ready(): boolean {
    return this.shown >= 0;
  }

  /** Show the first picture; resolves when it is drawn. */
  async open(range: Range, invert: boolean): Promise<void> {
    this.range = range;
    this.invert = invert;
    this.describe();
    await this.show();
  }

  setWindow(range: Range, invert: boolean): void {
    this.range = range;
    this.invert = invert;
    if (!this.ready) return;
    this.viewport.setProperties({ voiRange: range, invert });
    this.viewport.render();
  }

  /** Go to a plane; tells of it unless it is told to. */
  goTo(index: number, options: { quiet?: boolean } = {}): void {
    const next = Math.min(Math.max(index, 0), this.stack.count - 1);
    if (next === this.target) return;
    this.direction = Math.sign(next - this.target);
    this.target = next;
    if (!options.quiet) this.onScroll(next);
    void this.show();
  }

  zoom(factor: number, clientX: number, clientY: number): void {
    if (!this.ready) return;
    const box = this.canvas.getBoundingClientRect();
    const at: Types.Point2 = [clientX - box.left, clientY - box.top];
    const viewport = this.viewport;
    const before = viewport.canvasToWorld(at);
    viewport.setZoom(Math.min(Math.max(viewport.getZoom() * factor, 0.2), 40));
    const after = viewport.canvasToWorld(at);
    const { focalPoint, position } = viewport.getCamera();
    if (focalPoint && position) {
      const move = (point: Types.Point3) => point.map((v, i) => v + (before[i] ?? 0) - (after[i] ?? 0)) as Types.Point3;
      viewport.setCamera({ focalPoint: move(focalPoint), position: move(position) });
    }
    viewport.render();
  }

  reset(): void {
    if (!this.ready) return;
    this.viewport.resetCamera();
    this.setWindow(this.range, this.invert);
  }

  describe(): void {
    const { stack, target } = this;
    const place = `${stack.axis} ${(stack.location + target * stack.location_step).toFixed(1)} mm`;
    const center = (this.range.lower + this.range.upper) / 2;
    const parts = [
      `${target + 1}/${stack.count}`,
      place,
      `W ${tidy(this.range.upper - this.range.lower)} C ${tidy(center)}`,
    ];
    if (this.ready) parts.push(`× ${this.viewport.getZoom().toFixed(1)}`);
    this.status.textContent = parts.join("   ");
    this.root.setAttribute("aria-valuenow", String(target + 1));
    this.root.setAttribute("aria-valuetext", `${target + 1} of ${stack.count}, ${place}`);
    if (this.ready) this.describeScale();
  }

  dispose(): void {
    this.ended = true;
    window.removeEventListener("mouseup", this.endClick);
    if (this.engine.getViewport(this.viewportId)) this.engine.disableElement(this.viewportId);
  }

  /** Draw the plane asked for; while one is fetched, further wishes wait and only the last of them is fetched next. */
  private async show(): Promise<void> {
    if (this.showing) return;
    this.showing = true;
    this.problem.hidden = true;
    const slow = setTimeout(() => {
      this.slow.hidden = false;
    }, SLOW_MS);
    try {
      while (this.shown !== this.target && !this.ended) {
        const index = this.target;
        await this.source.fetch(this.stack.name, index);
        if (this.ended) return;
        await this.draw(index);
        this.shown = index;
        this.root.dataset.shown = String(index);
        this.describe();
      }
    } catch (error) {
      if (!this.ended) this.fail(error);
    } finally {
      clearTimeout(slow);
      this.slow.hidden = true;
      this.showing = false;
    }
  }

  private async draw(index: number): Promise<void> {
    if (this.shown < 0) {
      await laidOut(this.canvas);
      this.engine.enableElement({
        viewportId: this.viewportId,
        type: Enums.ViewportType.STACK,
        element: this.canvas,
        defaultOptions: { background: [0, 0, 0] },
      });
      await this.viewport.setStack(this.source.imageIds(this.stack.name), index);
      this.viewport.setProperties({ voiRange: this.range, invert: this.invert });
    } else {
      await this.viewport.setImageIdIndex(index);
      this.source.prefetch(this.stack.name, index, this.direction);
    }
    this.viewport.render();
  }

  private fail(error: unknown): void {
    const sentence = error instanceof Error ? error.message : String(error);
    const again = element("button", { type: "button", class: "rp-button" }, "Try again");
    again.addEventListener("click", () => void this.show());
    this.problem.replaceChildren(element("p", {}, `Plane ${this.target + 1} could not be shown. ${sentence}`), again);
    this.problem.hidden = false;
  }

  /**
   * cornerstone holds a click back for 400 ms, should it become a double click, and takes a press within that time for
   * its second half: a length begun quickly would start at the click. A double click means nothing here, and a small
   * move makes cornerstone let the click go at once.
   */
  private readonly endClick = ({ target, clientX, clientY }: MouseEvent): void => {
    if (!(target instanceof Node && this.canvas.contains(target))) return;
    this.canvas.dispatchEvent(new MouseEvent("mousemove", { clientX: clientX + 10, clientY, bubbles: false }));
  };

  private onWheel(event: WheelEvent): void {
    event.preventDefault();
    event.stopPropagation();
    if (event.ctrlKey) {
      this.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1, event.clientX, event.clientY);
      return;
    }
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_STEP;
    this.wheel += pixels;
    if (Math.abs(this.wheel) < WHEEL_STEP) return;
    const step = Math.sign(this.wheel);
    this.wheel = 0;
    this.goTo(this.target + step);
  }

  /** A bar of a round length, at most a quarter of the viewport's width. */
  private describeScale(): void {
    const { origin, row_cosines } = this.stack;
    const along = origin.map((value, axis) => value + (row_cosines[axis] ?? 0) * 100);
    const from = this.viewport.worldToCanvas(origin as Types.Point3);
    const to = this.viewport.worldToCanvas(along as Types.Point3);
    const pixelsPerMm = Math.hypot(to[0] - from[0], to[1] - from[1]) / 100;
    const length = SCALE_BARS_MM.find((mm) => mm * pixelsPerMm <= this.canvas.clientWidth / 4) ?? 1;
    this.bar.textContent = `${length} mm`;
    this.bar.style.width = `${length * pixelsPerMm}px`;
  }
}

function tidy(value: number): string {
  return String(Number(value.toPrecision(4)));
}

/** Wait until an element has a size: a cell may be drawn while its notebook is hidden. */
function laidOut(target: HTMLElement): Promise<void> {
  return new Promise((resolve) => {
    const observer = new ResizeObserver(() => {
      if (target.clientWidth > 0 && target.clientHeight > 0) {
        observer.disconnect();
        resolve();
      }
    });
    observer.observe(target);
  });
}
