// One viewport: the picture of a plane with its letters and status line, scrolled plane by plane.

import { Enums, type RenderingEngine, type Types } from "@cornerstonejs/core";
import type { ColourMap, PlaneGeometry } from "@researchpacs/protocol";
import { colourMap } from "./colours";
import { COLOURS, CrossLines, type Cut } from "./crosslines";
import { element } from "./dom";
import { letters } from "./letters";
import type { PlaneSource } from "./source";
import { text } from "./text";

const SLOW_MS = 300;
const SCALE_BARS_MM = [200, 100, 50, 20, 10, 5, 2, 1];
const WHEEL_STEP = 40;

/** How values become greys or colours. */
export interface Look {
  lower: number;
  upper: number;
  invert: boolean;
  /** Undefined where only greys can be drawn. */
  map: ColourMap | undefined;
}

export class PlaneView {
  readonly root: HTMLElement;
  readonly canvas: HTMLDivElement;
  readonly viewportId: string;
  /** The plane asked for; the one shown follows. */
  target: number;
  volume: number;
  onScroll: (index: number) => void = () => {};
  /** Called when the picture was drawn anew, or is seen from elsewhere. */
  onSeen: () => void = () => {};

  private shown = -1;
  private showing = false;
  private ended = false;
  private direction = 1;
  private wheel = 0;
  private look: Look = { lower: 0, upper: 1, invert: false, map: undefined };
  private mapped = false;
  private current: Promise<void> = Promise.resolve();
  private readonly crossLines = new CrossLines();
  private readonly letters = [0, 1, 2, 3].map((side) =>
    element("span", { class: `rp-letter rp-side-${side}`, "aria-hidden": "true" }),
  );
  private readonly status = element("span", { class: "rp-status" });
  private readonly bar = element("span", { class: "rp-scale", "aria-hidden": "true" });
  private readonly slow = element("div", { class: "rp-slow", hidden: "" });
  private readonly problem = element("div", { class: "rp-problem", role: "alert", hidden: "" });

  constructor(
    readonly stack: PlaneGeometry,
    private readonly source: PlaneSource,
    private readonly engine: RenderingEngine,
    index: number,
    volume: number,
  ) {
    this.target = index;
    this.volume = volume;
    this.viewportId = `${source.id}/${stack.name}`;
    this.canvas = element("div", { class: "rp-canvas" });
    this.root = element(
      "div",
      {
        class: "rp-plane",
        tabindex: "0",
        role: "slider",
        "aria-orientation": "vertical",
        "aria-label": text.plane(stack.name),
        "aria-valuemin": "1",
        "aria-valuemax": String(stack.count),
        "data-plane": stack.name,
      },
      this.canvas,
      this.crossLines.root,
      ...this.letters,
      element("span", { class: "rp-name", style: `color: ${COLOURS[stack.name] ?? "inherit"}` }, stack.name),
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
      this.canvas.addEventListener(name, () => {
        this.describe();
        this.onSeen();
      });
    this.describe();
  }

  get viewport(): Types.IStackViewport {
    return this.engine.getViewport(this.viewportId) as Types.IStackViewport;
  }

  get ready(): boolean {
    return this.shown >= 0;
  }

  /** How far it is zoomed in; undefined before the first picture. */
  get zoomed(): number | undefined {
    return this.ready ? Number(this.viewport.getZoom().toFixed(4)) : undefined;
  }

  /** What to show once it is opened. */
  expect(index: number, volume: number): void {
    this.target = index;
    this.volume = volume;
    this.describe();
  }

  /** Show the first picture; resolves when it is drawn. */
  async open(look: Look): Promise<void> {
    this.look = look;
    this.describe();
    await this.show();
  }

  setLook(look: Look): void {
    this.look = look;
    if (!this.ready) return;
    this.applyLook();
    this.viewport.render();
  }

  /** Go to a plane; tells of it unless it is told to. Resolves when the last plane asked for is shown, or cannot be. */
  goTo(index: number, options: { quiet?: boolean; volume?: number } = {}): Promise<void> {
    const next = Math.min(Math.max(index, 0), this.stack.count - 1);
    const volume = options.volume ?? this.volume;
    if (next === this.target && volume === this.volume) return this.current;
    if (next !== this.target) this.direction = Math.sign(next - this.target);
    this.target = next;
    this.volume = volume;
    if (!options.quiet) this.onScroll(next);
    return this.show();
  }

  /** The point in the volume under a place on the page. */
  pointAt(clientX: number, clientY: number): Types.Point3 | undefined {
    if (!this.ready) return undefined;
    const box = this.canvas.getBoundingClientRect();
    return this.viewport.canvasToWorld([clientX - box.left, clientY - box.top]);
  }

  /** Draw where other planes cut this one. */
  showCuts(cuts: readonly Cut[]): void {
    if (this.ready) this.crossLines.show(cuts, (point) => this.viewport.worldToCanvas(point));
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

  /** Have the canvas be whole pixels wide and tall: cornerstone's is, and would be stretched over a part of one. */
  fit(): void {
    const { width, height } = this.root.getBoundingClientRect();
    this.canvas.style.width = `${Math.floor(width)}px`;
    this.canvas.style.height = `${Math.floor(height)}px`;
  }

  setZoom(zoom: number): void {
    if (!this.ready || Math.abs(this.viewport.getZoom() - zoom) < 1e-3) return;
    this.viewport.setZoom(zoom);
    this.viewport.render();
  }

  /** Turn by 90 degrees, clockwise. */
  turn(): void {
    if (!this.ready) return;
    const { rotation = 0 } = this.viewport.getViewPresentation();
    this.viewport.setViewPresentation({ rotation: (rotation + 90) % 360 });
    this.viewport.render();
  }

  flip(axis: "flipHorizontal" | "flipVertical"): void {
    if (!this.ready) return;
    this.viewport.setCamera({ [axis]: !this.viewport.getCamera()[axis] });
    this.viewport.render();
  }

  reset(): void {
    if (!this.ready) return;
    this.viewport.setCamera({ flipHorizontal: false, flipVertical: false });
    this.viewport.setViewPresentation({ rotation: 0 });
    this.viewport.resetCamera();
    this.setLook(this.look);
  }

  describe(): void {
    const { stack, target, look } = this;
    const parts = [`${target + 1}/${stack.count}`];
    const place = `${stack.axis} ${(stack.location + target * stack.location_step).toFixed(1)} mm`;
    if (stack.axis) parts.push(place);
    if (!stack.calibrated) parts.push(text.uncalibrated);
    if (!this.source.isColour)
      parts.push(`W ${tidy(look.upper - look.lower)} C ${tidy((look.lower + look.upper) / 2)}`);
    if (this.ready) parts.push(`× ${this.viewport.getZoom().toFixed(1)}`);
    this.status.textContent = parts.join("   ");
    this.root.setAttribute("aria-valuenow", String(target + 1));
    const told = text.position(target + 1, stack.count);
    this.root.setAttribute("aria-valuetext", stack.axis ? `${told}, ${place}` : told);
    this.bar.hidden = !stack.calibrated;
    if (!this.ready) return;
    if (stack.calibrated) this.describeScale();
    if (stack.oriented) this.describeSides();
  }

  dispose(): void {
    this.ended = true;
    window.removeEventListener("mouseup", this.endClick);
    if (this.engine.getViewport(this.viewportId)) this.engine.disableElement(this.viewportId);
  }

  private get wanted(): number {
    return this.source.at(this.stack.name, this.target, this.volume);
  }

  /** Draw the plane asked for; while one is fetched, further wishes wait and only the last of them is fetched next. */
  private show(): Promise<void> {
    if (!this.showing) this.current = this.catchUp();
    return this.current;
  }

  private async catchUp(): Promise<void> {
    this.showing = true;
    this.problem.hidden = true;
    const slow = setTimeout(() => {
      this.slow.hidden = false;
    }, SLOW_MS);
    try {
      while (this.shown !== this.wanted && !this.ended) {
        const { target, volume, wanted } = this;
        await this.source.fetch(this.stack.name, target, volume);
        if (this.ended) return;
        await this.draw(wanted, target, volume);
        this.shown = wanted;
        this.root.dataset.shown = String(target);
        this.root.dataset.volume = String(volume);
        this.describe();
        this.onSeen();
      }
    } catch (error) {
      if (!this.ended) this.fail(error);
    } finally {
      clearTimeout(slow);
      this.slow.hidden = true;
      this.showing = false;
    }
  }

  private async draw(at: number, index: number, volume: number): Promise<void> {
    if (this.shown < 0) {
      await laidOut(this.root);
      this.fit();
      this.engine.enableElement({
        viewportId: this.viewportId,
        type: Enums.ViewportType.STACK,
        element: this.canvas,
        defaultOptions: { background: [0, 0, 0] },
      });
      await this.viewport.setStack(this.source.imageIds(this.stack.name), at);
      this.applyLook();
    } else {
      await this.viewport.setImageIdIndex(at);
      this.source.prefetch(this.stack.name, index, volume, this.direction);
    }
    this.viewport.render();
  }

  private applyLook(): void {
    const { lower, upper, invert, map } = this.look;
    const voiRange = { lower, upper };
    if (this.source.isColour) this.viewport.setProperties({ voiRange: { lower: 0, upper: 255 } });
    else if (!map || (map.name === "grey" && !this.mapped)) this.viewport.setProperties({ voiRange, invert });
    else {
      // From now on colour maps invert: cornerstone's own inversion would turn a map over at every plane.
      if (!this.mapped) this.viewport.setProperties({ invert: false });
      this.mapped = true;
      this.viewport.setProperties({ voiRange, colormap: { name: colourMap(map, invert) } });
    }
  }

  private fail(error: unknown): void {
    const sentence = error instanceof Error ? error.message : String(error);
    const again = element("button", { type: "button", class: "rp-button" }, text.again);
    again.addEventListener("click", () => void this.show());
    this.problem.replaceChildren(element("p", {}, text.notShown(this.target + 1, sentence)), again);
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

  private describeSides(): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const corner = this.viewport.canvasToWorld([0, 0]);
    const towards = (to: Types.Point2, sign: number) =>
      letters(this.viewport.canvasToWorld(to).map((value, axis) => sign * (value - (corner[axis] ?? 0))));
    const sides = [towards([0, height], -1), towards([width, 0], 1), towards([0, height], 1), towards([width, 0], -1)];
    for (const [side, label] of this.letters.entries()) label.textContent = sides[side] ?? "";
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
