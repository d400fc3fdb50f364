// What the viewer's two halves say to each other; `src/researchpacs/viewer/_messages.py` is the same, name for name.
// A request carries an `id` that is unique on its page; the answer names it as `request`. Points are (x, y, z) LPS mm.
// The kernel keeps the list of marks; the browser asks for changes and draws what the list says.

/** Send the viewer's JavaScript. */
export interface BundleRequest {
  kind: "bundle";
  id: string;
}

/** Send the pixels of one plane. */
export interface PlaneRequest {
  kind: "plane";
  id: string;
  plane: string;
  index: number;
  volume: number;
}

/** The plane asked for under this id is no longer wanted. */
export interface CancelRequest {
  kind: "cancel";
  id: string;
}

/** A shape was drawn or changed: add it, or change the draft of this id. */
export interface MarkRequest {
  kind: "mark";
  id: string;
  shape: string;
  plane: string;
  index: number;
  volume: number;
  points_lps: number[][];
}

/** Name a draft. */
export interface LabelRequest {
  kind: "label";
  id: string;
  label: string;
}

/** Remove a draft. */
export interface UnmarkRequest {
  kind: "unmark";
  id: string;
}

/** Take the last change of the marks back. */
export interface UndoRequest {
  kind: "undo";
  id: string;
}

/** Make the change that was taken back last once more. */
export interface RedoRequest {
  kind: "redo";
  id: string;
}

/** Show another one of the choices. */
export interface ChooseRequest {
  kind: "choose";
  id: string;
  choice: number;
}

/** Save all drafts. */
export interface SaveRequest {
  kind: "save";
  id: string;
}

/** The JavaScript follows as one buffer, compressed with gzip. */
export interface BundleReply {
  kind: "bundle";
  request: string;
}

/** The pixels follow as one buffer, row after row, little endian, in the volume's unit; or as bytes of colour. */
export interface PlaneReply {
  kind: "plane";
  request: string;
  dtype: "int16" | "float32" | "rgb8";
  exact: boolean;
}

/** So many drafts were saved. */
export interface SaveReply {
  kind: "save";
  request: string;
  saved: number;
}

/** The request failed; one sentence for the reader. */
export interface ErrorReply {
  kind: "error";
  request: string;
  message: string;
}

/** A stack of planes, as an Image Plane (PS3.3 C.7.6.2). */
export interface PlaneGeometry {
  name: string;
  count: number;
  rows: number;
  columns: number;
  row_spacing: number;
  column_spacing: number;
  row_cosines: number[];
  column_cosines: number[];
  origin: number[];
  step: number[];
  axis: string;
  location: number;
  location_step: number;
  oriented: boolean;
  calibrated: boolean;
}

/** A window by name. */
export interface Preset {
  name: string;
  center: number;
  width: number;
}

/** Colours by name: red, green, blue from 0 to 1, of even steps from black to white. */
export interface ColourMap {
  name: string;
  colours: number[];
}

/** One number of a mark. */
export interface Quantity {
  name: string;
  value: number;
  unit: string;
}

/** One row of the table; of one that lies on no plane shown here `plane` is empty. */
export interface Mark {
  id: string;
  shape: string;
  plane: string;
  index: number;
  volume: number;
  points_lps: number[][];
  label: string;
  quantities: Quantity[];
  state: "draft" | "saved";
}

/** The synced traits of the widget. */
export interface ViewerState {
  _bundle: string;
  _scene: string;
  _title: string;
  _note: string;
  _layout: string;
  _choices: string[];
  _choice: number;
  _modality: string;
  _units: string;
  _is_colour: boolean;
  _measures: boolean;
  _stacks: PlaneGeometry[];
  _repeats: string[];
  _presets: Preset[];
  _colormaps: ColourMap[];
  _rate: number;
  _window: number[];
  _inverted: boolean;
  _starts_inverted: boolean;
  _slices: Record<string, number>;
  volume: number;
  _marks: Mark[];
  _can_save: boolean;
  colormap: string;
  plane: string;
  zoom: number;
  tool: string;
}

export type Request =
  | BundleRequest
  | PlaneRequest
  | CancelRequest
  | MarkRequest
  | LabelRequest
  | UnmarkRequest
  | UndoRequest
  | RedoRequest
  | ChooseRequest
  | SaveRequest;

export type Reply = BundleReply | PlaneReply | SaveReply | ErrorReply;

/** Read what the kernel sent; undefined for what is not ours. */
export function asReply(content: unknown): Reply | undefined {
  if (typeof content !== "object" || content === null) return undefined;
  const reply = content as Record<string, unknown>;
  if (typeof reply.request !== "string") return undefined;
  switch (reply.kind) {
    case "bundle":
      return { kind: reply.kind, request: reply.request };
    case "plane":
      if (reply.dtype !== "int16" && reply.dtype !== "float32" && reply.dtype !== "rgb8") return undefined;
      return { kind: reply.kind, request: reply.request, dtype: reply.dtype, exact: reply.exact === true };
    case "save":
      if (typeof reply.saved !== "number") return undefined;
      return { kind: reply.kind, request: reply.request, saved: reply.saved };
    case "error":
      if (typeof reply.message !== "string") return undefined;
      return { kind: reply.kind, request: reply.request, message: reply.message };
    default:
      return undefined;
  }
}
