// Where other planes cut a plane: thin lines over the picture, in the colour of the plane they stand for.

import type { PlaneGeometry } from "@researchpacs/protocol";

type Vector = [number, number, number];
const SPACE = "http://www.w3.org/2000/svg";
const FAR_MM = 2000;

/** Of the Okabe-Ito palette, none of them a mark's. */
export const COLOURS: Record<string, string> = {
  axial: "#cc79a7",
  coronal: "#009e73",
  sagittal: "#f0e442",
  z: "#cc79a7",
  y: "#009e73",
  x: "#f0e442",
};

export interface Cut {
  name: string;
  from: Vector;
  to: Vector;
}

/** The line in which plane `index` of one stack cuts plane `otherIndex` of another; undefined where they are parallel. */
export function cut(stack: PlaneGeometry, index: number, other: PlaneGeometry, otherIndex: number): Cut | undefined {
  const [n, m] = [normal(stack), normal(other)];
  const direction = cross(n, m);
  const sine = Math.hypot(...direction);
  if (sine < 1e-3) return undefined;
  // The point on both planes that is nearest to the middle of the first one.
  const middle = centre(stack, index);
  const gap = dot(subtract(centre(other, otherIndex), middle), m);
  const towards = cross(direction, n);
  const point = add(middle, towards, gap / dot(towards, m));
  const unit = direction.map((value) => value / sine) as Vector;
  return { name: other.name, from: add(point, unit, -FAR_MM), to: add(point, unit, FAR_MM) };
}

/** The plane of a stack that is nearest to a point. */
export function nearest(stack: PlaneGeometry, point: Vector): number {
  const n = normal(stack);
  return Math.round(dot(subtract(point, stack.origin as Vector), n) / dot(stack.step as Vector, n));
}

export class CrossLines {
  readonly root = document.createElementNS(SPACE, "svg");
  private readonly lines = new Map<string, SVGLineElement>();

  constructor() {
    this.root.setAttribute("class", "rp-lines");
    this.root.setAttribute("aria-hidden", "true");
  }

  show(cuts: readonly Cut[], toCanvas: (point: Vector) => readonly [number, number]): void {
    for (const [name, line] of this.lines) if (!cuts.some((one) => one.name === name)) line.remove();
    for (const one of cuts) {
      const line = this.lines.get(one.name) ?? this.create(one.name);
      const [[x1, y1], [x2, y2]] = [toCanvas(one.from), toCanvas(one.to)];
      for (const [key, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(key, value.toFixed(1));
      if (!line.isConnected) this.root.append(line);
    }
  }

  private create(name: string): SVGLineElement {
    const line = document.createElementNS(SPACE, "line");
    line.setAttribute("stroke", COLOURS[name] ?? "#ffffff");
    line.dataset.cuts = name;
    this.lines.set(name, line);
    return line;
  }
}

function normal(stack: PlaneGeometry): Vector {
  return cross(stack.row_cosines as Vector, stack.column_cosines as Vector);
}

function centre(stack: PlaneGeometry, index: number): Vector {
  const down = ((stack.rows - 1) / 2) * stack.row_spacing;
  const along = ((stack.columns - 1) / 2) * stack.column_spacing;
  const first = add(stack.origin as Vector, stack.step as Vector, index);
  return add(add(first, stack.column_cosines as Vector, down), stack.row_cosines as Vector, along);
}

function add(point: Vector, direction: Vector, times: number): Vector {
  return point.map((value, k) => value + times * (direction[k] ?? 0)) as Vector;
}

function subtract(p: Vector, q: Vector): Vector {
  return p.map((value, k) => value - (q[k] ?? 0)) as Vector;
}

function dot(p: Vector, q: Vector): number {
  return p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
}

function cross(p: Vector, q: Vector): Vector {
  return [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
}
