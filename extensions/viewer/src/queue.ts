// Which plane is fetched next: at most four at a time; what is to be shown first, the newest of it first; then what is
// only likely to be wanted, in the order in which it was thought of.

interface Job<Result> {
  key: string;
  urgent: boolean;
  run: () => Promise<Result>;
  promise: Promise<Result>;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

export class Queue<Result> {
  private readonly waiting: Job<Result>[] = [];
  private readonly running = new Map<string, Job<Result>>();

  constructor(
    private readonly limit = 4,
    /** Of these, so many places are never taken by what is not urgent. */
    private readonly reserved = 2,
  ) {}

  /** Fetch under a key, or join the fetch that is under way. */
  add(key: string, urgent: boolean, run: () => Promise<Result>): Promise<Result> {
    const known = this.running.get(key) ?? this.waiting.find((job) => job.key === key);
    if (known) {
      if (urgent) this.promote(key);
      return known.promise;
    }
    let resolve: Job<Result>["resolve"] = () => {};
    let reject: Job<Result>["reject"] = () => {};
    const promise = new Promise<Result>((done, fail) => {
      resolve = done;
      reject = fail;
    });
    this.waiting.push({ key, urgent, run, promise, resolve, reject });
    this.advance();
    return promise;
  }

  /** What was only likely to be wanted is to be shown now. */
  promote(key: string): void {
    const at = this.waiting.findIndex((job) => job.key === key);
    const [job] = at < 0 ? [] : this.waiting.splice(at, 1);
    if (!job) return;
    job.urgent = true;
    this.waiting.push(job);
    this.advance();
  }

  /** Forget what has not begun and fits. */
  drop(fits: (key: string, urgent: boolean) => boolean): void {
    for (const job of this.waiting.filter((job) => fits(job.key, job.urgent))) {
      this.waiting.splice(this.waiting.indexOf(job), 1);
      job.reject(new DOMException("given up", "AbortError"));
    }
  }

  private next(): Job<Result> | undefined {
    if (this.running.size >= this.limit) return undefined;
    const at = this.waiting.findLastIndex((job) => job.urgent);
    if (at >= 0) return this.waiting.splice(at, 1)[0];
    const idle = [...this.running.values()].filter((job) => !job.urgent).length < this.limit - this.reserved;
    return idle ? this.waiting.shift() : undefined;
  }

  private advance(): void {
    for (let job = this.next(); job; job = this.next()) void this.start(job);
  }

  private async start(job: Job<Result>): Promise<void> {
    this.running.set(job.key, job);
    try {
      job.resolve(await job.run());
    } catch (error) {
      job.reject(error);
    } finally {
      this.running.delete(job.key);
      this.advance();
    }
  }
}
