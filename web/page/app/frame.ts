// Work that follows a stream, at most once per frame. A page that cannot be seen gets no frames: then a timer stands
// in, so that the title and the state go on.

/** `work`, called soon after each call but at most once per frame; `now()` does what is due at once. */
export function perFrame(work: () => void): (() => void) & { now(): void } {
  let frame = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const due = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = 0;
    timer = undefined;
    work();
  };
  const schedule = () => {
    if (frame || timer !== undefined) return;
    if (document.visibilityState === "visible") frame = requestAnimationFrame(due);
    // The timer also covers a page that is hidden while a frame is awaited.
    timer = setTimeout(due, 250);
  };
  return Object.assign(schedule, { now: due });
}
