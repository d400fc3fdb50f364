// Where a picture's sides lead in the patient, in letters, however it is turned or flipped (PS3.3 C.7.6.1.1.1).

const TOWARDS: [string, string][] = [
  ["R", "L"],
  ["A", "P"],
  ["F", "H"],
];

/** Letters of a direction: `"L"`, or `"LP"` where it is oblique by more than a fifth. */
export function letters(direction: readonly number[]): string {
  const length = Math.hypot(...direction) || 1;
  return direction
    .map((value, axis) => ({ value: value / length, pair: TOWARDS[axis] ?? ["", ""] }))
    .filter(({ value }) => Math.abs(value) > 0.2)
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
    .map(({ value, pair }) => pair[value > 0 ? 1 : 0])
    .join("");
}
