// What the kernel's traits say of the look of the pictures, and what the toolbar offers for it.

import type { Model } from "./model";
import type { Look } from "./planeview";
import type { ToolbarAbout } from "./toolbar";

/** How values become greys, or colours where they can be drawn. */
export function lookOf(model: Model, coloured: boolean): Look {
  const [center = 0, width = 1] = model.get("_window");
  const name = model.get("colormap");
  const map = coloured ? model.get("_colormaps").find((one) => one.name === name) : undefined;
  return { lower: center - width / 2, upper: center + width / 2, invert: model.get("_inverted"), map };
}

export function aboutOf(
  model: Model,
  known: { measures: boolean; coloured: boolean; hasPlanes: boolean; hasCine: boolean },
): ToolbarAbout {
  const isColour = model.get("_is_colour");
  return {
    title: model.get("_title"),
    note: model.get("_note"),
    presets: model.get("_presets"),
    colours: known.coloured && !isColour ? model.get("_colormaps").map((map) => map.name) : [],
    choices: model.get("_choices"),
    choice: model.get("_choice"),
    rate: model.get("_rate"),
    measures: known.measures,
    isColour,
    hasPlanes: known.hasPlanes,
    hasCine: known.hasCine,
  };
}
