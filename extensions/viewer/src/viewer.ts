// One viewer in one cell: puts the parts together and keeps them in step with the kernel's traits.

import type { PlaneGeometry, ViewerState } from "@researchpacs/protocol";
import { element } from "./dom";
import { Link } from "./link";
import { Marks } from "./marks";
import type { Model } from "./model";
import { type Mode, Modes } from "./modes";
import { type Page, sharedPage } from "./page";
import { PlaneView, type Range } from "./planeview";
import { PlaneSource } from "./source";
import { MarkTable } from "./table";
import { Toolbar } from "./toolbar";
import { WindowTool } from "./windowtool";

const SYNC_MS = 100;
const SAVE_TIMEOUT_MS = 300_000;

export class ViewerCell {
  private readonly page: Page = sharedPage();
  private readonly id = crypto.randomUUID();
  private readonly link: Link;
  private readonly source: PlaneSource;
  private readonly planes: PlaneView[];
  private readonly modes: Modes;
  private readonly marks: Marks;
  private readonly toolbar: Toolbar;
  private readonly table: MarkTable;
  private readonly notice = element("div", { class: "rp-notice", role: "status", "aria-live": "polite" });
  private readonly ended = new AbortController();
  private readonly resizes: ResizeObserver;
  private readonly root: HTMLElement;
  private readonly reactions: [keyof ViewerState, () => void][];
  private active: PlaneView;
  private syncing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly model: Model,
    host: HTMLElement,
  ) {
    const stacks = new Map<string, PlaneGeometry>(model.get("_stacks").map((stack) => [stack.name, stack]));
    this.link = new Link(model);
    this.source = new PlaneSource(this.id, stacks, this.link);
    const slices = model.get("_slices");
    this.planes = [...stacks.values()].map(
      (stack) => new PlaneView(stack, this.source, this.page.engine, slices[stack.name] ?? 0),
    );
    const [first] = this.planes;
    if (!first) throw new Error("The kernel described no plane.");
    this.active = first;
    this.modes = new Modes(this.id, !this.page.viewOnly);
    this.marks = new Marks(this.source, this.link, () =>
      this.planes.filter((plane) => plane.ready).map((plane) => plane.viewportId),
    );
    this.toolbar = new Toolbar(model.get("_title"), model.get("_presets"), !this.page.viewOnly, {
      choose: (mode) => this.choose(mode),
      preset: (index) => this.preset(index),
      invert: () => this.invert(),
      reset: () => this.reset(),
    });
    this.table = new MarkTable(stacks, model.get("_can_save"), this.hint(), {
      jump: (mark) => this.jump(mark.id),
      rename: (mark, label) => this.link.send({ kind: "label", id: mark.id, label }),
      remove: (mark) => this.marks.remove(mark),
      save: () => void this.save(),
    });
    this.root = element(
      "div",
      // Lab's own shortcuts rest while the viewer has the focus.
      { class: "rp-viewer", "data-lm-suppress-shortcuts": "true", "data-view": this.id },
      this.toolbar.root,
      this.toolbar.help,
      element("div", { class: "rp-planes" }, ...this.planes.map((plane) => plane.root)),
      this.notice,
      this.table.root,
    );
    this.reactions = [
      ["_window", () => this.showWindow()],
      ["_inverted", () => this.showWindow()],
      ["_slices", () => this.showSlices()],
      ["_marks", () => this.showMarks()],
    ];
    this.resizes = new ResizeObserver(() => this.resize());
    this.listen();
    host.append(this.root);
    this.showMarks();
    this.showToolbar();
    for (const plane of this.planes) void this.open(plane);
  }

  dispose(): void {
    this.ended.abort();
    clearTimeout(this.syncing);
    this.resizes.disconnect();
    for (const [name, reaction] of this.reactions) this.model.off(`change:${name}`, reaction);
    this.marks.dispose();
    this.modes.dispose();
    for (const plane of this.planes) {
      WindowTool.listen(plane.canvas, undefined);
      plane.dispose();
    }
    this.source.dispose();
    this.link.dispose();
    this.root.remove();
  }

  private listen(): void {
    for (const [name, reaction] of this.reactions) this.model.on(`change:${name}`, reaction);
    this.link.onError = (error) => {
      if (this.marks.restore(error.request) || this.model.get("_marks").some((mark) => mark.id === error.request))
        this.say(error.message);
    };
    this.root.addEventListener("keydown", (event) => this.onKey(event), { capture: true });
    for (const plane of this.planes) {
      plane.onScroll = () => this.sync();
      plane.root.addEventListener("pointerdown", () => plane.root.focus({ preventScroll: true }));
      for (const name of ["focus", "pointerenter"])
        plane.root.addEventListener(name, () => {
          this.active = plane;
        });
      WindowTool.listen(plane.canvas, (delta) => this.dragWindow(delta));
      this.resizes.observe(plane.canvas);
    }
  }

  private async open(plane: PlaneView): Promise<void> {
    await plane.open(this.range(), this.model.get("_inverted"));
    if (this.ended.signal.aborted || !plane.ready) return;
    this.modes.addViewport(plane.viewportId, this.page.engine.id);
    this.showMarks();
    if (this.page.viewOnly)
      this.say("This browser has no WebGL: pictures are drawn by the processor, and measuring is switched off.");
  }

  private hint(): string {
    return this.page.viewOnly ? "Lengths are not drawn here." : "No lengths yet: press L and drag on a plane.";
  }

  private say(sentence: string): void {
    this.notice.textContent = sentence;
  }

  private range(): Range {
    const [center = 0, width = 1] = this.model.get("_window");
    return { lower: center - width / 2, upper: center + width / 2 };
  }

  private showWindow(): void {
    for (const plane of this.planes) plane.setWindow(this.range(), this.model.get("_inverted"));
    this.showToolbar();
  }

  private showSlices(): void {
    const slices = this.model.get("_slices");
    for (const plane of this.planes) plane.goTo(slices[plane.stack.name] ?? plane.target, { quiet: true });
  }

  private showMarks(): void {
    const marks = this.model.get("_marks");
    if (!this.page.viewOnly) this.marks.show(marks);
    this.table.show(marks);
  }

  private showToolbar(): void {
    this.toolbar.show({
      mode: this.modes.mode,
      window: this.model.get("_window"),
      inverted: this.model.get("_inverted"),
    });
  }

  private choose(mode: Mode): void {
    if (mode === "length" && this.page.viewOnly) return;
    this.modes.choose(mode);
    this.root.dataset.mode = mode;
    this.showToolbar();
  }

  private escape(): void {
    this.toolbar.toggleHelp(false);
    this.choose("window");
  }

  private setWindow(center: number, width: number): void {
    this.model.set("_window", [center, width]);
    this.sync();
  }

  private preset(index: number): void {
    const preset = this.model.get("_presets")[index];
    if (preset) this.setWindow(preset.center, preset.width);
  }

  /** A drag across the viewport's width doubles the window's; down raises the center. */
  private dragWindow([x, y]: [number, number]): void {
    const [center = 0, width = 1] = this.model.get("_window");
    const perPixel = width / 300;
    // Whole numbers where one more or less is not seen.
    const tidy = width > 20 ? Math.round : (value: number) => value;
    this.setWindow(tidy(center + y * perPixel), Math.max(tidy(width + x * perPixel), width / 100));
  }

  private invert(): void {
    this.model.set("_inverted", !this.model.get("_inverted"));
    this.sync();
  }

  private reset(): void {
    for (const plane of this.planes) plane.reset();
    this.model.set("_inverted", this.model.get("_modality") === "PT");
    this.preset(0);
  }

  private jump(id: string): void {
    const mark = this.model.get("_marks").find((one) => one.id === id);
    const plane = this.planes.find((one) => one.stack.name === mark?.plane);
    if (!mark || !plane) return;
    plane.goTo(mark.index);
    this.marks.select(id);
    plane.root.focus({ preventScroll: true });
  }

  private removeSelected(): void {
    const mark = this.marks.selected();
    if (mark) this.marks.remove(mark);
    else this.say("Select a length first: click it.");
  }

  private async save(): Promise<void> {
    this.table.busy(true);
    try {
      const request = { kind: "save", id: crypto.randomUUID() } as const;
      const { reply } = await this.link.ask(request, { timeoutMs: SAVE_TIMEOUT_MS, signal: this.ended.signal });
      if (reply.kind === "save") this.say(`Saved ${reply.saved} ${reply.saved === 1 ? "length" : "lengths"}.`);
    } catch (error) {
      if (!this.ended.signal.aborted)
        this.say(`The lengths could not be saved. ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.table.busy(false);
      this.table.show(this.model.get("_marks"));
    }
  }

  /** Tell the kernel of the view soon; many small steps become one message. */
  private sync(): void {
    clearTimeout(this.syncing);
    this.syncing = setTimeout(() => {
      const slices = Object.fromEntries(this.planes.map((plane) => [plane.stack.name, plane.target]));
      this.model.set("_slices", slices);
      this.model.save_changes();
    }, SYNC_MS);
  }

  private resize(): void {
    if (this.planes.some((plane) => plane.ready && plane.canvas.clientWidth > 0)) this.page.engine.resize(true, true);
  }

  private onKey(event: KeyboardEvent): void {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.keys()[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  private keys(): Record<string, () => void> {
    const by = (step: number) => () => this.active.goTo(this.active.target + step);
    const presets = this.model
      .get("_presets")
      .map((_, index) => [String(index + 1), () => this.preset(index)] as const);
    return {
      ...Object.fromEntries(presets),
      ArrowUp: by(-1),
      ArrowLeft: by(-1),
      ArrowDown: by(1),
      ArrowRight: by(1),
      PageUp: by(-10),
      PageDown: by(10),
      Home: by(-this.active.stack.count),
      End: by(this.active.stack.count),
      w: () => this.choose("window"),
      z: () => this.choose("zoom"),
      p: () => this.choose("pan"),
      l: () => this.choose("length"),
      i: () => this.invert(),
      "0": () => this.reset(),
      "?": () => this.toolbar.toggleHelp(),
      Escape: () => this.escape(),
      Delete: () => this.removeSelected(),
      Backspace: () => this.removeSelected(),
    };
  }
}
