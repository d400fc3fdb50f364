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
