// Lengths on the pictures: cornerstone draws and moves them, the kernel keeps them. What the kernel's list does not hold
// is taken off the picture again.

import { eventTarget, type Types } from "@cornerstonejs/core";
import type { Types as ToolTypes } from "@cornerstonejs/tools";
import { annotation, Enums, LengthTool, utilities } from "@cornerstonejs/tools";
import type { Mark } from "@researchpacs/protocol";
import type { Link } from "./link";
import type { PlaneSource } from "./source";

const SETTLED_MS = 200;
// Okabe-Ito: told apart with every kind of colour vision; the table says the same in words.
const COLOURS = { draft: "rgb(230, 159, 0)", saved: "rgb(86, 180, 233)" };

export class Marks {
  /** Marks on their way to the kernel, with the timer of a move that may go on. */
  private readonly moving = new Map<string, ReturnType<typeof setTimeout>>();
  private readonly listeners: [string, (event: Event) => void][];
  private list: readonly Mark[] = [];

  constructor(
    private readonly source: PlaneSource,
    private readonly link: Link,
    /** Viewports that are open. */
    private readonly viewportIds: () => string[],
  ) {
    this.listeners = [
      [Enums.Events.ANNOTATION_COMPLETED, (event) => this.tell(drawn(event))],
      [Enums.Events.ANNOTATION_MODIFIED, (event) => this.onModified(drawn(event))],
    ];
    for (const [name, listener] of this.listeners) eventTarget.addEventListener(name, listener);
  }

  /** Draw the kernel's list. */
  show(list: readonly Mark[]): void {
    this.list = list;
    const wanted = new Set(list.map((mark) => mark.id));
    for (const present of this.present()) {
      const id = present.annotationUID ?? "";
      if (!wanted.has(id) && !this.beingDrawn(present)) annotation.state.removeAnnotation(id);
    }
    for (const mark of list) if (!this.moving.has(mark.id)) this.draw(mark);
    utilities.triggerAnnotationRenderForViewportIds(this.viewportIds());
  }

  /** The selected draft, if there is one. */
  selected(): Mark | undefined {
    const chosen = new Set(annotation.selection.getAnnotationsSelected());
    return this.list.find((mark) => chosen.has(mark.id));
  }

  select(id: string): void {
    annotation.selection.setAnnotationSelected(id, true, false);
    utilities.triggerAnnotationRenderForViewportIds(this.viewportIds());
  }

  remove(mark: Mark): void {
    this.link.send({ kind: "unmark", id: mark.id });
  }

  /** A change was refused: back to what the kernel holds. */
  restore(id: string): boolean {
    const ours = this.present().some((present) => present.annotationUID === id);
    if (ours) {
      this.settle(id);
      this.show(this.list);
    }
    return ours;
  }

  dispose(): void {
    for (const [name, listener] of this.listeners) eventTarget.removeEventListener(name, listener);
    for (const timer of this.moving.values()) clearTimeout(timer);
    for (const present of this.present()) annotation.state.removeAnnotation(present.annotationUID ?? "");
  }

  private present(): ToolTypes.Annotation[] {
    return annotation.state.getAllAnnotations().filter((one) => this.place(one) !== undefined);
  }

  private place(one: ToolTypes.Annotation): { plane: string; index: number } | undefined {
    const [view, plane, index] = (one.metadata?.referencedImageId ?? "").split(":").at(-1)?.split("/") ?? [];
    return view === this.source.id && plane ? { plane, index: Number(index) } : undefined;
  }

  private beingDrawn(one: ToolTypes.Annotation): boolean {
    return one.data.handles?.activeHandleIndex != null && !this.list.some((mark) => mark.id === one.annotationUID);
  }

  private onModified(one: ToolTypes.Annotation): void {
    const id = one.annotationUID ?? "";
    const mark = this.list.find((mark) => mark.id === id);
    // cornerstone also tells of a modification when it has only computed the length anew.
    if (!mark || !this.place(one) || !moved(mark, one.data.handles?.points ?? [])) return;
    this.settle(id);
    this.moving.set(
      id,
      setTimeout(() => this.tell(one), SETTLED_MS),
    );
  }

  private tell(one: ToolTypes.Annotation): void {
    const place = this.place(one);
    if (!place || !one.annotationUID) return;
    this.settle(one.annotationUID);
    const points = (one.data.handles?.points ?? []).map((point) => Array.from(point));
    this.link.send({ kind: "mark", id: one.annotationUID, ...place, points_lps: points });
  }

  private settle(id: string): void {
    clearTimeout(this.moving.get(id));
    this.moving.delete(id);
  }

  private draw(mark: Mark): void {
    const present = annotation.state.getAnnotation(mark.id) ?? this.create(mark);
    const points = mark.points_lps.map((point) => [...point]) as Types.Point3[];
    if (present.data.handles && String(present.data.handles.points) !== String(points)) {
      present.data.handles.points = points;
      present.invalidated = true;
    }
    present.data.label = mark.label;
    annotation.locking.setAnnotationLocked(mark.id, mark.state === "saved");
    const colour = COLOURS[mark.state];
    annotation.config.style.setAnnotationStyles(mark.id, {
      color: colour,
      colorLocked: colour,
      colorHighlighted: colour,
      colorSelected: colour,
      lineWidth: "1.5",
      lineWidthSelected: "2.5",
      showHandlesAlways: true,
      textBoxFontSize: "13px",
      textBoxColor: colour,
      textBoxColorLocked: colour,
      textBoxColorHighlighted: colour,
      textBoxColorSelected: colour,
    });
  }

  private create(mark: Mark): ToolTypes.Annotation {
    const corner = (): Types.Point3 => [0, 0, 0];
    const made: ToolTypes.Annotation = {
      annotationUID: mark.id,
      highlighted: false,
      invalidated: true,
      isLocked: false,
      isVisible: true,
      metadata: {
        toolName: LengthTool.toolName,
        FrameOfReferenceUID: this.source.id,
        referencedImageId: this.source.imageId(mark.plane, mark.index),
      },
      data: {
        label: mark.label,
        cachedStats: {},
        handles: {
          points: [],
          activeHandleIndex: null,
          textBox: {
            hasMoved: false,
            worldPosition: corner(),
            worldBoundingBox: { topLeft: corner(), topRight: corner(), bottomLeft: corner(), bottomRight: corner() },
          },
        },
      },
    };
    annotation.state.addAnnotation(made, this.source.id);
    return made;
  }
}

/** The words beside a length: its label and its value in mm. */
export function words(data: { label?: string; handles?: { points?: Types.Point3[] } }): string[] {
  const [p, q] = data.handles?.points ?? [];
  if (!p || !q) return [];
  const value = `${Math.hypot(q[0] - p[0], q[1] - p[1], q[2] - p[2]).toFixed(1)} mm`;
  return [data.label ? `${data.label}  ${value}` : value];
}

/** Whether points differ by more than the single precision in which the kernel keeps them. */
function moved(mark: Mark, points: readonly Types.Point3[]): boolean {
  const gap = (point: Types.Point3, index: number) =>
    Math.hypot(...point.map((value, axis) => value - (mark.points_lps[index]?.[axis] ?? Number.NaN)));
  return !points.every((point, index) => gap(point, index) < 1e-3);
}

function drawn(event: Event): ToolTypes.Annotation {
  return (event as CustomEvent<{ annotation: ToolTypes.Annotation }>).detail.annotation;
}
