// The widget's model as anywidget hands it over, narrowed to our traits.

import type { ViewerState } from "@researchpacs/protocol";

export type CustomListener = (content: unknown, buffers: DataView[]) => void;

export interface Model {
  get<Name extends keyof ViewerState>(name: Name): ViewerState[Name];
  set<Name extends keyof ViewerState>(name: Name, value: ViewerState[Name]): void;
  save_changes(): void;
  on(event: "msg:custom", listener: CustomListener): void;
  on(event: `change:${keyof ViewerState}`, listener: () => void): void;
  off(event: "msg:custom", listener: CustomListener): void;
  off(event: `change:${keyof ViewerState}`, listener: () => void): void;
  send(content: unknown): void;
}
