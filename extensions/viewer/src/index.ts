// The widget: `render` draws one viewer into a cell and returns how to end it.

import { element } from "./dom";
import type { Model } from "./model";
import { text } from "./text";
import { ViewerCell } from "./viewer";

function open(model: Model, host: HTMLElement): () => void {
  try {
    const cell = new ViewerCell(model, host);
    return () => cell.dispose();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const problem = element("div", { class: "rp-failed", role: "alert" }, text.failed(reason));
    host.append(problem);
    return () => problem.remove();
  }
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  let close = open(model, el);
  // Another series in the same cell: other planes, another picture.
  const again = () => {
    close();
    close = open(model, el);
  };
  model.on("change:_scene", again);
  return () => {
    model.off("change:_scene", again);
    close();
  };
}

export default { render };
