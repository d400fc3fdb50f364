// Our shapes and cornerstone's tools: which tool draws which, where it keeps the points, and the words beside a mark.

import type { Types } from "@cornerstonejs/core";
import type { Types as ToolTypes } from "@cornerstonejs/tools";
import {
  AngleTool,
  BidirectionalTool,
  CircleROITool,
  CobbAngleTool,
  EllipticalROITool,
  LengthTool,
  PlanarFreehandROITool,
  ProbeTool,
  RectangleROITool,
} from "@cornerstonejs/tools";
import type { Mark, Quantity } from "@researchpacs/protocol";

export const DRAWN_BY = {
  length: LengthTool,
  angle: AngleTool,
  cobb: CobbAngleTool,
  bidirectional: BidirectionalTool,
  ellipse: EllipticalROITool,
  circle: CircleROITool,
  rectangle: RectangleROITool,
  polygon: PlanarFreehandROITool,
  probe: ProbeTool,
};
export type Shape = keyof typeof DRAWN_BY;
export const SHAPES = Object.keys(DRAWN_BY) as Shape[];

export interface MarkData {
  label?: string;
  handles?: { points?: Types.Point3[]; activeHandleIndex?: number | null };
  contour?: { polyline?: Types.Point3[] };
  /** What the kernel says of these points. */
  told?: { points: string; quantities: readonly Quantity[] };
}

export function shapeOf(one: ToolTypes.Annotation): Shape | undefined {
  return SHAPES.find((shape) => DRAWN_BY[shape].toolName === one.metadata?.toolName);
}

/** The points of a mark as the protocol has them. */
export function pointsOf(shape: Shape, data: MarkData): number[][] {
  const points = shape === "polygon" ? data.contour?.polyline : data.handles?.points;
  const count = shape === "circle" ? 2 : undefined;
  return (points ?? []).slice(0, count).map((point) => Array.from(point));
}

/** Where cornerstone's tool looks for the points. */
export function placed(shape: string, points: Types.Point3[]): Record<string, unknown> {
  return shape === "polygon" ? { contour: { polyline: points, closed: true } } : {};
}

/** The lines of text beside a mark. */
export function lines(label: string, quantities: readonly Quantity[]): string[] {
  const [first, ...more] = quantities;
  if (!first) return label ? [label] : [];
  const by = (name: string) => more.find((one) => one.name === name);
  const [short, mean, sd, least, most] = ["short axis", "mean", "sd", "min", "max"].map(by);
  const said = [short ? `${label}  ${number(first)} × ${told(short)}` : `${label}  ${told(first)}`.trim()];
  if (mean && sd) said.push(`mean ${number(mean)}  sd ${told(sd)}`);
  if (least && most) said.push(`min ${number(least)}  max ${told(most)}`);
  return said;
}

/** A mark's numbers in one line, for the table. */
export function summary(mark: Mark): string {
  const [first, ...others] = lines("", mark.quantities);
  return [first?.trim() ?? "", ...others].join("  ·  ");
}

function told(one: Quantity): string {
  const units: Record<string, string> = { deg: "°", mm2: " mm²", "": "", "1": "" };
  return `${number(one)}${units[one.unit] ?? ` ${one.unit}`}`;
}

function number({ value, unit }: Quantity): string {
  if (unit === "mm" || unit === "deg" || unit === "mm2") return value.toFixed(1);
  return Math.abs(value) >= 100 || Number.isInteger(value)
    ? value.toFixed(1).replace(/\.0$/, "")
    : value.toPrecision(3);
}
