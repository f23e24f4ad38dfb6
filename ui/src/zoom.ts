// Larger and smaller text with Ctrl and plus, minus or 0, kept for next time.
// Every length in the window is in rem, so the root's font size carries it all.

const KEY = "text-size";
const STEPS = [75, 87.5, 100, 112.5, 125, 150, 175, 200] as const;

function apply(percent: number): void {
  document.documentElement.style.fontSize = percent === 100 ? "" : `${percent}%`;
}

function stored(): number {
  const percent = Number(localStorage.getItem(KEY));
  return STEPS.find((step) => step === percent) ?? 100;
}

/** Applies the kept size and follows the keys until the returned function is called. */
export function followZoomKeys(): () => void {
  let percent = stored();
  apply(percent);

  function keydown(event: KeyboardEvent): void {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const at = STEPS.findIndex((step) => step === percent);
    if (event.key === "+" || event.key === "=") percent = STEPS[at + 1] ?? percent;
    else if (event.key === "-") percent = STEPS[at - 1] ?? percent;
    else if (event.key === "0") percent = 100;
    else return;
    event.preventDefault();
    apply(percent);
    localStorage.setItem(KEY, String(percent));
  }

  document.addEventListener("keydown", keydown);
  return () => document.removeEventListener("keydown", keydown);
}
