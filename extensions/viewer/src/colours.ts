// Colour maps as the kernel sends them, known to cornerstone under names of our own, upright and inverted.

import { utilities } from "@cornerstonejs/core";
import type { ColourMap } from "@researchpacs/protocol";

const known = new Set<string>();

/** The name under which cornerstone knows a colour map. */
export function colourMap(map: ColourMap, inverted: boolean): string {
  const name = `researchpacs-${map.name}${inverted ? "-inverted" : ""}`;
  if (!known.has(name)) {
    const steps = map.colours.length / 3;
    const points = Array.from({ length: steps }, (_, n) => {
      const at = 3 * (inverted ? steps - 1 - n : n);
      return [n / (steps - 1), ...map.colours.slice(at, at + 3)];
    });
    utilities.colormap.registerColormap({ ColorSpace: "RGB", Name: name, RGBPoints: points.flat() });
    known.add(name);
  }
  return name;
}
