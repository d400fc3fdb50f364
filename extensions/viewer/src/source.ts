// The planes of one view: fetched from the kernel by name, never by path, and described as cornerstone wants them.

import { cache, type Types, utilities } from "@cornerstonejs/core";
import type { PlaneGeometry } from "@researchpacs/protocol";
import type { Link } from "./link";
import { Queue } from "./queue";

const TIMEOUT_MS = 120_000;
const AHEAD = 6;
const scheme = "researchpacs";
const sources = new Map<string, PlaneSource>();

type Pixels = Int16Array | Float32Array;

export class PlaneSource {
  private readonly queue = new Queue<Pixels>();
  private readonly ended = new AbortController();

  constructor(
    readonly id: string,
    readonly stacks: ReadonlyMap<string, PlaneGeometry>,
    private readonly link: Link,
  ) {
    sources.set(id, this);
  }

  imageId(plane: string, index: number): string {
    return `${scheme}:${this.id}/${plane}/${index}`;
  }

  imageIds(plane: string): string[] {
    return Array.from({ length: this.stacks.get(plane)?.count ?? 0 }, (_, index) => this.imageId(plane, index));
  }

  /** Have a plane in the cache, before all others. */
  fetch(plane: string, index: number): Promise<Types.IImage> {
    return this.cached(plane, index, true);
  }

  /** Fetch the next planes in the direction of scrolling while nothing else is wanted. */
  prefetch(plane: string, index: number, direction: number): void {
    this.queue.drop((key, urgent) => !urgent && key.startsWith(`${scheme}:${this.id}/${plane}/`));
    const count = this.stacks.get(plane)?.count ?? 0;
    for (let step = 1; step <= AHEAD; step++) {
      const next = index + direction * step;
      if (next < 0 || next >= count) break;
      this.cached(plane, next, false).catch(() => {
        // A plane that could not be fetched ahead is asked for again, and its failure told, when it is to be shown.
      });
    }
  }

  dispose(): void {
    sources.delete(this.id);
    this.ended.abort();
    this.queue.drop(() => true);
    for (const plane of this.stacks.keys()) {
      for (const id of this.imageIds(plane)) if (cache.getImageLoadObject(id)) cache.removeImageLoadObject(id);
    }
  }

  private async cached(plane: string, index: number, urgent: boolean): Promise<Types.IImage> {
    const id = this.imageId(plane, index);
    const stack = this.stacks.get(plane);
    if (!stack) throw new Error(`There is no ${plane} plane.`);
    const known = cache.getImageLoadObject(id);
    if (known) return (await known.promise) as Types.IImage;
    const pixels = await this.queue.add(id, urgent, () => this.ask(stack, index));
    const made = image(id, stack, pixels);
    // Put there by hand: cornerstone's own loading leaves a failure without a listener.
    if (!cache.getImageLoadObject(id) && !this.ended.signal.aborted) cache.putImageSync(id, made);
    return made;
  }

  private async ask(stack: PlaneGeometry, index: number): Promise<Pixels> {
    const request = { kind: "plane", id: crypto.randomUUID(), plane: stack.name, index } as const;
    const { reply, buffers } = await this.link.ask(request, { timeoutMs: TIMEOUT_MS, signal: this.ended.signal });
    const [view] = buffers;
    if (reply.kind !== "plane" || !view) throw new Error("The kernel answered without pixels.");
    // A copy: the message's buffer need not start where a typed array may start.
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer;
    const pixels = reply.dtype === "int16" ? new Int16Array(bytes) : new Float32Array(bytes);
    if (pixels.length !== stack.rows * stack.columns) throw new Error("The kernel sent a plane of another size.");
    return pixels;
  }
}

/** cornerstone's image loader for all views of the page: asked only for what has left the cache meanwhile. */
export function loadImage(imageId: string): Types.IImageLoadObject {
  const place = parse(imageId);
  if (!place) return { promise: Promise.reject(new Error("This viewer is closed.")) };
  return { promise: place.source.fetch(place.stack.name, place.index) as Promise<Types.IImage> };
}

/** cornerstone's metadata provider for all views of the page. */
export function metadata(module: string, imageId: unknown): unknown {
  const place = parse(imageId);
  if (!place) return undefined;
  const { stack, source, index } = place;
  switch (module) {
    case "imagePixelModule":
      return {
        bitsAllocated: 16,
        bitsStored: 16,
        highBit: 15,
        pixelRepresentation: 1,
        samplesPerPixel: 1,
        photometricInterpretation: "MONOCHROME2",
        rows: stack.rows,
        columns: stack.columns,
      };
    case "imagePlaneModule":
      return {
        // Marks belong to one view: two views of one volume draw their own.
        frameOfReferenceUID: source.id,
        rows: stack.rows,
        columns: stack.columns,
        imageOrientationPatient: [...stack.row_cosines, ...stack.column_cosines],
        rowCosines: stack.row_cosines,
        columnCosines: stack.column_cosines,
        imagePositionPatient: stack.origin.map((value, axis) => value + index * (stack.step[axis] ?? 0)),
        sliceThickness: Math.hypot(...stack.step),
        spacingBetweenSlices: Math.hypot(...stack.step),
        pixelSpacing: [stack.row_spacing, stack.column_spacing],
        rowPixelSpacing: stack.row_spacing,
        columnPixelSpacing: stack.column_spacing,
        usingDefaultValues: false,
      };
    case "generalSeriesModule":
      // Not the real modality: cornerstone would look for a PET's scaling, but values come rescaled from the kernel.
      return { modality: "OT", seriesInstanceUID: `${source.id}/${stack.name}` };
    case "modalityLutModule":
      return { rescaleSlope: 1, rescaleIntercept: 0 };
    default:
      return undefined;
  }
}

function parse(imageId: unknown): { source: PlaneSource; stack: PlaneGeometry; index: number } | undefined {
  if (typeof imageId !== "string" || !imageId.startsWith(`${scheme}:`)) return undefined;
  const [id = "", plane = "", index = ""] = imageId.slice(scheme.length + 1).split("/");
  const source = sources.get(id);
  const stack = source?.stacks.get(plane);
  return source && stack ? { source, stack, index: Number(index) } : undefined;
}

function image(imageId: string, stack: PlaneGeometry, pixels: Pixels): Types.IImage {
  const { rows, columns } = stack;
  let lowest = pixels[0] ?? 0;
  let highest = lowest;
  for (const value of pixels) {
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  return {
    imageId,
    minPixelValue: lowest,
    maxPixelValue: highest,
    slope: 1,
    intercept: 0,
    windowCenter: (lowest + highest) / 2,
    windowWidth: Math.max(highest - lowest, 1),
    voiLUTFunction: "LINEAR_EXACT" as Types.IImage["voiLUTFunction"],
    getPixelData: () => pixels,
    getCanvas: () => document.createElement("canvas"),
    rows,
    columns,
    height: rows,
    width: columns,
    color: false,
    rgba: false,
    numberOfComponents: 1,
    rowPixelSpacing: stack.row_spacing,
    columnPixelSpacing: stack.column_spacing,
    invert: false,
    photometricInterpretation: "MONOCHROME2",
    sizeInBytes: pixels.byteLength,
    dataType: pixels instanceof Int16Array ? "Int16Array" : "Float32Array",
    voxelManager: utilities.VoxelManager.createImageVoxelManager({
      scalarData: pixels,
      width: columns,
      height: rows,
      numberOfComponents: 1,
    }),
  };
}
