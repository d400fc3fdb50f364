// Have the kernel save the drafts, and say in one sentence what came of it.

import type { Link } from "./link";
import { text } from "./text";

const TIMEOUT_MS = 300_000;

export async function saved(link: Link, signal: AbortSignal): Promise<string> {
  try {
    const request = { kind: "save", id: crypto.randomUUID() } as const;
    const { reply } = await link.ask(request, { timeoutMs: TIMEOUT_MS, signal });
    return reply.kind === "save" ? text.saved(reply.saved) : "";
  } catch (error) {
    return text.notSaved(error instanceof Error ? error.message : String(error));
  }
}
