// What a shape on a plane measures; `src/researchpacs/viewer/_measures.py` does the same, operation for operation, and
// says which pixels belong to a shape. Points are (u, v) in mm from the centre of the plane's first pixel: u along a row,
// v along a column.

import type { PlaneGeometry, Quantity } from "@researchpacs/protocol";

export type UV = readonly [number, number];
export const AREAS = ["ellipse", "circle", "rectangle", "polygon"];

export interface Picture {
  values: ArrayLike<number>;
  rows: number;
  columns: number;
  /** mm between rows, between columns. */
  spacing: readonly [number, number];
  unit: string;
}

/** (u, v) of a point in space, dropped on a plane along the normal. */
export function onPlane(stack: PlaneGeometry, index: number, point: readonly number[]): UV {
  const d = (k: number) => at(point, k) - (at(stack.origin, k) + index * at(stack.step, k));
  const along = (axis: readonly number[]) => d(0) * at(axis, 0) + d(1) * at(axis, 1) + d(2) * at(axis, 2);
  return [along(stack.row_cosines), along(stack.column_cosines)];
}

/** The numbers of a shape that need no pixel. */
export function geometryOf(kind: string, points: readonly UV[]): Quantity[] {
  const p = (k: number): UV => points[k] ?? [Number.NaN, Number.NaN];
  switch (kind) {
    case "length":
      return [{ name: "length", value: distance(p(0), p(1)), unit: "mm" }];
    case "angle":
      return [{ name: "angle", value: angle(p(1), p(0), p(1), p(2)), unit: "deg" }];
    case "cobb": {
      const wide = angle(p(0), p(1), p(2), p(3));
      return [{ name: "angle", value: Math.min(wide, 180 - wide), unit: "deg" }];
    }
    case "bidirectional": {
      const [one, other] = [distance(p(0), p(1)), distance(p(2), p(3))];
      return [
        { name: "long axis", value: Math.max(one, other), unit: "mm" },
        { name: "short axis", value: Math.min(one, other), unit: "mm" },
      ];
    }
    default:
      return AREAS.includes(kind) ? [{ name: "area", value: area(kind, points), unit: "mm2" }] : [];
  }
}

/** The numbers of the values beneath a shape; none where no pixel belongs to it. */
export function valuesOf(kind: string, points: readonly UV[], picture: Picture): Quantity[] {
  if (kind === "probe") {
    const [u, v] = points[0] ?? [Number.NaN, Number.NaN];
    const row = Math.floor(v / picture.spacing[0] + 0.5);
    const column = Math.floor(u / picture.spacing[1] + 0.5);
    if (!(row >= 0 && row < picture.rows && column >= 0 && column < picture.columns)) return [];
    return [{ name: "value", value: at(picture.values, row * picture.columns + column), unit: picture.unit }];
  }
  if (!AREAS.includes(kind)) return [];
  let [count, sum, least, most] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const found: number[] = [];
  forEachInside(kind, points, picture, (index) => {
    const value = at(picture.values, index);
    found.push(value);
    count += 1;
    sum += value;
    least = Math.min(least, value);
    most = Math.max(most, value);
  });
  if (!count) return [];
  const mean = sum / count;
  let squares = 0;
  for (const value of found) squares += (value - mean) * (value - mean);
  const named = { mean, sd: Math.sqrt(squares / count), min: least, max: most };
  return Object.entries(named).map(([name, value]) => ({ name, value, unit: picture.unit }));
}

/** Visit the pixels that belong to a shape, row after row. */
export function forEachInside(
  kind: string,
  points: readonly UV[],
  picture: Omit<Picture, "values" | "unit">,
  visit: (index: number) => void,
): void {
  const edges = kind === "rectangle" ? corners(points) : points;
  const [[left, top], [right, bottom]] = box(kind, edges);
  const [firstRow, lastRow] = range(top, bottom, picture.spacing[0], picture.rows);
  const [firstColumn, lastColumn] = range(left, right, picture.spacing[1], picture.columns);
  const belongs = rule(kind, edges);
  for (let row = firstRow; row <= lastRow; row++)
    for (let column = firstColumn; column <= lastColumn; column++)
      if (belongs(column * picture.spacing[1], row * picture.spacing[0])) visit(row * picture.columns + column);
}

function rule(kind: string, points: readonly UV[]): (u: number, v: number) => boolean {
  if (kind === "circle") return inCircle(points);
  return kind === "ellipse" ? inEllipse(points) : inPolygon(points);
}

function inCircle(points: readonly UV[]): (u: number, v: number) => boolean {
  const [[cu, cv], [ru, rv]] = points as [UV, UV];
  const square = (ru - cu) * (ru - cu) + (rv - cv) * (rv - cv);
  return (u, v) => (u - cu) * (u - cu) + (v - cv) * (v - cv) <= square;
}

function inEllipse(points: readonly UV[]): (u: number, v: number) => boolean {
  const [cu, cv, au, av, bu, bv] = ellipse(points);
  return (u, v) => {
    const along = ((u - cu) * au + (v - cv) * av) / (au * au + av * av);
    const across = ((u - cu) * bu + (v - cv) * bv) / (bu * bu + bv * bv);
    return along * along + across * across <= 1;
  };
}

function inPolygon(points: readonly UV[]): (u: number, v: number) => boolean {
  return (u, v) => {
    let within = false;
    let [pu, pv] = points[points.length - 1] as UV;
    for (const [qu, qv] of points) {
      if (pv !== qv && pv > v !== qv > v && u < ((pu - qu) * (v - qv)) / (pv - qv) + qu) within = !within;
      [pu, pv] = [qu, qv];
    }
    return within;
  };
}

/** Centre, and half of each axis. */
function ellipse(points: readonly UV[]): [number, number, number, number, number, number] {
  const [[pu, pv], [qu, qv], [ru, rv], [su, sv]] = points as [UV, UV, UV, UV];
  return [(pu + qu) / 2, (pv + qv) / 2, (qu - pu) / 2, (qv - pv) / 2, (su - ru) / 2, (sv - rv) / 2];
}

/** Upper left and lower right corner of what holds the shape, a thousandth of a mm wider. */
function box(kind: string, points: readonly UV[]): [UV, UV] {
  if (kind === "circle") {
    const radius = distance(points[0] as UV, points[1] as UV);
    return widened(points[0] as UV, radius, radius);
  }
  if (kind === "ellipse") {
    const [cu, cv, au, av, bu, bv] = ellipse(points);
    return widened([cu, cv], Math.sqrt(au * au + bu * bu), Math.sqrt(av * av + bv * bv));
  }
  const us = points.map(([u]) => u);
  const vs = points.map(([, v]) => v);
  return [
    [Math.min(...us) - 1e-3, Math.min(...vs) - 1e-3],
    [Math.max(...us) + 1e-3, Math.max(...vs) + 1e-3],
  ];
}

function widened([cu, cv]: UV, u: number, v: number): [UV, UV] {
  return [
    [cu - u - 1e-3, cv - v - 1e-3],
    [cu + u + 1e-3, cv + v + 1e-3],
  ];
}

function range(low: number, high: number, step: number, count: number): [number, number] {
  return [Math.max(Math.ceil(low / step), 0), Math.min(Math.floor(high / step), count - 1)];
}

/** The corners of a rectangle in the order of its outline. */
export function corners(points: readonly UV[]): UV[] {
  const [a, ...others] = points as [UV, UV, UV, UV];
  const diagonal = others.reduce((best, one) => (distance(a, one) > distance(a, best) ? one : best));
  const [first, second] = others.filter((one) => one !== diagonal) as [UV, UV];
  return [a, first, diagonal, second];
}

function area(kind: string, points: readonly UV[]): number {
  if (kind === "circle") {
    const [[cu, cv], [ru, rv]] = points as [UV, UV];
    return Math.PI * ((ru - cu) * (ru - cu) + (rv - cv) * (rv - cv));
  }
  if (kind === "ellipse") {
    const [, , au, av, bu, bv] = ellipse(points);
    return Math.PI * Math.sqrt(au * au + av * av) * Math.sqrt(bu * bu + bv * bv);
  }
  const edges = kind === "rectangle" ? corners(points) : points;
  let twice = 0;
  let [pu, pv] = edges[edges.length - 1] as UV;
  for (const [qu, qv] of edges) {
    twice += pu * qv - qu * pv;
    [pu, pv] = [qu, qv];
  }
  return Math.abs(twice) / 2;
}

function distance([pu, pv]: UV, [qu, qv]: UV): number {
  return Math.sqrt((pu - qu) * (pu - qu) + (pv - qv) * (pv - qv));
}

/** Between p to q and r to s, 0 to 180 degrees. */
function angle(p: UV, q: UV, r: UV, s: UV): number {
  const [au, av, bu, bv] = [q[0] - p[0], q[1] - p[1], s[0] - r[0], s[1] - r[1]];
  return (Math.abs(Math.atan2(au * bv - av * bu, au * bu + av * bv)) * 180) / Math.PI;
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? Number.NaN;
}
