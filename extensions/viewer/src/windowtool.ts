// Drag to change the window: right widens, down brightens less, for both planes of a viewer at once.
// cornerstone's own tool knows no width below one, which a PET in SUV needs.

import { BaseTool, type Types } from "@cornerstonejs/tools";

type Dragged = (canvasDelta: [number, number]) => void;

const listeners = new Map<HTMLElement, Dragged>();

export class WindowTool extends BaseTool {
  static override toolName = "ResearchpacsWindow";

  mouseDragCallback(event: Types.EventTypes.InteractionEventType): void {
    const { element, deltaPoints } = event.detail;
    const [x, y] = deltaPoints.canvas;
    listeners.get(element)?.([x, y]);
  }

  /** Who is told of drags on a viewport; undefined to end it. */
  static listen(element: HTMLElement, dragged: Dragged | undefined): void {
    if (dragged) listeners.set(element, dragged);
    else listeners.delete(element);
  }
}

/** A window after a drag: across the viewport's width doubles its own; down raises its center. */
export function dragged([center = 0, width = 1]: readonly number[], [x, y]: [number, number]): number[] {
  const perPixel = width / 300;
  // Whole numbers where one more or less is not seen.
  const tidy = width > 20 ? Math.round : (value: number) => value;
  return [tidy(center + y * perPixel), Math.max(tidy(width + x * perPixel), width / 100)];
}
