// Play planes one after another, or volumes where there are several, no faster than they can be shown.

export class Cine {
  private turn: object | undefined;

  constructor(
    /** Show what comes next; resolves when it is shown. */
    private readonly next: () => Promise<void>,
    private readonly rate: () => number,
    /** It began, or stopped. */
    private readonly changed: () => void,
  ) {}

  get playing(): boolean {
    return this.turn !== undefined;
  }

  toggle(): void {
    if (this.playing) this.stop();
    else void this.play();
  }

  stop(): void {
    if (!this.playing) return;
    this.turn = undefined;
    this.changed();
  }

  private async play(): Promise<void> {
    const turn = {};
    this.turn = turn;
    this.changed();
    while (this.turn === turn) {
      const due = performance.now() + 1000 / this.rate();
      await this.next();
      await new Promise((resolve) => setTimeout(resolve, Math.max(due - performance.now(), 0)));
    }
  }
}
