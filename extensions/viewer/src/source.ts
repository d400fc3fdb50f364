// The planes of one view: fetched from the kernel by name, never by path, and described as cornerstone wants them.

import { cache, type Types, utilities } from "@cornerstonejs/core";
import type { PlaneGeometry } from "@researchpacs/protocol";
import type { Link } from "./link";
import type { Picture } from "./measure";
import { Queue } from "./queue";

const TIMEOUT_MS = 120_000;
const AHEAD = 6;
const scheme = "researchpacs";
const sources = new Map<string, PlaneSource>();

export type Pixels = Int16Array | Float32Array | Uint8Array;

export interface Place {
  source: PlaneSource;
  stack: PlaneGeometry;
  index: number;
  volume: number;
}

export class PlaneSource {
  private readonly queue = new Queue<Pixels>();
  private readonly ended = new AbortController();
  /** Planes on which some values are none: what they measure only the kernel can tell. */
  private readonly inexact = new Set<string>();

  constructor(
    readonly id: string,
    readonly stacks: ReadonlyMap<string, PlaneGeometry>,
    /** How many volumes there are of each plane. */
    private readonly volumes: number,
    readonly unit: string,
    readonly isColour: boolean,
    private readonly link: Link,
  ) {
    sources.set(id, this);
  }

  imageId(plane: string, index: number, volume: number): string {
    return `${scheme}:${this.id}/${plane}/${this.at(plane, index, volume)}`;
  }

  /** Of all planes, those of one volume after those of another. */
  imageIds(plane: string): string[] {
    const count = this.stacks.get(plane)?.count ?? 0;
    return Array.from({ length: count * this.volumes }, (_, n) => `${scheme}:${this.id}/${plane}/${n}`);
  }

  /** Place of a plane among `imageIds`. */
  at(plane: string, index: number, volume: number): number {
    return volume * (this.stacks.get(plane)?.count ?? 0) + index;
  }

  /** Have a plane in the cache, before all others. */
  fetch(plane: string, index: number, volume: number): Promise<Types.IImage> {
    return this.cached(plane, index, volume, true);
  }

  /** The values of a plane that is here; undefined for colour, and where the browser does not have them all. */
  picture(imageId: string, stack: PlaneGeometry): Picture | undefined {
    const pixels = cache.getImage(imageId)?.getPixelData();
    if (!pixels || pixels instanceof Uint8Array || this.inexact.has(imageId)) return undefined;
    const { rows, columns, row_spacing, column_spacing } = stack;
    return { values: pixels, rows, columns, spacing: [row_spacing, column_spacing], unit: this.unit };
  }

  /** Fetch the next planes in the direction of scrolling while nothing else is wanted. */
  prefetch(plane: string, index: number, volume: number, direction: number): void {
    this.queue.drop((key, urgent) => !urgent && key.startsWith(`${scheme}:${this.id}/${plane}/`));
    const count = this.stacks.get(plane)?.count ?? 0;
    for (let step = 1; step <= AHEAD; step++) {
      const next = index + direction * step;
      if (next < 0 || next >= count) break;
      this.cached(plane, next, volume, false).catch(() => {
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

  private async cached(plane: string, index: number, volume: number, urgent: boolean): Promise<Types.IImage> {
    const id = this.imageId(plane, index, volume);
    const stack = this.stacks.get(plane);
    if (!stack) throw new Error(`There is no ${plane} plane.`);
    const known = cache.getImageLoadObject(id);
    if (known) return (await known.promise) as Types.IImage;
    const pixels = await this.queue.add(id, urgent, () => this.ask(stack, index, volume));
    const made = image(id, stack, pixels);
    // Put there by hand: cornerstone's own loading leaves a failure without a listener.
    if (!cache.getImageLoadObject(id) && !this.ended.signal.aborted) cache.putImageSync(id, made);
    return made;
  }

  private async ask(stack: PlaneGeometry, index: number, volume: number): Promise<Pixels> {
    const request = { kind: "plane", id: crypto.randomUUID(), plane: stack.name, index, volume } as const;
    const { reply, buffers } = await this.link.ask(request, { timeoutMs: TIMEOUT_MS, signal: this.ended.signal });
    const [view] = buffers;
    if (reply.kind !== "plane" || !view) throw new Error("The kernel answered without pixels.");
    // A copy: the message's buffer need not start where a typed array may start.
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer;
    const pixels = new { int16: Int16Array, float32: Float32Array, rgb8: Uint8Array }[reply.dtype](bytes);
    const samples = reply.dtype === "rgb8" ? 3 : 1;
    if (!reply.exact) this.inexact.add(this.imageId(stack.name, index, volume));
    if (pixels.length !== stack.rows * stack.columns * samples)
      throw new Error("The kernel sent a plane of another size.");
    return pixels;
  }
}

/** cornerstone's image loader for all views of the page: asked only for what has left the cache meanwhile. */
export function loadImage(imageId: string): Types.IImageLoadObject {
  const place = parse(imageId);
  if (!place) return { promise: Promise.reject(new Error("This viewer is closed.")) };
  return { promise: place.source.fetch(place.stack.name, place.index, place.volume) as Promise<Types.IImage> };
}

/** cornerstone's metadata provider for all views of the page. */
export function metadata(module: string, imageId: unknown): unknown {
  const place = parse(imageId);
  if (!place) return undefined;
  const { stack, source, index } = place;
  switch (module) {
    case "imagePixelModule":
      if (source.isColour)
        return {
          bitsAllocated: 8,
          bitsStored: 8,
          highBit: 7,
          pixelRepresentation: 0,
          samplesPerPixel: 3,
          photometricInterpretation: "RGB",
          rows: stack.rows,
          columns: stack.columns,
        };
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

/** Which plane an image is; undefined for what is none of a viewer that is open. */
export function parse(imageId: unknown): Place | undefined {
  if (typeof imageId !== "string" || !imageId.startsWith(`${scheme}:`)) return undefined;
  const [id = "", plane = "", at = ""] = imageId.slice(scheme.length + 1).split("/");
  const source = sources.get(id);
  const stack = source?.stacks.get(plane);
  if (!source || !stack) return undefined;
  return { source, stack, index: Number(at) % stack.count, volume: Math.floor(Number(at) / stack.count) };
}

function image(imageId: string, stack: PlaneGeometry, pixels: Pixels): Types.IImage {
  const { rows, columns } = stack;
  const isColour = pixels instanceof Uint8Array;
  const samples = isColour ? 3 : 1;
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
    color: isColour,
    rgba: false,
    numberOfComponents: samples,
    rowPixelSpacing: stack.row_spacing,
    columnPixelSpacing: stack.column_spacing,
    invert: false,
    photometricInterpretation: isColour ? "RGB" : "MONOCHROME2",
    sizeInBytes: pixels.byteLength,
    dataType: pixels.constructor.name as Types.PixelDataTypedArrayString,
    voxelManager: utilities.VoxelManager.createImageVoxelManager({
      scalarData: pixels,
      width: columns,
      height: rows,
      numberOfComponents: samples,
    }),
  };
}
