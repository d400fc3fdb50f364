// One viewer in one cell: puts the parts together and keeps them in step with the kernel's traits.

import type { Mark, PlaneGeometry, ViewerState } from "@researchpacs/protocol";
import { Cine } from "./cine";
import { cut, nearest } from "./crosslines";
import { element } from "./dom";
import { type KeyActions, Keys } from "./keys";
import { Link } from "./link";
import { aboutOf, lookOf } from "./look";
import { Marks } from "./marks";
import type { Model } from "./model";
import { isMode, isShape, type Mode, Modes } from "./modes";
import { type Page, sharedPage } from "./page";
import { PlaneView } from "./planeview";
import { Repeats } from "./repeats";
import { saved } from "./saving";
import { PlaneSource } from "./source";
import { MarkTable } from "./table";
import { text } from "./text";
import { Toolbar, type ToolbarActions } from "./toolbar";
import { dragged, WindowTool } from "./windowtool";

const SYNC_MS = 100;

export class ViewerCell {
  private readonly page: Page = sharedPage();
  private readonly id = crypto.randomUUID();
  private readonly stacks: ReadonlyMap<string, PlaneGeometry>;
  private readonly measures: boolean;
  private readonly link: Link;
  private readonly source: PlaneSource;
  private readonly planes: PlaneView[];
  private readonly modes: Modes;
  private readonly marks: Marks;
  private readonly actions: ToolbarActions & KeyActions;
  private readonly toolbar: Toolbar;
  private readonly table: MarkTable;
  private readonly repeats: Repeats;
  private readonly cine: Cine;
  private readonly keys: Keys;
  private readonly notice = element("div", { class: "rp-notice", role: "status", "aria-live": "polite" });
  private readonly ended = new AbortController();
  private readonly resizes: ResizeObserver;
  private readonly root: HTMLElement;
  private readonly reactions: [keyof ViewerState, () => void][];
  private active: PlaneView;
  private syncing: ReturnType<typeof setTimeout> | undefined;
  private telling = false;
  private lines = true;
  private rate: number;

  constructor(
    private readonly model: Model,
    host: HTMLElement,
  ) {
    this.stacks = new Map<string, PlaneGeometry>(model.get("_stacks").map((stack) => [stack.name, stack]));
    this.measures = model.get("_measures") && !this.page.viewOnly;
    this.rate = model.get("_rate");
    this.link = new Link(model);
    const repeats = model.get("_repeats");
    const volumes = Math.max(repeats.length, 1);
    this.source = new PlaneSource(
      this.id,
      this.stacks,
      volumes,
      model.get("_units"),
      model.get("_is_colour"),
      this.link,
    );
    const slices = model.get("_slices");
    this.planes = [...this.stacks.values()].map(
      (stack) => new PlaneView(stack, this.source, this.page.engine, slices[stack.name] ?? 0, model.get("volume")),
    );
    const [first] = this.planes;
    if (!first) throw new Error("The kernel described no plane.");
    this.active = this.planeOf(model.get("plane")) ?? first;
    this.modes = new Modes(this.id, this.measures);
    const open = () => this.planes.filter((plane) => plane.ready).map((plane) => plane.viewportId);
    this.marks = new Marks(this.source, this.link, open);
    this.cine = new Cine(
      () => this.step(),
      () => this.rate,
      () => this.showToolbar(),
    );
    this.repeats = new Repeats(repeats, (volume) => this.setVolume(volume));
    this.actions = this.makeActions();
    this.toolbar = this.makeToolbar();
    this.table = this.makeTable(repeats);
    this.keys = new Keys(this.actions, Math.min(model.get("_presets").length, 9));
    this.root = element(
      "div",
      // Lab's own shortcuts rest while the viewer has the focus.
      { class: "rp-viewer", "data-lm-suppress-shortcuts": "true", "data-view": this.id },
      this.toolbar.root,
      this.toolbar.help,
      element("div", { class: "rp-planes" }, ...this.planes.map((plane) => plane.root)),
      this.repeats.root,
      this.notice,
      this.table.root,
    );
    this.reactions = [
      ["_window", () => this.showLook()],
      ["_inverted", () => this.showLook()],
      ["colormap", () => this.showLook()],
      ["_slices", () => this.showSlices()],
      ["volume", () => this.showSlices()],
      ["_marks", () => this.showMarks()],
      ["_layout", () => this.showLayout()],
      ["plane", () => this.showLayout()],
      ["zoom", () => this.showZoom()],
      ["tool", () => this.showTool()],
    ];
    this.resizes = new ResizeObserver(() => this.resize());
    this.listen();
    host.append(this.root);
    this.showLayout();
    this.showMarks();
    this.showTool();
    this.repeats.show(model.get("volume"));
    if (this.page.viewOnly) this.say(text.noWebGL);
  }

  dispose(): void {
    this.ended.abort();
    this.cine.stop();
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

  private makeToolbar(): Toolbar {
    const hasCine = this.repeats.count > 1 || this.planes.some((plane) => plane.stack.count > 1);
    const about = {
      measures: this.measures,
      coloured: !this.page.viewOnly,
      hasPlanes: this.planes.length > 1,
      hasCine,
    };
    return new Toolbar(aboutOf(this.model, about), this.actions);
  }

  private makeTable(repeats: readonly string[]): MarkTable {
    const about = { canSave: this.model.get("_can_save"), measures: this.measures, repeats };
    return new MarkTable(this.stacks, about, {
      jump: (mark) => this.jump(mark),
      rename: (mark, label) => this.link.send({ kind: "label", id: mark.id, label }),
      remove: (mark) => this.marks.remove(mark),
      undo: this.actions.undo,
      redo: this.actions.redo,
      save: () => void this.save(),
    });
  }

  /** What buttons and keys do. */
  private makeActions(): ToolbarActions & KeyActions {
    return {
      scroll: (steps) => void this.active.goTo(this.active.target + steps),
      volume: (steps) => this.setVolume(this.model.get("volume") + steps),
      choose: (mode) => this.choose(mode),
      preset: (index) => this.preset(index),
      colours: (name) => this.set("colormap", name),
      choice: (choice) => this.link.send({ kind: "choose", id: crypto.randomUUID(), choice }),
      rate: (rate) => {
        this.rate = rate;
      },
      layout: () => this.set("_layout", this.model.get("_layout") === "mpr" ? "stack" : "mpr"),
      turn: () => this.active.turn(),
      flip: (axis) => this.active.flip(axis),
      lines: () => {
        this.lines = !this.lines;
        this.showToolbar();
        this.showLines();
      },
      invert: () => this.set("_inverted", !this.model.get("_inverted")),
      play: () => this.cine.toggle(),
      reset: () => this.reset(),
      help: () => this.toolbar.toggleHelp(),
      escape: () => {
        this.toolbar.toggleHelp(false);
        this.cine.stop();
        this.choose("window");
      },
      remove: () => {
        const mark = this.marks.selected();
        if (mark) this.marks.remove(mark);
        else this.say(text.selectFirst);
      },
      undo: () => this.link.send({ kind: "undo", id: crypto.randomUUID() }),
      redo: () => this.link.send({ kind: "redo", id: crypto.randomUUID() }),
    };
  }

  private listen(): void {
    for (const [name, reaction] of this.reactions) this.model.on(`change:${name}`, reaction);
    this.link.onError = (error) => {
      this.marks.restore(error.request);
      this.say(error.message);
    };
    this.root.addEventListener("keydown", (event) => this.keys.handle(event), { capture: true });
    for (const plane of this.planes) {
      plane.onScroll = () => {
        this.showLines();
        this.sync();
      };
      plane.onSeen = () => {
        this.showLinesOn(plane);
        if (plane === this.active) this.sync();
      };
      plane.root.addEventListener("pointerdown", () => plane.root.focus({ preventScroll: true }));
      for (const name of ["focus", "pointerenter"]) plane.root.addEventListener(name, () => this.activate(plane));
      for (const name of ["pointerdown", "pointermove"] as const)
        plane.canvas.addEventListener(name, (event) => this.pointTo(plane, event));
      WindowTool.listen(plane.canvas, (delta) => this.set("_window", dragged(this.model.get("_window"), delta)));
      this.resizes.observe(plane.root);
    }
  }

  private planeOf(name: string | undefined): PlaneView | undefined {
    return this.planes.find((plane) => plane.stack.name === name);
  }

  private showLook(): void {
    for (const plane of this.planes) plane.setLook(lookOf(this.model, !this.page.viewOnly));
    this.showToolbar();
  }

  private showSlices(): void {
    const slices = this.model.get("_slices");
    const volume = this.model.get("volume");
    for (const plane of this.planes) {
      const index = slices[plane.stack.name] ?? plane.target;
      if (plane.root.hidden && !plane.ready) plane.expect(index, volume);
      else void plane.goTo(index, { quiet: true, volume });
    }
    this.repeats.show(volume);
    this.showLines();
  }

  private showMarks(): void {
    const marks = this.model.get("_marks");
    if (this.measures) this.marks.show(marks);
    this.table.show(marks);
  }

  private showLayout(): void {
    this.active = this.planeOf(this.model.get("plane")) ?? this.active;
    const all = this.model.get("_layout") === "mpr";
    for (const plane of this.planes) {
      plane.root.hidden = !all && plane !== this.active;
      if (!plane.root.hidden) void this.open(plane);
    }
    this.root.dataset.layout = all ? "mpr" : "stack";
    this.showLines();
  }

  private showZoom(): void {
    // Told of one plane only: the others stay as they are.
    for (const plane of this.telling ? [] : this.planes) plane.setZoom(this.model.get("zoom"));
  }

  private async open(plane: PlaneView): Promise<void> {
    if (plane.ready) return;
    await plane.open(lookOf(this.model, !this.page.viewOnly));
    if (this.ended.signal.aborted || !plane.ready) return;
    this.modes.addViewport(plane.viewportId, this.page.engine.id);
    plane.setZoom(this.model.get("zoom"));
    this.showMarks();
    this.showLines();
  }

  private showTool(): void {
    const tool = this.model.get("tool");
    if (isMode(tool) && (this.measures || !isShape(tool))) this.modes.choose(tool);
    this.root.dataset.mode = isShape(this.modes.mode) ? "measure" : this.modes.mode;
    this.showToolbar();
  }

  private showToolbar(): void {
    this.toolbar.show({
      mode: this.modes.mode,
      window: this.model.get("_window"),
      inverted: this.model.get("_inverted"),
      colours: this.model.get("colormap"),
      playing: this.cine.playing,
      lines: this.lines,
    });
  }

  private showLines(): void {
    for (const plane of this.planes) this.showLinesOn(plane);
  }

  private showLinesOn(plane: PlaneView): void {
    const shown = this.lines && this.model.get("_layout") === "mpr";
    const others = shown ? this.planes.filter((other) => other !== plane) : [];
    plane.showCuts(others.flatMap((other) => cut(plane.stack, plane.target, other.stack, other.target) ?? []));
  }

  private say(sentence: string): void {
    this.notice.textContent = sentence;
  }

  /** Set a trait here and, soon, in the kernel. */
  private set<Name extends keyof ViewerState>(name: Name, value: ViewerState[Name]): void {
    this.model.set(name, value);
    this.sync();
  }

  private activate(plane: PlaneView): void {
    if (plane === this.active) return;
    this.active = plane;
    if (this.model.get("_layout") === "mpr") this.set("plane", plane.stack.name);
  }

  private choose(mode: Mode): void {
    if (isShape(mode) && !this.measures) return;
    this.set("tool", mode);
  }

  private setVolume(volume: number): void {
    const last = Math.max(this.repeats.count - 1, 0);
    this.set("volume", Math.min(Math.max(volume, 0), last));
  }

  /** One step of the cine: the next volume where there are several, else the next plane. */
  private step(): Promise<void> {
    if (this.repeats.count > 1) {
      this.set("volume", (this.model.get("volume") + 1) % this.repeats.count);
      return this.active.goTo(this.active.target);
    }
    return this.active.goTo((this.active.target + 1) % this.active.stack.count);
  }

  /** Bring the other planes to the point under the pointer, and keep them there while it is dragged. */
  private pointTo(plane: PlaneView, event: PointerEvent): void {
    if (this.modes.mode !== "crosshair" || !(event.buttons & 1)) return;
    const point = plane.pointAt(event.clientX, event.clientY);
    if (!point) return;
    for (const other of this.planes) if (other !== plane) void other.goTo(nearest(other.stack, point));
  }

  private preset(index: number): void {
    const preset = this.model.get("_presets")[index];
    if (preset) this.set("_window", [preset.center, preset.width]);
  }

  private reset(): void {
    for (const plane of this.planes) plane.reset();
    this.model.set("_inverted", this.model.get("_starts_inverted"));
    this.model.set("colormap", "grey");
    this.model.set("zoom", 1);
    this.preset(0);
  }

  private jump(mark: Mark): void {
    const plane = this.planeOf(mark.plane);
    if (!plane) return;
    this.set("plane", plane.stack.name);
    if (mark.volume !== this.model.get("volume")) this.setVolume(mark.volume);
    void plane.goTo(mark.index, { volume: mark.volume });
    this.marks.select(mark.id);
    plane.root.focus({ preventScroll: true });
  }

  private async save(): Promise<void> {
    this.table.busy(true);
    this.say(await saved(this.link, this.ended.signal));
    this.table.busy(false);
    this.table.show(this.model.get("_marks"));
  }

  /** Tell the kernel of the view soon; many small steps become one message, and none changes nothing. */
  private sync(): void {
    clearTimeout(this.syncing);
    this.syncing = setTimeout(() => {
      const slices = Object.fromEntries(this.planes.map((plane) => [plane.stack.name, plane.target]));
      if (JSON.stringify(slices) !== JSON.stringify(this.model.get("_slices"))) this.model.set("_slices", slices);
      const zoom = this.active.zoomed;
      this.telling = true;
      if (zoom !== undefined && Math.abs(zoom - this.model.get("zoom")) > 1e-3) this.model.set("zoom", zoom);
      this.telling = false;
      this.model.save_changes();
    }, SYNC_MS);
  }

  private resize(): void {
    const seen = this.planes.filter((plane) => plane.ready && plane.root.clientWidth > 0);
    for (const plane of seen) plane.fit();
    if (seen.length) this.page.engine.resize(true, true);
  }
}
