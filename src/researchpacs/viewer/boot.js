// The widget's own module: small, because every instance carries it. The viewer itself is asked of the kernel once a page
// and shared by all viewers of it. Should the widget that asked first die before the answer, the next one asks again.

const PATIENCE_MS = 15_000;

async function imported(compressed) {
  const script = new Response(new Blob([compressed]).stream().pipeThrough(new DecompressionStream("gzip")));
  const url = URL.createObjectURL(new Blob([await script.arrayBuffer()], { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

function ask(model, shared) {
  const id = crypto.randomUUID();
  const listen = (content, buffers) => {
    if (content.request !== id) return;
    model.off("msg:custom", listen);
    if (content.kind === "error") shared.fail(new Error(content.message));
    else imported(buffers[0]).then(shared.done, shared.fail);
  };
  model.on("msg:custom", listen);
  model.send({ kind: "bundle", id });
}

async function viewer(model) {
  const key = `researchpacs.viewer:${model.get("_bundle")}`;
  if (!globalThis[key]) {
    const shared = {};
    shared.promise = new Promise((done, fail) => Object.assign(shared, { done, fail }));
    shared.promise.catch(() => delete globalThis[key]);
    globalThis[key] = shared;
    ask(model, shared);
  }
  const shared = globalThis[key];
  const again = setTimeout(() => ask(model, shared), PATIENCE_MS);
  try {
    return await shared.promise;
  } finally {
    clearTimeout(again);
  }
}

export default {
  async render(context) {
    const waiting = document.createElement("div");
    waiting.setAttribute("role", "status");
    waiting.textContent = "Waiting for the kernel to send the viewer.";
    const shown = setTimeout(() => context.el.append(waiting), 300);
    try {
      const { render } = await viewer(context.model);
      waiting.remove();
      return render(context);
    } catch (error) {
      waiting.textContent = `The viewer could not be loaded: ${error.message}`;
      context.el.append(waiting);
    } finally {
      clearTimeout(shown);
    }
  },
};
