// The widget: `render` draws one viewer into a cell and returns how to end it.

import type { Model } from "./model";
import { ViewerCell } from "./viewer";

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const cell = new ViewerCell(model, el);
  return () => cell.dispose();
}

export default { render };
