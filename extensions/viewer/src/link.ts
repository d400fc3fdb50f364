// Questions to the kernel: each has an id, a time limit and can be given up.

import { asReply, type ErrorReply, type Reply, type Request } from "@researchpacs/protocol";
import type { Model } from "./model";

export interface Answer {
  reply: Exclude<Reply, ErrorReply>;
  buffers: DataView[];
}

interface Pending {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
}

export class Link {
  private readonly pending = new Map<string, Pending>();

  /** Called for a failure of a message that awaits no answer. */
  onError: (error: ErrorReply) => void = () => {};

  constructor(private readonly model: Model) {
    model.on("msg:custom", this.listen);
  }

  /** Send what needs no answer. */
  send(request: Request): void {
    this.model.send(request);
  }

  /** Send a question; the promise fails with the kernel's sentence, when time is up, or when it is given up. */
  ask(request: Request, limits: { timeoutMs: number; signal: AbortSignal }): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const end = (error: Error) => {
        if (this.pending.has(request.id)) this.send({ kind: "cancel", id: request.id });
        settle();
        reject(error);
      };
      const late = () => end(new Error(`The kernel has not answered for ${limits.timeoutMs / 1000} s.`));
      const timer = setTimeout(late, limits.timeoutMs);
      const abort = () => end(new DOMException("given up", "AbortError"));
      const settle = () => {
        clearTimeout(timer);
        limits.signal.removeEventListener("abort", abort);
        this.pending.delete(request.id);
      };
      if (limits.signal.aborted) return abort();
      limits.signal.addEventListener("abort", abort);
      this.pending.set(request.id, {
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.send(request);
    });
  }

  dispose(): void {
    this.model.off("msg:custom", this.listen);
  }

  private readonly listen = (content: unknown, buffers: DataView[]): void => {
    const reply = asReply(content);
    if (!reply) return;
    const pending = this.pending.get(reply.request);
    if (reply.kind === "error") {
      if (pending) pending.reject(new Error(reply.message));
      else this.onError(reply);
    } else pending?.resolve({ reply, buffers });
  };
}
