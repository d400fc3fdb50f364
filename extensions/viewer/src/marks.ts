// Marks on the pictures: cornerstone draws and moves them, the kernel keeps them. What the kernel's list does not hold is
// taken off the picture again.

import { eventTarget, type Types } from "@cornerstonejs/core";
import type { Types as ToolTypes } from "@cornerstonejs/tools";
import { annotation, Enums, utilities } from "@cornerstonejs/tools";
import type { Mark } from "@researchpacs/protocol";
import type { Link } from "./link";
import { geometryOf, onPlane, valuesOf } from "./measure";
import { DRAWN_BY, lines, type MarkData, placed, pointsOf, SHAPES, type Shape, shapeOf } from "./shapes";
import { type PlaneSource, parse } from "./source";

const SETTLED_MS = 200;
const SAME_MM = 1e-3;
const POINTER = ["pointerdown", "pointermove", "pointerup", "pointercancel"] as const;
// Okabe-Ito: told apart with every kind of colour vision; the table says the same in words.
const COLOURS = { draft: "rgb(230, 159, 0)", saved: "rgb(86, 180, 233)" };

export class Marks {
  /** Marks on their way to the kernel, with the timer of a move that may go on. */
  private readonly moving = new Map<string, ReturnType<typeof setTimeout>>();
  /** Marks that are being drawn and have not been told of. */
  private readonly begun = new Set<string>();
  private readonly listeners: [string, (event: Event) => void][];
  private list: readonly Mark[] = [];
  private pressed = false;
  private creating = false;

  constructor(
    private readonly source: PlaneSource,
    private readonly link: Link,
    /** Viewports that are open. */
    private readonly viewportIds: () => string[],
  ) {
    this.listeners = [
      [Enums.Events.ANNOTATION_ADDED, (event) => this.onAdded(drawn(event))],
      [Enums.Events.ANNOTATION_COMPLETED, (event) => this.tell(drawn(event))],
      [Enums.Events.ANNOTATION_MODIFIED, (event) => this.onModified(drawn(event))],
    ];
    for (const [name, listener] of this.listeners) eventTarget.addEventListener(name, listener);
    for (const name of POINTER) window.addEventListener(name, this.onPointer, { capture: true });
  }

  /** Draw the kernel's list. */
  show(list: readonly Mark[]): void {
    this.list = list;
    const wanted = new Set(list.map((mark) => mark.id));
    for (const present of this.present()) {
      const id = present.annotationUID ?? "";
      if (!wanted.has(id) && !this.begun.has(id)) annotation.state.removeAnnotation(id);
    }
    for (const mark of list) if (mark.plane && !this.moving.has(mark.id)) this.draw(mark);
    utilities.triggerAnnotationRenderForViewportIds(this.viewportIds());
  }

  /** The selected mark, if there is one. */
  selected(): Mark | undefined {
    const chosen = new Set(annotation.selection.getAnnotationsSelected());
    return this.list.find((mark) => chosen.has(mark.id));
  }

  select(id: string): void {
    if (annotation.state.getAnnotation(id)) annotation.selection.setAnnotationSelected(id, true, false);
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
    for (const name of POINTER) window.removeEventListener(name, this.onPointer, { capture: true });
    for (const timer of this.moving.values()) clearTimeout(timer);
    for (const present of this.present()) annotation.state.removeAnnotation(present.annotationUID ?? "");
  }

  private present(): ToolTypes.Annotation[] {
    return annotation.state.getAllAnnotations().filter((one) => this.place(one) !== undefined);
  }

  private place(one: ToolTypes.Annotation): { plane: string; index: number; volume: number } | undefined {
    const place = parse(one.metadata?.referencedImageId);
    if (place?.source !== this.source) return undefined;
    return { plane: place.stack.name, index: place.index, volume: place.volume };
  }

  private onAdded(one: ToolTypes.Annotation): void {
    if (!this.creating && one.annotationUID && this.place(one)) this.begun.add(one.annotationUID);
  }

  private onModified(one: ToolTypes.Annotation): void {
    const id = one.annotationUID ?? "";
    const mark = this.list.find((mark) => mark.id === id);
    const shape = shapeOf(one);
    // cornerstone also tells of a modification when it has only computed the values anew.
    if (!mark || !shape || !this.place(one) || !moved(mark, pointsOf(shape, one.data as MarkData))) return;
    this.await(id, one);
  }

  /** Tell of a move once it is over: one drag, however slow, is one change to undo. */
  private await(id: string, one: ToolTypes.Annotation): void {
    this.settle(id);
    const over = () => (this.pressed ? this.await(id, one) : this.tell(one));
    this.moving.set(id, setTimeout(over, SETTLED_MS));
  }

  private readonly onPointer = (event: PointerEvent): void => {
    this.pressed = event.buttons !== 0;
  };

  private tell(one: ToolTypes.Annotation): void {
    const place = this.place(one);
    const shape = shapeOf(one);
    if (!place || !shape || !one.annotationUID) return;
    this.settle(one.annotationUID);
    this.begun.delete(one.annotationUID);
    const points = pointsOf(shape, one.data as MarkData);
    this.link.send({ kind: "mark", id: one.annotationUID, shape, ...place, points_lps: points });
  }

  private settle(id: string): void {
    clearTimeout(this.moving.get(id));
    this.moving.delete(id);
  }

  private draw(mark: Mark): void {
    const shape = SHAPES.find((one) => one === mark.shape);
    if (!shape) return;
    const present = annotation.state.getAnnotation(mark.id) ?? this.create(mark, shape);
    const data = present.data as MarkData;
    const points = mark.points_lps.map((point) => [...point]) as Types.Point3[];
    if (moved(mark, pointsOf(shape, data))) {
      if (shape === "polygon") Object.assign(data, placed(shape, points));
      else if (data.handles) data.handles.points = points;
      present.invalidated = true;
    }
    data.label = mark.label;
    data.told = { points: String(pointsOf(shape, data)), quantities: mark.quantities };
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

  private create(mark: Mark, shape: Shape): ToolTypes.Annotation {
    const corner = (): Types.Point3 => [0, 0, 0];
    const points = mark.points_lps.map((point) => [...point]) as Types.Point3[];
    const made: ToolTypes.Annotation = {
      annotationUID: mark.id,
      highlighted: false,
      invalidated: true,
      isLocked: false,
      isVisible: true,
      metadata: {
        toolName: DRAWN_BY[shape].toolName,
        FrameOfReferenceUID: this.source.id,
        referencedImageId: this.source.imageId(mark.plane, mark.index, mark.volume),
      },
      data: {
        label: mark.label,
        cachedStats: {},
        ...placed(shape, points),
        handles: {
          points: shape === "polygon" ? [] : points,
          activeHandleIndex: null,
          textBox: {
            hasMoved: false,
            worldPosition: corner(),
            worldBoundingBox: { topLeft: corner(), topRight: corner(), bottomLeft: corner(), bottomRight: corner() },
          },
        },
      },
    };
    this.creating = true;
    try {
      annotation.state.addAnnotation(made, this.source.id);
    } finally {
      this.creating = false;
    }
    return made;
  }
}

/** The words beside marks of a shape: at rest the kernel's numbers, on the way what the same rule gives here. */
export function wordsOf(shape: Shape): (data: MarkData, targetId: string | string[]) => string[] {
  return (data, targetId) => {
    const imageId = ((Array.isArray(targetId) ? targetId[0] : targetId) ?? "").replace(/^imageId:/, "");
    const place = parse(imageId);
    if (!place) return [];
    const points = pointsOf(shape, data);
    if (data.told?.points === String(points)) return lines(data.label ?? "", data.told.quantities);
    const flat = points.map((point) => onPlane(place.stack, place.index, point));
    const picture = place.source.picture(imageId, place.stack);
    return lines(data.label ?? "", [...geometryOf(shape, flat), ...(picture ? valuesOf(shape, flat, picture) : [])]);
  };
}

/** Whether points differ by more than the single precision in which the kernel keeps them. */
function moved(mark: Mark, points: readonly number[][]): boolean {
  if (points.length !== mark.points_lps.length) return true;
  const gap = (point: readonly number[], index: number) =>
    Math.hypot(...point.map((value, axis) => value - (mark.points_lps[index]?.[axis] ?? Number.NaN)));
  return !points.every((point, index) => gap(point, index) < SAME_MM);
}

function drawn(event: Event): ToolTypes.Annotation {
  return (event as CustomEvent<{ annotation: ToolTypes.Annotation }>).detail.annotation;
}
